"""NIfTI in and out: reads a CT volume (RAS+ turned to LPS), writes label volumes on the grid they belong to."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import GeometryError, InputError
from trabecula_morphometry.volume import AIR_HU, Grid, LabelVolume, Volume
from trabecula_service.dicom.geometry import MAX_FIELD_MM, MAX_PIXEL_SPACING_MM
from trabecula_service.dicom.image import CtImage, NotEvaluableError
from trabecula_service.dicom.pixels import HISTOGRAM_BINS, HISTOGRAM_LOW_HU
from trabecula_service.dicom.plausible_hu import clipped_at_hu, why_not_hu
from trabecula_service.result import Acquisition, Source, flag

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_FEWEST_VOXELS = 3
_SHORTEST_REACH_MM = 20.0
_HISTOGRAM_STRIDE = 4
_NO_SCANNED_HU = -1200
_SCANNER_SPACE = 1
_SHEARED_BY = 1e-4


def read_nifti(path: Path, name: str) -> CtImage:
    """Read a 3D NIfTI file; its voxel axes stay as they are, so labels can go back onto the file's own grid.

    How the images were made is unknown: NIfTI does not say it.

    Raises
    ------
    InputError
        Damaged, cut, or no NIfTI.
    NotEvaluableError
        NOT_CT (not three-dimensional, colour), GEOMETRY_IMPLAUSIBLE, TOO_FEW_SLICES or HU_IMPLAUSIBLE.
    """
    image: Any = _or_unreadable(lambda: nibabel.load(path), name)
    shape = tuple(int(size) for size in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or image.get_data_dtype().fields is not None or image.get_data_dtype().kind not in "iuf":
        detail = f"The file has {len(shape)} dimensions, or its voxels are no plain numbers."
        raise NotEvaluableError(Code.NOT_CT, where=name, detail=detail)
    grid = _grid(image, shape, name)
    stored = _or_unreadable(lambda: np.asarray(image.dataobj.get_unscaled()), name)
    hu, histogram, padded = _values(stored.reshape(shape), float(image.dataobj.slope), float(image.dataobj.inter))
    reason = why_not_hu(histogram)
    if reason:
        raise NotEvaluableError(Code.HU_IMPLAUSIBLE, where=name, detail=reason)
    top_hu = clipped_at_hu(histogram)
    spacing = [round(float(s), 6) for s in grid.spacing_xyz_mm]
    nz, ny, nx = grid.shape_zyx
    digest = hashlib.sha256(grid.voxel_to_lps.astype("<f4").tobytes())
    digest.update(hu.data)
    return CtImage(
        volume=Volume(hu_zyx=hu, grid=grid),
        source=Source(
            study_instance_uid=None,
            series_instance_uid=None,
            format="nifti",
            file_count=1,
            matrix=(nx, ny, nz),
            spacing_mm=(spacing[0], spacing[1], spacing[2]),
            content_sha256=digest.hexdigest(),
        ),
        acquisition=Acquisition(),
        flags=() if top_hu is None else (flag(Code.HU_CLIPPED, f"Cut off at {top_hu} HU."),),
        padding_share=padded / hu.size,
    )


def _or_unreadable(step: Callable[[], Any], name: str) -> Any:
    try:
        return step()
    except Exception as error:  # a damaged file may make nibabel, gzip or numpy raise anything
        raise InputError("the NIfTI file cannot be read", where=name, hint="it is cut or damaged; copy it again") from error


def _grid(image: Any, shape: tuple[int, ...], name: str) -> Grid:
    if int(image.header["sform_code"]) <= 0 and int(image.header["qform_code"]) <= 0:
        raise NotEvaluableError(Code.GEOMETRY_IMPLAUSIBLE, where=name, detail="Neither sform nor qform says where the voxels lie.")
    try:
        grid = Grid(shape_zyx=(shape[2], shape[1], shape[0]), voxel_to_lps=_RAS_TO_LPS @ np.asarray(image.affine, dtype=np.float64))
    except GeometryError as error:
        raise NotEvaluableError(Code.GEOMETRY_IMPLAUSIBLE, where=name, detail="The voxel grid has no volume.") from error
    spacing = grid.spacing_xyz_mm
    if spacing.max() > MAX_PIXEL_SPACING_MM or (spacing * np.array(shape)).max() > 2 * MAX_FIELD_MM:
        detail = f"Voxels of {spacing.max():.0f} mm, or a field larger than any scanner's."
        raise NotEvaluableError(Code.GEOMETRY_IMPLAUSIBLE, where=name, detail=detail)
    low, high = grid.bounds_lps_mm()
    if min(shape) < _FEWEST_VOXELS or high[2] - low[2] < _SHORTEST_REACH_MM:
        raise NotEvaluableError(Code.TOO_FEW_SLICES, where=name, detail=f"{min(shape)} slices, {high[2] - low[2]:.0f} mm of the body.")
    return grid


def _values(stored: NDArray[Any], slope: float, intercept: float) -> tuple[NDArray[np.int16], NDArray[np.int64], int]:
    """HU (z, y, x), their histogram and the number of padding voxels; scaled slice by slice, so no float copy of the volume is made."""
    hu = np.empty(stored.shape[::-1], dtype=np.int16)
    histogram, padded = np.zeros(HISTOGRAM_BINS, dtype=np.int64), 0
    for k in range(stored.shape[2]):
        values = stored[:, :, k].T.astype(np.float64) * slope + intercept
        empty = ~np.isfinite(values) | (values < _NO_SCANNED_HU)
        values[empty] = AIR_HU
        np.clip(np.rint(values), AIR_HU, np.iinfo(np.int16).max, out=values)
        hu[k] = values
        padded += int(np.count_nonzero(empty))
        part = (slice(None, None, _HISTOGRAM_STRIDE),) * 2
        measured = hu[k][part][~empty[part]].astype(np.int64) - HISTOGRAM_LOW_HU
        histogram += np.bincount(np.minimum(measured, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS)
    return hu, histogram, padded


def write_label_nifti(path: Path, labels: LabelVolume) -> None:
    """Write labels as NIfTI-1 (uint8; i = x, j = y, k = z of the grid; RAS+ affine); the same labels give the same bytes.

    A sheared grid (gantry tilt) has an sform only: a qform cannot hold a shear.
    """
    affine = _RAS_TO_LPS @ labels.grid.voxel_to_lps
    image: Any = nibabel.Nifti1Image(np.ascontiguousarray(labels.labels_zyx.transpose(2, 1, 0)), affine, dtype=np.uint8)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=_SCANNER_SPACE)
    directions = labels.grid.voxel_to_lps[:3, :3] / labels.grid.spacing_xyz_mm
    is_sheared = np.abs(directions.T @ directions - np.eye(3)).max() > _SHEARED_BY
    image.set_qform(None if is_sheared else affine, code=0 if is_sheared else _SCANNER_SPACE)
    nibabel.save(image, path)
