"""The vertebra's own frame: superior, posterior and left unit axes with the origin in the middle of the body.

The superior axis is the bisector of the two endplate planes, kept near the tangent of the chain of body centres; the posterior axis
points to the posterior elements. The origin is the reader's centre: middle of the body in height, depth and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_morphometry.vertebra import Vector, VertebraInput, unit
from trabecula_morphometry.volume import LabelVolume

HALF_EXTENT_MM = (26.0, 30.0, 36.0)
"""Reach of the frame-aligned body block along superior, posterior, left; more than half of the largest body of clinical-facts 4.2."""

_BLUR_PAD = 4
"""Empty voxels around the mask's box, for the blur to run out."""

BLOCK_STEP_MM = 1.0
COARSE_STEP_MM = 2.0
"""Step while the axes are still being found; the last pass uses ``BLOCK_STEP_MM``."""

MAX_TILT_FROM_CHAIN_DEG = 35.0
"""An endplate bisector further from the chain of centres is a failed fit (L5 leans most, up to about 30 degrees)."""

MIN_ARCH_MM3 = 1500.0
"""Less than this of the posterior elements does not say where they lie (a thoracic arch holds about 6 cm3)."""

MIN_BODY_MM3 = 2500.0
"""Less than this is a fragment, not a body (a small T4 holds about 6 cm3)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VertebraFrame:
    """Right-handed frame of one vertebra: origin in LPS mm and unit axes (superior, posterior, left)."""

    origin_lps_mm: Vector
    superior: Vector
    posterior: Vector
    left: Vector

    def to_lps(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Frame coordinates (..., 3) in order superior, posterior, left to LPS mm."""
        axes = np.stack([self.superior, self.posterior, self.left])
        return np.asarray(points_mm @ axes + self.origin_lps_mm, dtype=np.float64)

    def to_frame(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """LPS mm (..., 3) to frame coordinates (superior, posterior, left)."""
        axes = np.stack([self.superior, self.posterior, self.left])
        return np.asarray((points_lps_mm - self.origin_lps_mm) @ axes.T, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BodyShape:
    """The body mask in its own frame.

    ``inside`` is the mask (0..1, smoothed to sub-voxel) on axes [superior, posterior, left] at the coordinates ``superior_mm``,
    ``posterior_mm``, ``left_mm``; ``top_mm`` and ``bottom_mm`` are its upper and lower surface over [posterior, left], NaN outside.
    """

    frame: VertebraFrame
    inside: NDArray[np.float32]
    superior_mm: Vector
    posterior_mm: Vector
    left_mm: Vector
    top_mm: NDArray[np.float64]
    bottom_mm: NDArray[np.float64]
    depth_mm: float
    width_mm: float
    height_mm: float
    volume_mm3: float


def frame_from_axes(origin: Vector, superior: Vector, posterior_hint: Vector) -> VertebraFrame:
    """A frame with the given superior axis and the posterior axis as near to the hint as a right angle allows."""
    up = unit(superior)
    back = unit(posterior_hint - (posterior_hint @ up) * up)
    # x left, y posterior, z superior are right-handed, so left = posterior x superior.
    return VertebraFrame(origin_lps_mm=np.asarray(origin, dtype=np.float64), superior=up, posterior=back, left=np.cross(back, up))


def chain_tangents(vertebrae: Sequence[VertebraInput]) -> list[Vector]:
    """Cranial direction of the chain of body centres at each vertebra; the scanner's axis where there is no neighbour.

    ``vertebrae`` go from cranial to caudal.
    """
    centers = [np.array(v.center_lps_mm) for v in vertebrae]
    tangents = []
    for i in range(len(centers)):
        above, below = centers[max(i - 1, 0)], centers[min(i + 1, len(centers) - 1)]
        step = above - below
        tangents.append(unit(step) if np.linalg.norm(step) > 1.0 else np.array([0.0, 0.0, 1.0]))
    return tangents


def posterior_directions(vertebrae: Sequence[VertebraInput], tangents: Sequence[Vector], posterior: LabelVolume | None) -> list[Vector]:
    """Direction from each body to its posterior elements, at a right angle to the chain, steadied by the neighbours.

    Without posterior elements the patient's posterior axis (LPS +y) is used: a spine seldom turns more than 10 degrees about itself.
    """
    boxes = ndimage.find_objects(posterior.labels_zyx) if posterior is not None else []
    raw = []
    for vertebra, tangent in zip(vertebrae, tangents, strict=True):
        box = boxes[vertebra.label - 1] if vertebra.label <= len(boxes) else None
        points = _label_points(posterior, vertebra.label, box) if posterior is not None and box is not None else np.empty((0, 3))
        raw.append(_raw_posterior(vertebra, tangent, points, posterior.grid.voxel_volume_mm3 if posterior is not None else 0.0))
    steady = []
    for i, own in enumerate(raw):
        near = raw[max(i - 1, 0) : i + 2]
        total = own + sum(near, np.zeros(3)) * 0.5
        steady.append(unit(total))
    return steady


def _raw_posterior(vertebra: VertebraInput, tangent: Vector, arch_lps_mm: NDArray[np.float64], voxel_mm3: float) -> Vector:
    scanner = np.array([0.0, 1.0, 0.0])
    direction = scanner
    if len(arch_lps_mm) * voxel_mm3 > MIN_ARCH_MM3:
        direction = arch_lps_mm.mean(axis=0) - np.array(vertebra.center_lps_mm)
    across = direction - (direction @ tangent) * tangent
    if np.linalg.norm(across) < 5.0 and direction is not scanner:
        across = scanner - (scanner @ tangent) * tangent
    return unit(across)


def _label_points(labels: LabelVolume, label: int, box: tuple[slice, ...]) -> NDArray[np.float64]:
    """LPS places of the voxels (n, 3) of one label inside its box of voxels [z, y, x]."""
    zyx = np.argwhere(labels.labels_zyx[box] == label) + np.array([side.start for side in box])
    return labels.grid.to_lps(zyx[:, ::-1])


def fit_body(bodies: LabelVolume, vertebra: VertebraInput, tangent: Vector, posterior_hint: Vector) -> BodyShape | None:
    """Frame and shape of one body from its mask; None where the mask holds no body."""
    center = np.array(vertebra.center_lps_mm)
    mask = _body_mask(bodies, vertebra.label, center)
    if mask is None:
        return None
    block, origin_zyx, centroid = mask
    frame = frame_from_axes(centroid, tangent, posterior_hint)
    shape = _shape_in(frame, block, origin_zyx, bodies, COARSE_STEP_MM)
    for step in (COARSE_STEP_MM, COARSE_STEP_MM, BLOCK_STEP_MM):
        axis = _endplate_bisector(shape)
        if axis is None or np.degrees(np.arccos(np.clip(axis @ tangent, -1, 1))) > MAX_TILT_FROM_CHAIN_DEG:
            axis = tangent
        frame = frame_from_axes(_center_of(shape), axis, posterior_hint)
        shape = _shape_in(frame, block, origin_zyx, bodies, step)
    return shape


def _body_mask(bodies: LabelVolume, label: int, center: Vector) -> tuple[NDArray[np.float32], NDArray[np.int64], Vector] | None:
    """Smoothed mask of the label's main part around the centre, the voxel where the block starts, and the part's centroid in LPS."""
    reach = max(HALF_EXTENT_MM) * 1.45
    corners = bodies.grid.to_voxel(center + np.array([[-reach] * 3, [reach] * 3]))
    size = np.array(bodies.grid.shape_zyx)
    low = np.clip(np.floor(corners.min(axis=0)).astype(int)[::-1], 0, size)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int)[::-1] + 1, 0, size)
    part = bodies.labels_zyx[low[0] : high[0], low[1] : high[1], low[2] : high[2]] == label
    box = ndimage.find_objects(part.astype(np.uint8), max_label=1)[0]
    if box is None:
        return None
    low = low + np.array([side.start for side in box]) - _BLUR_PAD
    part = np.pad(part[box], _BLUR_PAD)
    pieces, _ = ndimage.label(part)
    sizes = np.bincount(pieces.ravel())[1:]
    main = pieces == int(sizes.argmax()) + 1
    if sizes.max() * bodies.grid.voxel_volume_mm3 < MIN_BODY_MM3:
        return None
    zyx = np.argwhere(main).mean(axis=0) + low
    # A light blur turns voxel steps into a surface known to a fraction of a voxel; the 0.5 level stays where the faces were.
    sigma = 0.6 / bodies.grid.spacing_xyz_mm[::-1] * float(bodies.grid.spacing_xyz_mm.max())
    return ndimage.gaussian_filter(main.astype(np.float32), sigma), low.astype(np.int64), bodies.grid.to_lps(zyx[::-1])


def _shape_in(
    frame: VertebraFrame, block: NDArray[np.float32], origin_zyx: NDArray[np.int64], bodies: LabelVolume, step_mm: float
) -> BodyShape:
    up, back, left = (np.arange(-reach, reach + step_mm / 2, step_mm) for reach in HALF_EXTENT_MM)
    # Frame to voxel is one affine map, so no array of points is needed.
    to_voxel = np.linalg.inv(bodies.grid.voxel_to_lps)
    axes = np.stack([frame.superior, frame.posterior, frame.left], axis=1)
    matrix = (to_voxel[:3, :3] @ axes)[::-1]
    start = (to_voxel[:3, :3] @ (frame.origin_lps_mm - axes @ np.array(HALF_EXTENT_MM)) + to_voxel[:3, 3])[::-1] - origin_zyx
    inside: NDArray[np.float32] = ndimage.affine_transform(
        block, matrix * step_mm, start, output_shape=(len(up), len(back), len(left)), output=np.float32, order=1, mode="constant", cval=0.0
    )
    top, bottom = _surfaces(inside, up)
    depth = _central_extent(inside.transpose(1, 0, 2), back, np.abs(up) < 4, np.abs(left) < 6)
    width = _central_extent(inside.transpose(2, 0, 1), left, np.abs(up) < 4, np.abs(back) < 5)
    core = top[np.abs(back) < 5][:, np.abs(left) < 6] - bottom[np.abs(back) < 5][:, np.abs(left) < 6]
    height = float(np.nanmedian(core)) if np.isfinite(core).any() else float("nan")
    return BodyShape(
        frame=frame,
        inside=inside,
        superior_mm=up,
        posterior_mm=back,
        left_mm=left,
        top_mm=top,
        bottom_mm=bottom,
        depth_mm=depth[1] - depth[0],
        width_mm=width[1] - width[0],
        height_mm=height,
        volume_mm3=float(inside.sum()) * step_mm**3,
    )


def _surfaces(inside: NDArray[np.float32], up: Vector) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Highest and lowest crossing of 0.5 in each column [superior, ...], with linear interpolation; NaN where the column is empty."""
    solid = inside >= 0.5
    present = solid.any(axis=0)
    last = inside.shape[0] - 1 - solid[::-1].argmax(axis=0)
    first = solid.argmax(axis=0)
    step = float(up[1] - up[0])

    def crossing(index: NDArray[np.int64], outward: int) -> NDArray[np.float64]:
        outer = np.clip(index + outward, 0, inside.shape[0] - 1)
        a = np.take_along_axis(inside, index[None], axis=0)[0].astype(np.float64)
        b = np.take_along_axis(inside, outer[None], axis=0)[0].astype(np.float64)
        fraction = np.where(a > b, (a - 0.5) / np.maximum(a - b, 1e-6), 0.0)
        return np.where(present, up[index] + outward * step * fraction, np.nan)

    return crossing(last, 1), crossing(first, -1)


def _central_extent(
    inside_first: NDArray[np.float32], along: Vector, use_a: NDArray[np.bool_], use_b: NDArray[np.bool_]
) -> tuple[float, float]:
    """Median first and last surface along the first axis, over the central lines."""
    top, bottom = _surfaces(inside_first[:, use_a][:, :, use_b], along)
    if not np.isfinite(top).any():
        return float("nan"), float("nan")
    return float(np.nanmedian(bottom)), float(np.nanmedian(top))


def _center_of(shape: BodyShape) -> Vector:
    """Middle in height, depth and width of the body, LPS mm."""
    up, back, left = shape.superior_mm, shape.posterior_mm, shape.left_mm
    depth = _central_extent(shape.inside.transpose(1, 0, 2), back, np.abs(up) < 4, np.abs(left) < 6)
    width = _central_extent(shape.inside.transpose(2, 0, 1), left, np.abs(up) < 4, np.abs(back) < 5)
    core = np.ix_(np.abs(back) < 5, np.abs(left) < 6)
    middle = np.array([np.nanmedian(shape.top_mm[core] + shape.bottom_mm[core]) / 2, np.mean(depth), np.mean(width)])
    return shape.frame.to_lps(np.nan_to_num(middle))


def _endplate_bisector(shape: BodyShape) -> Vector | None:
    """Unit normal between the upper and lower endplate planes, None where they cannot be fitted."""
    normals = []
    for surface in (shape.top_mm, shape.bottom_mm):
        slopes = _robust_slopes(surface, shape)
        if slopes is None:
            return None
        normals.append(unit(np.array([1.0, -slopes[0], -slopes[1]])))
    up, back, left = unit(normals[0] + normals[1])
    return unit(up * shape.frame.superior + back * shape.frame.posterior + left * shape.frame.left)


def _robust_slopes(surface: NDArray[np.float64], shape: BodyShape) -> Vector | None:
    """Slopes of an endplate along posterior and left over its inner two thirds, outliers (rims, pits) trimmed."""
    back, left = np.meshgrid(shape.posterior_mm, shape.left_mm, indexing="ij")
    use = np.isfinite(surface) & (np.abs(back) < 0.36 * shape.depth_mm) & (np.abs(left) < 0.36 * shape.width_mm)
    for _ in range(3):
        if use.sum() < 20:
            return None
        design = np.stack([np.ones(int(use.sum())), back[use], left[use]], axis=-1)
        fit = np.linalg.lstsq(design, surface[use], rcond=None)[0]
        residual = surface - (fit[0] + fit[1] * back + fit[2] * left)
        spread = 1.48 * float(np.median(np.abs(residual[use]))) + 0.2
        use = use & (np.abs(residual) < 2.5 * spread)
    return np.asarray(fit[1:], dtype=np.float64)
