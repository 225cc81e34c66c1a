"""Corrected cases of a site (`trabecula export`) as training samples, beside the synthetic ones.

An export knows bodies, whole vertebrae and the sacrum. Discs, ribs and hip bones are told apart by the networks but read by nobody: there
the network that training starts from says what it says now, so that the new cases never teach it to forget them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from trabecula_models.evaluation.dataset_layouts import DatasetCase, find_verse_cases
from trabecula_models.evaluation.mask_files import read_mask
from trabecula_models.inference import NetworkRunner
from trabecula_models.locate import CLASS_NAMES
from trabecula_models.synthesis.sample import HEAT_SIGMA_MM, T12_LEVEL, T13_LEVEL, Sample, SampleConfig
from trabecula_morphometry.errors import InputError
from trabecula_morphometry.levels import LEVEL_OF_LABEL, SACRUM_LABEL
from trabecula_morphometry.volume import AIR_HU, Volume, analysis_grid

ROOM_MM = 60.0
"""Kept around the vertebrae: as far as the networks look (ribs, hip bones, spinous processes)."""

BODY, POSTERIOR, SACRUM = (CLASS_NAMES.index(name) for name in ("body", "posterior", "sacrum"))
_KNOWN = (BODY, POSTERIOR)
_SACRUM_LEVEL = 25
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_WINDOW_ZYX = (112, 96, 96)

TURN_DEG, ZOOM = 10.0, 0.07
"""Each sample is turned by up to 10 degrees about any axis and scaled by up to 7 %: more cases out of few."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CorrectedCase:
    """A case on the network's cubic grid, axes [z, y, x] as LPS; ``centres_zyx`` are body centres in voxels."""

    hu_zyx: NDArray[np.int16]
    classes_zyx: NDArray[np.uint8]
    level_zyx: NDArray[np.uint8]
    centres_zyx: NDArray[np.float64]
    spacing_mm: float

    def save(self, path: Path) -> None:
        """Write whole or not at all."""
        temporary = path.with_suffix(".part.npz")
        np.savez(
            temporary,
            hu=self.hu_zyx,
            classes=self.classes_zyx,
            level=self.level_zyx,
            centres=self.centres_zyx,
            spacing=np.array(self.spacing_mm),
        )
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> CorrectedCase:
        """Read what ``save`` wrote."""
        with np.load(path) as kept:
            return cls(
                hu_zyx=kept["hu"],
                classes_zyx=kept["classes"],
                level_zyx=kept["level"],
                centres_zyx=kept["centres"],
                spacing_mm=float(kept["spacing"]),
            )


def prepare_cases(dataset: Path, folder: Path, runner: NetworkRunner, tell: Callable[[str], None] = lambda _line: None) -> list[Path]:
    """Bring every case of an export to the network's grid, once; returns the files in ``folder``.

    Parameters
    ----------
    runner : the network that training starts from, at the voxel size of the training.

    Raises
    ------
    InputError : no case with image and masks, or a damaged file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for case in find_verse_cases(dataset):
        if case.image is None:
            tell(f"{case.name}: left out, no image")
            continue
        path = folder / f"{case.name}.npz"
        if not path.exists():
            prepare_case(case, runner).save(path)
            tell(f"{case.name}: prepared")
        paths.append(path)
    if not paths:
        raise InputError("no case with image and masks", where=dataset.name, hint="give the folder that `trabecula export` wrote")
    return paths


def prepare_case(case: DatasetCase, runner: NetworkRunner) -> CorrectedCase:
    """One case on the network's grid."""
    whole = read_mask(case.mask)
    bodies = read_mask(_bodies_file(case))
    volume, spacing_mm = _read_hu(case), runner.bundle.spacing_mm
    reference = case.read_reference()
    where = np.argwhere(whole.labels_zyx > 0)
    corners = np.array(np.meshgrid(*zip(where.min(axis=0)[::-1], where.max(axis=0)[::-1], strict=True))).reshape(3, -1).T
    reach = whole.grid.to_lps(corners)
    first, last = volume.grid.bounds_lps_mm()
    grid = analysis_grid(np.maximum(reach.min(axis=0) - ROOM_MM, first), np.minimum(reach.max(axis=0) + ROOM_MM, last), spacing_mm)
    hu = volume.resample(grid).hu_zyx
    seen = runner.run(hu, window_zyx=_WINDOW_ZYX)[: len(CLASS_NAMES)].argmax(axis=0).astype(np.uint8)
    whole_labels, body_labels = whole.resample(grid).labels_zyx, bodies.resample(grid).labels_zyx
    classes = np.where(np.isin(seen, _KNOWN), np.uint8(0), seen)
    classes[np.isin(whole_labels, list(LEVEL_OF_LABEL))] = POSTERIOR
    classes[np.isin(body_labels, list(LEVEL_OF_LABEL))] = BODY
    if (whole_labels == SACRUM_LABEL).any():
        classes[(classes == SACRUM) & (whole_labels != SACRUM_LABEL)] = 0
        classes[whole_labels == SACRUM_LABEL] = SACRUM
    level = np.where(np.isin(whole_labels, list(LEVEL_OF_LABEL)), whole_labels, np.uint8(0))
    level[level == T13_LEVEL] = T12_LEVEL  # the networks count in the usual column; the names are decided later
    level[classes == SACRUM] = _SACRUM_LEVEL
    centres = np.array([grid.to_voxel(center)[::-1] for center in (reference.centers_mm or {}).values()])
    return CorrectedCase(
        hu_zyx=np.clip(np.rint(hu), AIR_HU, 3071).astype(np.int16),
        classes_zyx=classes.astype(np.uint8),
        level_zyx=level.astype(np.uint8),
        centres_zyx=centres,
        spacing_mm=spacing_mm,
    )


def draw_corrected_sample(case: CorrectedCase, config: SampleConfig, rng: np.random.Generator) -> Sample:
    """A patch around one of the bodies, turned and scaled; the same generator state gives the same sample."""
    shape = np.array(config.shape_zyx)
    focus = case.centres_zyx[int(rng.integers(len(case.centres_zyx)))] + rng.uniform(-1, 1, 3) * config.focus_jitter_mm / case.spacing_mm
    turn = Rotation.from_rotvec(np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG, 3)) / np.sqrt(3)).as_matrix() * rng.uniform(1 - ZOOM, 1 + ZOOM)
    offset = focus - turn @ (0.5 * (shape - 1))
    hu = ndimage.affine_transform(case.hu_zyx.astype(np.float32), turn, offset, tuple(shape), order=1, cval=AIR_HU)
    classes, level = (
        ndimage.affine_transform(labels, turn, offset, tuple(shape), order=0, cval=0) for labels in (case.classes_zyx, case.level_zyx)
    )
    places = (case.centres_zyx - offset) @ np.linalg.inv(turn).T
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    nearest_mm = case.spacing_mm * np.min([np.linalg.norm(index - place, axis=-1) for place in places], axis=0)
    heat = np.rint(255 * np.exp(-0.5 * (nearest_mm / HEAT_SIGMA_MM) ** 2)).astype(np.uint8)
    return Sample(hu_zyx=np.rint(hu).astype(np.int16), class_zyx=classes, heat_zyx=heat, level_zyx=level)


def _bodies_file(case: DatasetCase) -> Path:
    path = case.mask.with_name(case.mask.name.replace("_seg-vert_msk", "_seg-vb_msk"))
    if path == case.mask or not path.is_file():
        hint = "VerSe itself has none: `trabecula export` writes them"
        raise InputError("the masks of the bodies are missing", where=f"{case.name}_seg-vb_msk.nii.gz", hint=hint)
    return path


def _read_hu(case: DatasetCase) -> Volume:
    try:
        image = nibabel.load(case.image)
        hu = np.asarray(image.dataobj).transpose(2, 1, 0)
    except Exception as error:  # a damaged file may make nibabel, gzip or numpy raise anything
        raise InputError("the image cannot be read", where=case.name, hint="it is cut, damaged or no NIfTI file") from error
    grid = read_mask(case.mask).grid
    matrix = _RAS_TO_LPS @ np.asarray(image.affine, dtype=np.float64)
    if hu.shape != grid.shape_zyx or not np.allclose(matrix, grid.voxel_to_lps, atol=1e-3):
        raise InputError("image and masks lie on different grids", where=case.name, hint="export the case again")
    return Volume(hu_zyx=np.ascontiguousarray(hu), grid=grid).along_lps()
