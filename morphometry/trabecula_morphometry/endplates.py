"""The bony endplates on the mid-sagittal plane, to a fraction of a voxel, from HU profiles in the vertebra's frame.

The original volume is sampled across each endplate in a central slab of the vertebra; the edge is the steepest fall of HU going out of
the bone, found for all depths at once as the smoothest strong path (dynamic programming). The mask only says where to look.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_morphometry.edge_response import EdgeResponse, expected_sigma_mm, fit_edge_response
from trabecula_morphometry.endplate_surface import repaired_endplate
from trabecula_morphometry.frame import BodyShape
from trabecula_morphometry.vertebra import Vector
from trabecula_morphometry.volume import Volume

SLAB_HALF_MM = 5.0
"""Half width of the central slab: wide enough to average noise and pits, the endplate's bow stays below 0.5 mm."""

SLAB_STEP_MM = 1.25
ALONG_STEP_MM = 1.0
ACROSS_STEP_MM = 0.25
SEARCH_MM = 5.0
"""How far from the mask's surface the edge is looked for; masks err by 0.5-1 mm, thin thoracic discs are 3-4 mm high."""

MASK_SPREAD_MM = 2.0
"""Trust in the mask: an edge this far away counts one sigma less likely."""

SMOOTHNESS_PER_MM2 = 0.6
MARGIN_INSIDE_WALL_MM = 2.0
"""The anterior and posterior points lie this far inside the wall (definition of the readings)."""

SLICE_SD = (0.08, 0.04)
MERGED_FROM_MM, MERGED_SD_PER_MM = 3.0, 0.2
FLOOR_SD_MM = 0.22
NOISE_SHARE = 0.7
"""Terms of an edge's standard deviation, see ``_edge_sd``."""

FULL_CORRECTION_SPACING_MM = 2.25
"""Up to this slice spacing the fitted face of the plate is taken as it is; beyond, blur and place of the plate can no longer be told
apart well (the humps of neighbouring endplates merge), and the correction is scaled down."""

BELOW_RIM_MM = (2.0, 3.0, 4.0)
"""Depths below a rim at which its wall is looked for, the outermost counts: clear of the rounded corner, still in the flare."""

RIM_SAMPLES = 5
"""Millimetres of the endplate, from the wall inwards, whose median height is the height of the rim."""

LIP_MM = 2.0
"""An endplate that reaches further beyond the body's waist than this has an osteophyte there, which is left out."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EndplateCurve:
    """One endplate on the mid-sagittal plane, in the vertebra's frame.

    ``superior_mm`` is the height of the edge at ``posterior_mm``; ``sd_mm`` what is not known about one point of it.
    """

    posterior_mm: Vector
    superior_mm: Vector
    anterior_wall_mm: float
    posterior_wall_mm: float
    fall_hu_per_mm: float
    sd_mm: float

    def at(self, position_mm: float, half_window_mm: float = 1.5) -> float:
        """Height of the edge at a depth: the median of the curve around it."""
        near = np.abs(self.posterior_mm - position_mm) <= half_window_mm
        if not near.any():
            return float(np.interp(position_mm, self.posterior_mm, self.superior_mm))
        # A line through the window, not its plain median: the window of a marginal point may be one-sided.
        slope = np.polyfit(self.posterior_mm[near], self.superior_mm[near], 1)[0] if near.sum() >= 3 else 0.0
        return float(np.median(self.superior_mm[near] - slope * (self.posterior_mm[near] - position_mm)))


def find_endplate(volume: Volume, shape: BodyShape, *, upper: bool, slice_spacing_mm: float) -> EndplateCurve | None:
    """The upper or lower endplate of a body, None where the mask gives no surface to start from."""
    start = _mask_curve(shape, upper=upper)
    if start is None:
        return None
    depths, surface, front, back = start
    outward = 1.0 if upper else -1.0
    offsets = np.arange(-SEARCH_MM, SEARCH_MM + ACROSS_STEP_MM / 2, ACROSS_STEP_MM)
    sides = np.arange(-SLAB_HALF_MM, SLAB_HALF_MM + SLAB_STEP_MM / 2, SLAB_STEP_MM)
    heights = surface[:, None] + outward * offsets[None, :]
    points = np.stack(np.broadcast_arrays(heights[:, :, None], depths[:, None, None], sides[None, None, :]), axis=-1)
    hu = volume.smooth_sample(shape.frame.to_lps(points)).astype(np.float64)
    profile = hu.mean(axis=2)
    fall = _outward_fall(profile, slice_spacing_mm)
    path = _strongest_smooth_path(fall, offsets)
    steepest = _refine(fall, path, offsets)
    slope = float(abs(shape.frame.superior @ volume.grid.slice_normal_lps))
    response = _response(profile, steepest, offsets, slope, slice_spacing_mm)
    edge = steepest - response.outside_mm * min(1.0, float(np.sqrt(FULL_CORRECTION_SPACING_MM / slice_spacing_mm)))
    return EndplateCurve(
        posterior_mm=depths,
        superior_mm=surface + outward * edge,
        anterior_wall_mm=front,
        posterior_wall_mm=back,
        fall_hu_per_mm=float(np.median(fall[np.arange(len(path)), path])),
        sd_mm=_edge_sd(hu, fall, path, slice_spacing_mm),
    )


def _mask_curve(shape: BodyShape, *, upper: bool) -> tuple[Vector, Vector, float, float] | None:
    """Depths, the mask's surface there (smoothed), and the front and back wall at this endplate."""
    repaired = repaired_endplate(shape, upper=upper)
    if repaired is None:
        return None
    surface = repaired.surface_mm
    central = np.abs(shape.left_mm) <= SLAB_HALF_MM
    filled = np.isfinite(surface[:, central]).mean(axis=1) > 0.6
    if filled.sum() < 12:
        return None
    depths = shape.posterior_mm[filled]
    curve = np.nanmedian(surface[filled][:, central], axis=1)
    front, back = _walls_below(shape, depths, curve, upper=upper)
    keep = (depths >= front) & (depths <= back)
    if keep.sum() < 12:
        return None
    grid = np.arange(front + 0.5, back - 0.5 + 1e-6, ALONG_STEP_MM)
    smooth = ndimage.gaussian_filter1d(ndimage.median_filter(curve[keep], 5, mode="nearest"), 1.5, mode="nearest")
    # The last millimetres of the mask round off at the wall; there the surface is carried on from 2 mm inside.
    inner = (depths[keep] >= front + MARGIN_INSIDE_WALL_MM) & (depths[keep] <= back - MARGIN_INSIDE_WALL_MM)
    return grid, np.interp(grid, depths[keep][inner], smooth[inner]), front, back


def _walls_below(shape: BodyShape, depths: Vector, curve: Vector, *, upper: bool) -> tuple[float, float]:
    """Front and back of the body just below (above) the rims of its endplate, osteophytes cut off.

    Each rim has its own level: below the chord of a deeply bowled endplate lies the waist, 1-2 mm further in than the rims.
    """
    waist = _extent_at(shape, 0.0)
    inward = -1.0 if upper else 1.0
    front_rim, back_rim = _rim_height(depths - waist[0], curve), _rim_height(waist[1] - depths, curve)
    front = min(_extent_at(shape, front_rim + inward * below)[0] for below in BELOW_RIM_MM)
    back = max(_extent_at(shape, back_rim + inward * below)[1] for below in BELOW_RIM_MM)
    return max(front, waist[0] - LIP_MM), min(back, waist[1] + LIP_MM)


def _rim_height(behind_wall_mm: Vector, curve: Vector) -> float:
    """Median height of the samples next behind a wall."""
    order = np.argsort(np.where(behind_wall_mm >= 0, behind_wall_mm, np.inf), kind="stable")
    return float(np.median(curve[order[:RIM_SAMPLES]]))


def _extent_at(shape: BodyShape, level_mm: float) -> tuple[float, float]:
    """Front and back wall at a height of the frame, in the central slab."""
    central = np.abs(shape.left_mm) <= SLAB_HALF_MM
    back = shape.posterior_mm
    row = int(np.clip(np.searchsorted(shape.superior_mm, level_mm), 0, len(shape.superior_mm) - 1))
    line = shape.inside[row][:, central].mean(axis=1)
    solid = np.flatnonzero(line >= 0.5)
    if solid.size == 0:
        return -0.5 * shape.depth_mm, 0.5 * shape.depth_mm

    def crossing(index: int, outward: int) -> float:
        outer = min(max(index + outward, 0), len(back) - 1)
        fall = float(line[index] - line[outer])
        return (
            float(back[index] + outward * (float(line[index]) - 0.5) / fall * abs(back[1] - back[0])) if fall > 1e-6 else float(back[index])
        )

    return crossing(int(solid[0]), -1), crossing(int(solid[-1]), 1)


def _outward_fall(profile: NDArray[np.float64], slice_spacing_mm: float) -> NDArray[np.float64]:
    """-dHU/d(outward) in HU/mm on [depth, offset], smoothed to what the slices can show."""
    across = _smoothing_mm(slice_spacing_mm) / ACROSS_STEP_MM
    smooth = ndimage.gaussian_filter1d(profile, 1.0 / ALONG_STEP_MM, axis=0, mode="nearest")
    fall: NDArray[np.float64] = -ndimage.gaussian_filter1d(smooth, across, axis=1, order=1, mode="nearest") / ACROSS_STEP_MM
    return fall


def _strongest_smooth_path(fall: NDArray[np.float64], offsets: Vector) -> NDArray[np.int64]:
    """Offset index per depth that minimises -strength + roughness + distance from the mask, by dynamic programming."""
    strength = fall / max(float(np.percentile(fall.max(axis=1), 75)), 1.0)
    cost = -np.clip(strength, -0.5, 1.5) + 0.25 * (offsets / MASK_SPREAD_MM) ** 2
    reach = round(1.0 / ACROSS_STEP_MM)
    total, origin = cost[0].copy(), np.zeros(fall.shape, dtype=np.int64)
    steps = np.arange(-reach, reach + 1)
    penalty = SMOOTHNESS_PER_MM2 * (steps * ACROSS_STEP_MM) ** 2
    for row in range(1, len(cost)):
        padded = np.pad(total, reach, constant_values=np.inf)
        options = np.stack([padded[reach + s : reach + s + total.size] + p for s, p in zip(steps, penalty, strict=True)])
        best = options.argmin(axis=0)
        origin[row] = np.arange(total.size) + steps[best]
        total = options.min(axis=0) + cost[row]
    path = np.zeros(len(cost), dtype=np.int64)
    path[-1] = int(total.argmin())
    for row in range(len(cost) - 1, 0, -1):
        path[row - 1] = origin[row, path[row]]
    return path


def _response(profile: NDArray[np.float64], steepest_mm: Vector, offsets: Vector, slope: float, slice_spacing_mm: float) -> EdgeResponse:
    """Fit of the endplate's blurred profile, the mean over all depths with the steepest falls laid on each other.

    ``slope`` is the cosine between the endplate's normal and that of the slices.
    """
    smooth = ndimage.gaussian_filter1d(profile, _smoothing_mm(slice_spacing_mm) / ACROSS_STEP_MM, axis=1, mode="nearest")
    outward = np.arange(-SEARCH_MM, SEARCH_MM + ACROSS_STEP_MM / 2, ACROSS_STEP_MM)
    rows = zip(smooth, steepest_mm, strict=True)
    aligned = np.stack([np.interp(outward + edge, offsets, row, left=np.nan, right=np.nan) for row, edge in rows])
    inner = aligned[3:-3]
    seen = np.isfinite(inner).sum(axis=0)
    mean = np.where(seen > 0, np.nansum(inner, axis=0) / np.maximum(seen, 1), np.nan)
    known = np.isfinite(mean)
    sigma = expected_sigma_mm(slice_spacing_mm, slope, _smoothing_mm(slice_spacing_mm))
    return fit_edge_response(outward[known], mean[known], sigma_mm=sigma)


def _smoothing_mm(slice_spacing_mm: float) -> float:
    return max(0.4, 0.25 * slice_spacing_mm)


def _refine(fall: NDArray[np.float64], path: NDArray[np.int64], offsets: Vector) -> Vector:
    """Peak of a parabola through the three samples around each step of the path, at most one step away."""
    rows = np.arange(len(path))
    middle = np.clip(path, 1, len(offsets) - 2)
    before, here, after = fall[rows, middle - 1], fall[rows, middle], fall[rows, middle + 1]
    curvature = before - 2 * here + after
    shift = np.where(curvature < -1e-6, 0.5 * (before - after) / np.where(curvature < -1e-6, curvature, -1.0), 0.0)
    return np.asarray(offsets[middle] + np.clip(shift, -1.0, 1.0) * ACROSS_STEP_MM, dtype=np.float64)


def _edge_sd(hu: NDArray[np.float64], fall: NDArray[np.float64], path: NDArray[np.int64], slice_spacing_mm: float) -> float:
    """One sigma of an edge point: place between slices, noise over edge strength, and a floor for what real bone adds.

    Noise: SD across the slab where there should be none, reduced by the independent samples of slab and window (choice: 6).
    Slices: ``SLICE_SD`` times the spacing and its square, and ``MERGED_SD_PER_MM`` for what exceeds ``MERGED_FROM_MM``, where masks and
    the humps of neighbouring endplates run into each other; from digital patients at 0.75 to 5 mm (docs/adr/0010).
    """
    strength = max(float(np.median(fall[np.arange(len(path)), path])), 1.0)
    noise = float(np.median(hu.std(axis=2))) / np.sqrt(6.0)
    between = SLICE_SD[0] * slice_spacing_mm + SLICE_SD[1] * slice_spacing_mm**2
    between += MERGED_SD_PER_MM * max(slice_spacing_mm - MERGED_FROM_MM, 0.0)
    return float(np.sqrt(FLOOR_SD_MM**2 + between**2 + (NOISE_SHARE * min(noise / strength, 2.0)) ** 2))
