"""One study as files of VerSe's subject-based layout (Sekuboyina 2021): image, masks, centroids.

``rawdata/SUB/SUB_ct.nii.gz``; ``derivatives/SUB/`` with ``SUB_seg-vert_msk.nii.gz`` (whole vertebrae) and ``SUB_seg-vb_ctd.json``
(body centres in voxels of the image). Of our own: ``SUB_seg-vb_msk.nii.gz`` (bodies, for training) and ``SUB_levels.json`` (six points,
heights, losses, grades and HU per level as in ``result.json``).
"""

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.evaluation.mask_files import read_mask
from trabecula_morphometry.errors import InputError
from trabecula_morphometry.levels import FOREIGN_LABEL, LABEL_OF_LEVEL
from trabecula_morphometry.volume import Grid, LabelVolume, Volume
from trabecula_service.dicom.measured_image import measured_image
from trabecula_service.export.sources import FinishedStudy
from trabecula_service.pipeline.files import write_durably
from trabecula_service.render.nifti import label_nifti_bytes
from trabecula_service.result import Result

FOREIGN_REACH_MM = 12.0
"""Screws and cement lie within the vertebra that they hold; what is further from any bone is no part of one."""

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))


def write_subject(root: Path, subject: str, study: FinishedStudy) -> None:
    """Write the files of one subject.

    Raises
    ------
    InputError : the images are not those that were measured, or the masks lie on another grid.
    """
    with study.images() as source:
        volume = measured_image(source, study.result.source).volume
    bodies, posterior = read_mask(study.bodies), read_mask(study.posterior)
    if not _same_grid(bodies.grid, volume.grid) or bodies.grid.shape_zyx != posterior.grid.shape_zyx:
        raise InputError("masks and images lie on different grids", where=subject, hint="analyse the study again")
    solid = without_foreign(bodies)
    whole = np.where(solid > 0, solid, posterior.labels_zyx)
    derived = root / "derivatives" / subject
    write_durably(root / "rawdata" / subject / f"{subject}_ct.nii.gz", hu_nifti_bytes(volume))
    for name, labels in (("seg-vert_msk", whole), ("seg-vb_msk", solid)):
        masks = LabelVolume(labels_zyx=labels, grid=volume.grid)
        write_durably(derived / f"{subject}_{name}.nii.gz", label_nifti_bytes(masks))
    levels = [level.model_dump(mode="json") for level in study.result.levels]
    write_durably(derived / f"{subject}_levels.json", (json.dumps(levels, indent=1) + "\n").encode())
    centroids = json.dumps(centroid_list(study.result, volume.grid), indent=1) + "\n"
    write_durably(derived / f"{subject}_seg-vb_ctd.json", centroids.encode())


def without_foreign(bodies: LabelVolume) -> NDArray[np.uint8]:
    """Bodies and sacrum; metal and cement become part of the vertebra they lie in, for they are no hole in it."""
    labels = np.array(bodies.labels_zyx)
    foreign = labels == FOREIGN_LABEL
    box = ndimage.find_objects(foreign.astype(np.uint8), max_label=1)[0]
    if box is None:
        return labels
    spacing_zyx = bodies.grid.spacing_xyz_mm[::-1]
    reach = [int(np.ceil(FOREIGN_REACH_MM / step)) for step in spacing_zyx]
    room = tuple(slice(max(part.start - more, 0), part.stop + more) for part, more in zip(box, reach, strict=True))
    part, hidden = labels[room], foreign[room]
    bone = (part > 0) & ~hidden
    part[hidden] = 0
    if bone.any():
        distance, nearest = ndimage.distance_transform_edt(~bone, sampling=spacing_zyx, return_indices=True)
        near = hidden & (distance <= FOREIGN_REACH_MM)
        part[near] = part[tuple(axis[near] for axis in nearest)]
    return labels


def centroid_list(result: Result, grid: Grid) -> list[dict[str, object]]:
    """VerSe's list: the directions of the image's axes, then body centres in its voxels."""
    directions = grid.voxel_to_lps[:3, :3]
    axes = []
    for axis in range(3):
        anatomical = int(np.argmax(np.abs(directions[:, axis])))
        axes.append(_LETTERS[anatomical][0 if directions[anatomical, axis] > 0 else 1])
    inverse = np.linalg.inv(grid.voxel_to_lps)
    centroids: list[dict[str, object]] = [{"direction": axes}]
    for level in result.levels:
        x, y, z = (inverse @ np.array([*level.center_lps_mm, 1.0]))[:3]
        centroids.append({"label": LABEL_OF_LEVEL[level.name], "X": round(float(x), 2), "Y": round(float(y), 2), "Z": round(float(z), 2)})
    return centroids


def hu_nifti_bytes(volume: Volume) -> bytes:
    """A gzipped NIfTI-1 file of the HU (int16) on their own grid; nothing of the header's text goes into it."""
    affine = _RAS_FROM_LPS @ volume.grid.voxel_to_lps
    image = nibabel.Nifti1Image(volume.hu_zyx.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code="scanner")
    # A time in the gzip header would make the same images give other bytes.
    return gzip.compress(image.to_bytes(), compresslevel=4, mtime=0)


def _same_grid(first: Grid, second: Grid) -> bool:
    return first.shape_zyx == second.shape_zyx and bool(np.allclose(first.voxel_to_lps, second.voxel_to_lps, atol=1e-3))
