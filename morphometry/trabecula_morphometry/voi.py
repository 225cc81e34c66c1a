"""The trabecular volume of interest: an elliptic disc in the front of the body, in millimetres, in the vertebra's frame.

Placement by rule, since anterior and posterior bone differ by up to 44 HU in one body: the middle 10 mm of the height, 3 mm clear of the
cortex, 4 mm clear of the endplates, from the front to 3 mm behind the centre, so that the basivertebral vein stays out.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_morphometry.frame import BodyShape
from trabecula_morphometry.vertebra import PointLps, point_lps
from trabecula_morphometry.volume import Volume

CORTEX_MARGIN_MM = 4.0
"""From the outer surface: 3 mm from a cortex of up to 1 mm."""

ENDPLATE_MARGIN_MM = 5.0
"""From the outer surface: 4 mm from an endplate of about 1 mm."""

BEHIND_CENTER_MM = 3.0
"""The basivertebral vein enters at the back wall's midline and seldom reaches past this."""

MAX_SLAB_MM = 10.0
WIDTH_SHARE = 0.33
"""Half the VOI's width as a share of the body's waist."""

MIN_VOLUME_MM3 = 1500.0
"""Less is insufficient (clinical-facts 2); a T12 of 20 mm height, 26 mm depth and 32 mm width still gives about 1700."""

STEP_MM = 1.0
CEMENT_HU = 800.0
METAL_HU = 2000.0
FOREIGN_MM3 = 150.0
"""A dense piece of this size inside the cancellous bone is foreign; bone islands and calcifications are smaller."""

SCLEROTIC_HU = 400.0
"""Four SD above the mean of the youngest (226 +- 44 HU below 30 years, Jang 2019)."""


THICK_SLICE_MM, THICK_SLICE_SHARE = 2.5, 0.4
"""Slices further apart smear the endplates into the body: the margin grows by this share of what they exceed 2.5 mm."""


class VoiStyle(StrEnum):
    """Where the HU of a level are taken; the other two are for comparison with cut-offs published for those programs."""

    TRABECULA = "trabecula"
    COMP2COMP = "comp2comp"
    """Oval disc 7.5 mm high, half the depth and 0.65 of the width, its centre at 0.58 of the depth from the back, 2 mm from the surface."""

    TOTALSEGMENTATOR = "totalsegmentator"
    """The whole body, 4 mm from its surface; the reported value of that program is its median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrabecularVoi:
    """Attenuation inside the VOI, HU."""

    mean_hu: float
    median_hu: float
    sd_hu: float
    volume_mm3: float
    center_lps_mm: PointLps
    style: VoiStyle = VoiStyle.TRABECULA


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignContent:
    """Volumes of dense matter inside the body, 4 mm from its surface."""

    cement_mm3: float
    metal_mm3: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disc:
    """An elliptic disc in the vertebra's frame, and how far it keeps from all surfaces and from the endplates; millimetres."""

    middle_mm: float
    half_depth_mm: float
    half_width_mm: float
    slab_mm: float
    cortex_margin_mm: float
    endplate_margin_mm: float


def _disc(shape: BodyShape, style: VoiStyle, slice_spacing_mm: float) -> _Disc:
    if style is VoiStyle.COMP2COMP:
        # The body grows backwards from its front: 0.58 of the depth from the back lies 0.08 in front of the middle.
        return _Disc(
            middle_mm=-0.08 * shape.depth_mm,
            half_depth_mm=0.25 * shape.depth_mm,
            half_width_mm=0.325 * shape.width_mm,
            slab_mm=7.5,
            cortex_margin_mm=2.0,
            endplate_margin_mm=2.0,
        )
    if style is VoiStyle.TOTALSEGMENTATOR:
        return _Disc(
            middle_mm=0.0,
            half_depth_mm=60.0,
            half_width_mm=60.0,
            slab_mm=shape.height_mm + 6.0,
            cortex_margin_mm=4.0,
            endplate_margin_mm=4.0,
        )
    front, back = -0.5 * shape.depth_mm + CORTEX_MARGIN_MM, min(BEHIND_CENTER_MM, 0.5 * shape.depth_mm - CORTEX_MARGIN_MM)
    margin = ENDPLATE_MARGIN_MM + THICK_SLICE_SHARE * max(slice_spacing_mm - THICK_SLICE_MM, 0.0)
    return _Disc(
        middle_mm=0.5 * (front + back),
        half_depth_mm=0.5 * (back - front),
        half_width_mm=WIDTH_SHARE * shape.width_mm,
        slab_mm=min(MAX_SLAB_MM, shape.height_mm - 2 * margin),
        cortex_margin_mm=CORTEX_MARGIN_MM,
        endplate_margin_mm=margin,
    )


def trabecular_points(
    shape: BodyShape,
    style: VoiStyle = VoiStyle.TRABECULA,
    slice_spacing_mm: float = 1.0,
    depth_mm: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Points (n, 3) of the VOI in the vertebra's frame, and the volume in mm3 that each stands for."""
    disc = _disc(shape, style, slice_spacing_mm)
    if not (disc.half_depth_mm > 2 and disc.half_width_mm > 2 and disc.slab_mm > 2):
        return np.empty((0, 3)), 0.0
    count = max(round(disc.slab_mm / STEP_MM), 2)
    up = ((np.arange(count) + 0.5) / count - 0.5) * disc.slab_mm
    up = up[np.abs(up) < float(shape.superior_mm[-1])]
    grid = np.stack(np.meshgrid(up, shape.posterior_mm[1:-1], shape.left_mm[1:-1], indexing="ij"), axis=-1)
    ellipse = ((grid[..., 1] - disc.middle_mm) / disc.half_depth_mm) ** 2 + (grid[..., 2] / disc.half_width_mm) ** 2 <= 1.0
    points: NDArray[np.float64] = grid[ellipse]
    across = float(shape.posterior_mm[1] - shape.posterior_mm[0])
    depth_mm = depth_below_surface(shape) if depth_mm is None else depth_mm
    return points[_clear_of_surface(shape, points, disc, depth_mm)], across**2 * disc.slab_mm / count


def _clear_of_surface(shape: BodyShape, points: NDArray[np.float64], disc: _Disc, depth_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points lie deep enough below every surface of the body."""
    step = float(shape.superior_mm[1] - shape.superior_mm[0])
    index = (points - np.array([shape.superior_mm[0], shape.posterior_mm[0], shape.left_mm[0]])) / step
    below = ndimage.map_coordinates(depth_mm, index.T, order=1, mode="constant")
    row, column = np.rint(index[:, 1]).astype(int), np.rint(index[:, 2]).astype(int)
    top, bottom = shape.top_mm[row, column], shape.bottom_mm[row, column]
    with np.errstate(invalid="ignore"):
        clear = (top - points[:, 0] >= disc.endplate_margin_mm) & (points[:, 0] - bottom >= disc.endplate_margin_mm)
    clear &= below >= disc.cortex_margin_mm
    return np.asarray(clear, dtype=bool)


def depth_below_surface(shape: BodyShape) -> NDArray[np.float64]:
    """Distance of each voxel of the body block to the nearest surface, mm; 0 outside the body."""
    solid = shape.inside >= 0.5
    depth = np.zeros(solid.shape)
    box = ndimage.find_objects(solid.astype(np.uint8), max_label=1)[0]
    if box is not None:
        # One empty voxel around the box, so that its faces count as surface.
        part = np.pad(solid[box], 1)
        step = float(shape.superior_mm[1] - shape.superior_mm[0])
        depth[box] = ndimage.distance_transform_edt(part, sampling=step)[1:-1, 1:-1, 1:-1]
    return depth


def measure_voi(
    volume: Volume, shape: BodyShape, style: VoiStyle = VoiStyle.TRABECULA, depth_mm: NDArray[np.float64] | None = None
) -> TrabecularVoi | None:
    """Attenuation in the VOI from the original volume; None where less than 1.5 cm3 lie clear.

    ``depth_mm``: ``depth_below_surface(shape)``, where it is known already.
    """
    points, point_mm3 = trabecular_points(shape, style, volume.grid.slice_spacing_mm, depth_mm)
    volume_mm3 = len(points) * point_mm3
    if volume_mm3 < MIN_VOLUME_MM3:
        return None
    lps = shape.frame.to_lps(points)
    if not volume.grid.contains(lps).all():
        return None
    hu = volume.sample(lps).astype(np.float64)
    return TrabecularVoi(
        mean_hu=float(hu.mean()),
        median_hu=float(np.median(hu)),
        sd_hu=float(hu.std()),
        volume_mm3=float(volume_mm3),
        center_lps_mm=point_lps(lps.mean(axis=0)),
        style=style,
    )


def foreign_content(
    volume: Volume, shape: BodyShape, hu_clipped_at: float | None = None, depth_mm: NDArray[np.float64] | None = None
) -> ForeignContent:
    """Largest dense pieces inside the body. Where HU are clipped below the metal limit, matter at the clip counts as metal."""
    depth_mm = depth_below_surface(shape) if depth_mm is None else depth_mm
    step = float(shape.superior_mm[1] - shape.superior_mm[0])
    deep = depth_mm >= CORTEX_MARGIN_MM
    first = np.array([shape.superior_mm[0], shape.posterior_mm[0], shape.left_mm[0]])
    hu = np.full(deep.shape, -1000.0)
    if deep.any():
        hu[deep] = volume.sample(shape.frame.to_lps(np.argwhere(deep) * step + first))
    if hu.max() < CEMENT_HU and hu_clipped_at is None:
        return ForeignContent(cement_mm3=0.0, metal_mm3=0.0)
    metal_from = METAL_HU if hu_clipped_at is None else min(METAL_HU, hu_clipped_at - 1.0)
    metal, dense = _largest_piece_mm3(hu >= metal_from, step), _largest_piece_mm3(hu >= CEMENT_HU, step)
    return ForeignContent(cement_mm3=dense, metal_mm3=metal)


def _largest_piece_mm3(mask: NDArray[np.bool_], step_mm: float) -> float:
    pieces, count = ndimage.label(mask)
    return float(np.bincount(pieces.ravel())[1:].max()) * step_mm**3 if count else 0.0
