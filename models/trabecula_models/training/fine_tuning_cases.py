"""Real CTs that may be learnt from (shared/ct, use "fine-tuning"), as training samples: their bodies were read, the rest is predicted.

The reading gives bodies only. What lies outside them keeps the class that the network which training starts from gives it when it may not
say "body", so that the edge between body and pedicle moves to where the reader cut it and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.inference import NetworkRunner
from trabecula_models.locate import CLASS_NAMES
from trabecula_models.training.corrected_cases import ROOM_MM, CorrectedCase
from trabecula_models.training.real_cases import RealCase, load_case
from trabecula_morphometry.levels import LEVEL_OF_LABEL
from trabecula_morphometry.volume import AIR_HU

FINE_TUNING_CASES = ("petct-abdopelvis", "colon-sens64")
"""The only real CTs whose licence and use allow it; all others are for validation and test."""

NEAR_A_READ_BODY_MM = 12.0
"""Within this distance the reader's edge is the edge; farther off (levels nobody read) the network's own bodies stay."""

_BODY, _SACRUM = CLASS_NAMES.index("body"), CLASS_NAMES.index("sacrum")
_SACRUM_LEVEL = 25
_WINDOW_ZYX = (112, 96, 96)


def prepare_fine_tuning(folder: Path, runner: NetworkRunner, names: Sequence[str] = FINE_TUNING_CASES) -> list[Path]:
    """Bring the cases to the network's grid, once; returns the files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.npz" for name in names]
    for name, path in zip(names, paths, strict=True):
        if not path.exists():
            as_training_case(load_case(name, runner.bundle.spacing_mm, ROOM_MM), runner).save(path)
    return paths


def as_training_case(case: RealCase, runner: NetworkRunner) -> CorrectedCase:
    """One case with its read bodies and the network's word on everything else."""
    channels = runner.run(case.hu_zyx, window_zyx=_WINDOW_ZYX)[: len(CLASS_NAMES)]
    classes = classes_around_read_bodies(channels, case.bodies_zyx, case.spacing_mm)
    level = np.where(np.isin(case.bodies_zyx, list(LEVEL_OF_LABEL)), case.bodies_zyx, np.uint8(0))
    level[classes == _SACRUM] = _SACRUM_LEVEL
    read = [int(label) for label in np.unique(case.bodies_zyx) if int(label) in case.centres_mm]
    return CorrectedCase(
        hu_zyx=np.clip(np.rint(case.hu_zyx), AIR_HU, 3071).astype(np.int16),
        classes_zyx=classes,
        level_zyx=level.astype(np.uint8),
        centres_zyx=np.array([case.centres_mm[label] / case.spacing_mm for label in read]),
        spacing_mm=case.spacing_mm,
    )


def classes_around_read_bodies(channels: NDArray[np.float32], bodies_zyx: NDArray[np.uint8], spacing_mm: float) -> NDArray[np.uint8]:
    """Classes (z, y, x) from the network's channels (classes, z, y, x) and the bodies that a reader outlined."""
    seen = channels.argmax(axis=0).astype(np.uint8)
    others = channels.copy()
    others[_BODY] = -np.inf
    second = others.argmax(axis=0).astype(np.uint8)
    near = ndimage.distance_transform_edt(bodies_zyx == 0) * spacing_mm <= NEAR_A_READ_BODY_MM
    classes = np.where(near & (seen == _BODY), second, seen)
    classes[bodies_zyx > 0] = _BODY
    return np.asarray(classes, np.uint8)
