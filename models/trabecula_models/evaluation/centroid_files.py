"""VerSe's centroid files: body centres by label, in three coordinate systems over the years, turned into LPS millimetres."""

import json
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trabecula_models.evaluation.identification import Point
from trabecula_morphometry.errors import InputError
from trabecula_morphometry.levels import LEVEL_OF_LABEL
from trabecula_morphometry.volume import Grid

_LPS_SIGN = {"L": (0, 1.0), "R": (0, -1.0), "P": (1, 1.0), "A": (1, -1.0), "S": (2, 1.0), "I": (2, -1.0)}
_PLAUSIBLE_MM = 30.0
"""A body's centre lies 10 to 20 mm in front of the centre of the whole vertebra; the next vertebra is 20 to 40 mm away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CentroidSystem:
    """How X, Y, Z are meant: the directions in which they grow, and whether they count the image's voxels or millimetres."""

    directions: tuple[str, str, str]
    in_voxels: bool

    def __str__(self) -> str:
        return f"{''.join(self.directions)}, {'voxels' if self.in_voxels else 'mm'}"


VERSE20_MICCAI = CentroidSystem(directions=("P", "I", "R"), in_voxels=False)
"""``_iso-ctd.json``: 1 mm, origin anterior, superior, left (wiki of the VerSe'20 challenge data)."""

VERSE19_MICCAI = CentroidSystem(directions=("I", "P", "L"), in_voxels=False)
"""``_ctd.json`` without a direction: 1 mm, X from superior, Y from anterior, Z from the right (VerSe'19, data page)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Centroids:
    """Centres by label, LPS millimetres, and the system that the file turned out to use."""

    centers_mm: dict[int, Point]
    system: CentroidSystem
    is_expected_system: bool


def read_centroids(path: Path, grid: Grid, mask_centers_mm: dict[int, Point]) -> Centroids:
    """Read a centroid file.

    Parameters
    ----------
    path : JSON list; first entry may be ``{"direction": ["P", "I", "R"]}``, the others ``{"label": 20, "X": .., "Y": .., "Z": ..}``.
    grid : grid of the case's image or mask.
    mask_centers_mm : centres of the case's masks by label, which decide where the file's system is in doubt; may be empty.

    Notes
    -----
    With a direction the numbers are voxels of the image turned to it (VerSe's subject-based data); without one they are millimetres, in
    one order in VerSe'20 and another in VerSe'19. The expected system is kept when its centres lie within 30 mm (median) of the masks'
    centres; else the one that comes nearest is taken.

    Raises
    ------
    InputError : no such list, or no known system puts the centres near the masks.
    """
    direction, numbers = _parse(path)
    systems = _systems(path, direction)
    tried = [(system, _to_lps(numbers, system, grid, path)) for system in systems]
    known = sorted(numbers.keys() & mask_centers_mm.keys())
    best = 0
    if known:
        truth = np.array([mask_centers_mm[label] for label in known])
        off = [float(np.median(np.linalg.norm(np.array([centers[label] for label in known]) - truth, axis=1))) for _, centers in tried]
        best = 0 if off[0] < _PLAUSIBLE_MM else int(np.argmin(off))
        if off[best] >= _PLAUSIBLE_MM:
            hint = (
                f"the nearest reading ({tried[best][0]}) is {off[best]:.0f} mm off; mask and centroid file may belong to different images"
            )
            raise InputError("the centroids lie far from the masks", where=path.name, hint=hint)
    return Centroids(centers_mm=tried[best][1], system=tried[best][0], is_expected_system=best == 0)


def _parse(path: Path) -> tuple[tuple[str, str, str] | None, dict[int, NDArray[np.float64]]]:
    try:
        entries: Any = json.loads(path.read_text(encoding="utf-8"))
        direction: tuple[str, str, str] | None = None
        numbers: dict[int, NDArray[np.float64]] = {}
        for entry in entries:
            if "direction" in entry:
                first, second, third = (str(letter).upper() for letter in entry["direction"])
                direction = (first, second, third)
                continue
            label, xyz = int(float(entry["label"])), [float(entry[axis]) for axis in "XYZ"]
            # VerSe writes NaN for a vertebra that is not in view.
            if label in LEVEL_OF_LABEL and all(isfinite(value) for value in xyz):
                numbers[label] = np.array(xyz)
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        hint = 'expected a list of {"label": .., "X": .., "Y": .., "Z": ..}'
        raise InputError("the centroid file cannot be read", where=path.name, hint=hint) from error
    if direction is not None and {_LPS_SIGN[letter][0] for letter in direction if letter in _LPS_SIGN} != {0, 1, 2}:
        raise InputError("the centroid file's direction names no three axes", where=path.name, hint='for example ["P", "I", "R"]')
    return direction, numbers


def _systems(path: Path, direction: tuple[str, str, str] | None) -> list[CentroidSystem]:
    if direction is not None:
        return [CentroidSystem(directions=direction, in_voxels=True), CentroidSystem(directions=direction, in_voxels=False)]
    return [VERSE20_MICCAI, VERSE19_MICCAI] if "iso" in path.name.lower() else [VERSE19_MICCAI, VERSE20_MICCAI]


def _to_lps(numbers: dict[int, NDArray[np.float64]], system: CentroidSystem, grid: Grid, path: Path) -> dict[int, Point]:
    """Image axes are taken in the order of the anatomical direction that each comes nearest to, and reversed where they run against it."""
    axis_of, sign_of = _anatomical_axes(grid, path)
    size_xyz = np.array(grid.shape_zyx[::-1])
    centers: dict[int, Point] = {}
    for label, values in numbers.items():
        voxel = np.zeros(3)
        for value, letter in zip(values, system.directions, strict=True):
            anatomical, sign = _LPS_SIGN[letter]
            axis = axis_of[anatomical]
            # Millimetres count from the edge of a 1 mm grid over the same field, so its first voxel's centre lies half a millimetre in.
            along = value if system.in_voxels else (value + 0.5) / grid.spacing_xyz_mm[axis] - 0.5
            voxel[axis] = along if sign == sign_of[axis] else size_xyz[axis] - 1 - along
        x, y, z = grid.to_lps(voxel)
        centers[label] = (float(x), float(y), float(z))
    return centers


def _anatomical_axes(grid: Grid, path: Path) -> tuple[dict[int, int], dict[int, float]]:
    """Image axis of each of L, P, S (0, 1, 2), and for each image axis whether it grows with (+1) or against (-1) it."""
    directions = grid.voxel_to_lps[:3, :3] / grid.spacing_xyz_mm
    axis_of, sign_of = {}, {}
    for axis in range(3):
        anatomical = int(np.argmax(np.abs(directions[:, axis])))
        axis_of[anatomical], sign_of[axis] = axis, float(np.sign(directions[anatomical, axis]))
    if len(axis_of) < 3:
        raise InputError("the image's axes follow no anatomical order", where=path.name, hint="its orientation is about 45 degrees oblique")
    return axis_of, sign_of
