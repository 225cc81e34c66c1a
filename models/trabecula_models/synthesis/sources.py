"""Reads the label volumes that scenes are built from, on the LPS grid (z superior, y posterior, x left)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

FORBIDDEN_SPINES = frozenset(
    {"healthivert0007", "verse010", "bdmap12_raw", "bdmap06_refined", "bdmap31_refined", "totalseg_example_3mm_native"}
)
"""Kept back for testing (anatomy/README.md): a network that has seen them cannot be tested on them."""


def shared_folder() -> Path:
    """Return the folder of source material: $TRABECULA_SHARED, or `shared` beside the checkout."""
    return Path(os.environ.get("TRABECULA_SHARED") or Path(__file__).resolve().parents[4] / "shared")


def cache_folder() -> Path:
    """Return the folder for what is built from the source material ($XDG_CACHE_HOME or ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trabecula"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSource:
    """A label volume with its voxel size; axes z superior, y posterior, x left."""

    labels_zyx: NDArray[np.uint8]
    spacing_zyx_mm: tuple[float, float, float]


def read_labels(kind: str, name: str, *, for_testing: bool = False) -> LabelSource:
    """Read `anatomy/<kind>/<name>.nii.gz`; a spine kept back for testing is refused unless it is read for testing.

    The files are RAS; small obliquities (below 5 degrees) are ignored, shapes stay rigid.
    """
    if name in FORBIDDEN_SPINES and not for_testing:
        raise ValueError(f"{name} is kept back for testing and must not be trained on")
    image = nib.load(shared_folder() / "anatomy" / kind / f"{name}.nii.gz")
    ras_xyz = np.asarray(image.dataobj).astype(np.uint8)
    sx, sy, sz = (float(v) for v in image.header.get_zooms()[:3])
    return LabelSource(labels_zyx=np.ascontiguousarray(ras_xyz.transpose(2, 1, 0)[:, ::-1, ::-1]), spacing_zyx_mm=(sz, sy, sx))
