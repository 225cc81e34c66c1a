"""Places slices in space from their positions and orientation alone (pure).

File order, InstanceNumber, SliceThickness and the gantry tilt element are not asked: they are wrong often enough.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.errors import GeometryError
from trabecula_morphometry.volume import Grid

SAME_POSITION_MM = 0.02
"""Slices nearer than this lie at one position; the smallest increments in use are ten times larger."""

EVEN_SHARE = 0.1
"""A slice may lie off its place in an even series by this share of the step: positions are often rounded to 0.1 mm."""

MAX_PIXEL_SPACING_MM = 20.0
MAX_FIELD_MM = 1500.0
MAX_TILT_DEG = 45.0
"""Scanners tilt by up to 30 degrees; beyond this the positions do not belong to these planes."""

TILT_NOTICED_DEG = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceFrame:
    """What all slices of one stack share.

    ``row`` is the direction of increasing column index, ``column`` of increasing row index (unit vectors, LPS).
    """

    row: NDArray[np.float64]
    column: NDArray[np.float64]
    row_spacing_mm: float
    column_spacing_mm: float
    rows: int
    columns: int

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit normal of the slices, row x column."""
        normal: NDArray[np.float64] = np.cross(self.row, self.column)
        return normal / np.linalg.norm(normal)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlicePlan:
    """Which slices make which planes of the grid.

    ``order`` sorts the input along the normal. Plane k of the grid lies between slices ``lower[k]`` and ``lower[k] + 1`` (counted in
    sorted order), ``weight[k]`` being the share of the upper one; ``lower[k] = -1`` where the gap is too wide to be bridged.
    ``scanned_step_mm`` is the usual step of the input, ``gaps_mm`` are the steps where slices are missing, ``gap_spans_mm`` where those lie
    along the normal (for axial slices: from z to z).
    """

    grid: Grid
    order: NDArray[np.intp]
    lower: NDArray[np.intp]
    weight: NDArray[np.float64]
    even: bool
    step_mm: float
    scanned_step_mm: float
    gaps_mm: tuple[float, ...]
    gap_spans_mm: tuple[tuple[float, float], ...]
    tilt_deg: float


def slice_frame(orientation: tuple[float, ...], pixel_spacing_mm: tuple[float, float], rows: int, columns: int) -> SliceFrame:
    """Check orientation and spacing and make unit directions of them.

    Raises
    ------
    GeometryError
        Directions that are not perpendicular unit vectors within 1 %, or a pixel spacing that no CT has.
    """
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > 0.01 or abs(row @ column) > 0.01:
        raise GeometryError("the image orientation is not a pair of perpendicular unit vectors")
    row_spacing, column_spacing = pixel_spacing_mm
    if not all(0 < spacing <= MAX_PIXEL_SPACING_MM for spacing in pixel_spacing_mm):
        raise GeometryError(f"pixel spacing {row_spacing:g} x {column_spacing:g} mm is not possible")
    if max(row_spacing * rows, column_spacing * columns) > MAX_FIELD_MM:
        raise GeometryError("the field of view is larger than any scanner's")
    return SliceFrame(
        row=row / lengths[0],
        column=column / lengths[1],
        row_spacing_mm=row_spacing,
        column_spacing_mm=column_spacing,
        rows=rows,
        columns=columns,
    )


def along_normal_mm(positions_lps_mm: NDArray[np.float64], frame: SliceFrame) -> NDArray[np.float64]:
    """Distance (n,) of slice positions (n, 3) along the normal of the slices."""
    distances: NDArray[np.float64] = positions_lps_mm @ frame.normal
    return distances


def position_groups(distances_mm: NDArray[np.float64]) -> NDArray[np.intp]:
    """Number (n,) of the position of each slice, counted along the normal; slices at one position share a number."""
    order = np.argsort(distances_mm, kind="stable")
    new = np.diff(distances_mm[order]) > SAME_POSITION_MM
    groups = np.empty(len(order), dtype=np.intp)
    groups[order] = np.concatenate([[0], np.cumsum(new)])
    return groups


def is_even(distances_mm: NDArray[np.float64]) -> bool:
    """Whether slices at these distinct places (any order) are evenly spaced."""
    places = np.sort(distances_mm)
    step = (places[-1] - places[0]) / max(len(places) - 1, 1)
    return bool(np.abs(places - (places[0] + step * np.arange(len(places)))).max() <= EVEN_SHARE * step)


def plan_slices(positions_lps_mm: NDArray[np.float64], frame: SliceFrame) -> SlicePlan:
    """The grid on which slices at distinct positions (n >= 2, 3) lie, and how its planes come from them.

    The step from plane to plane keeps the direction in which the positions move, so a tilted gantry gives a sheared grid.

    Raises
    ------
    GeometryError
        The positions do not lie on one line, or the line is too oblique to the planes.
    """
    distances = along_normal_mm(positions_lps_mm, frame)
    order = np.argsort(distances, kind="stable")
    places, positions = distances[order], positions_lps_mm[order]
    extent = places[-1] - places[0]
    direction = (positions[-1] - positions[0]) / extent
    tilt_deg = float(np.degrees(np.arccos(np.clip(1 / np.linalg.norm(direction), -1, 1))))
    sideways = np.linalg.norm(positions - (positions[0] + np.outer(places - places[0], direction)), axis=1)
    if tilt_deg > MAX_TILT_DEG or sideways.max() > 0.5 * max(frame.row_spacing_mm, frame.column_spacing_mm):
        raise GeometryError("the slice positions do not lie one behind the other")
    step, lower, weight, even = _planes(places)
    normal_steps = np.diff(places)
    usual = step if not even and _on_regular_grid(places, step) else float(np.median(normal_steps))
    wide = np.flatnonzero(normal_steps > 1.25 * usual) if not even else np.array([], dtype=int)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = frame.row * frame.column_spacing_mm, frame.column * frame.row_spacing_mm
    matrix[:3, 2], matrix[:3, 3] = direction * step, positions[0]
    for gap in wide:
        if normal_steps[gap] > max(3.01 * usual, LONGEST_BRIDGED_GAP_MM):
            lower[(lower == gap) & (weight > 0)] = -1
    return SlicePlan(
        grid=Grid(shape_zyx=(len(lower), frame.rows, frame.columns), voxel_to_lps=matrix),
        order=order,
        lower=lower,
        weight=weight,
        even=even,
        step_mm=step,
        scanned_step_mm=usual,
        gaps_mm=tuple(float(normal_steps[gap]) for gap in wide),
        gap_spans_mm=tuple((float(places[gap]), float(places[gap + 1])) for gap in wide),
        tilt_deg=tilt_deg,
    )


LONGEST_BRIDGED_GAP_MM = 20.0
"""A wider gap (and of more than three steps) stays air: bridging it would make vertebrae up."""


def _planes(places: NDArray[np.float64]) -> tuple[float, NDArray[np.intp], NDArray[np.float64], bool]:
    """Step, lower slice, weight of the upper slice, and whether the slices are even, for sorted places."""
    count = len(places)
    extent = float(places[-1] - places[0])
    if is_even(places):
        return extent / (count - 1), np.arange(count, dtype=np.intp), np.zeros(count), True
    steps = np.diff(places)
    usual = float(np.median(steps[steps <= 1.5 * steps.min()]))
    step = extent / max(round(extent / usual), 1)
    if _on_regular_grid(places, step):
        targets = np.interp(np.arange(round(extent / step) + 1), np.rint((places - places[0]) / step), np.arange(count))
    else:
        # The smallest step, but never so small that the grid has many times the slices that were scanned.
        step = max(float(steps.min()), extent / (4 * count))
        targets = np.interp(places[0] + step * np.arange(int(extent / step + 1e-6) + 1), places, np.arange(count))
    lower = np.minimum(np.floor(targets + 1e-6).astype(np.intp), count - 1)
    weight = np.clip(targets - lower, 0.0, 1.0)
    weight[weight < 1e-6] = 0.0
    return step, lower, weight, False


def _on_regular_grid(places: NDArray[np.float64], step: float) -> bool:
    """Whether every slice lies on an even grid of this step, each on a plane of its own."""
    planes = (places - places[0]) / step
    return bool(np.abs(planes - np.rint(planes)).max() <= EVEN_SHARE and (np.diff(np.rint(planes)) > 0).all())
