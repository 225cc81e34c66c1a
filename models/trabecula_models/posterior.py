"""Which vertebra each voxel of the posterior elements belongs to.

Arches of neighbours touch at the facet joints and overlap like roof tiles, so neither the nearest body nor a path inside bone tells
them apart. What does is where an arch stands against its own body: its pedicles at the upper half, its laminae and spinous process
below, further down the further back, steeply so in the middle of the chest.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from trabecula_models.bodies import box_around

DEPTHS_MM = (20.0, 30.0, 40.0, 50.0, 60.0, 70.0)
"""Distances behind the centre of the body at which the height of the arch is given."""

ARCH_HEIGHT_LOW = (0.17, 0.08, -0.23, -0.27, -0.33, -0.39)
ARCH_HEIGHT_MIDCHEST = (0.25, 0.12, -0.50, -1.00, -1.30, -1.50)
"""Middle of the posterior elements above the body's centre, in steps from level to level: T10-L5, and T4-T8 (medians of five spines with
true levels; between them the mean of both)."""

SURE_SHARE = 0.3
"""A voxel that fits one arch this much better than the next best one is a seed; the rest is reached from seeds and bodies along bone.
With true masks 91-94 % of the posterior voxels get their own level (five spines); the nearest body gives 79-92 %."""


EDGE_PROBABILITY = 0.2
"""Thin laminae and processes stay below one half at the network's voxel size; above this, HU decide whether they are bone.
Chosen with `edge_hu` on verse012 (expert mask, whole vertebrae 0.872 -> 0.881) and two held-out synthetic cases (0.894 -> 0.897 and
0.935 -> 0.940); one half as the only limit lost 14 % of verse012, 150 HU as a fixed edge took in the blur around dense bone."""

MUSCLE_HU = 50.0
"""Soft tissue around the arches (muscle, some 35 to 70 HU with or without contrast); unverified, not searched."""

LEAST_EDGE_HU = 120.0
"""Contrast in muscle and its veins stays below; unverified, not searched."""

NEARBY_MM = 2.0
"""Reach within which the densest bone is looked for: the wall of a lamina and the slope of its blurred edge.
Unverified, not searched."""

EDGE_BLUR_MM = 0.7
"""The HU are smoothed by this before their maximum is taken: the maximum of noise is not bone. Unverified, not searched."""


LARGEST_GAP_MM2 = 100.0
"""Gaps in a cut through bone up to this are its marrow or noise; the canal is at least twice as large (unverified).
Chosen on verse012 (whole vertebrae 0.8815 -> 0.8853) and held-out cases 3 and 20 (0.8749 -> 0.8745, 0.8831 -> 0.8826)."""


def edge_hu(hu_zyx: NDArray[np.float32], spacing_mm: float) -> NDArray[np.float32]:
    """HU (z, y, x) at which bone ends at each voxel: half-way between muscle and the densest bone nearby.

    A blurred edge crosses the middle of its step where the edge lies, whatever the kernel and however dense the bone.
    """
    reach = 2 * round(NEARBY_MM / spacing_mm) + 1
    densest = ndimage.maximum_filter(ndimage.gaussian_filter(hu_zyx, EDGE_BLUR_MM / spacing_mm), reach)
    edge: NDArray[np.float32] = np.maximum((densest + np.float32(MUSCLE_HU)) / 2, np.float32(LEAST_EDGE_HU))
    return edge


def small_gaps(bone: NDArray[np.bool_], spacing_mm: float) -> NDArray[np.bool_]:
    """Gaps of a mask (z, y, x) that bone encloses in a sagittal, coronal or axial cut and that are too small to be a canal."""
    gaps = np.zeros_like(bone)
    if not bone.any():
        return gaps
    box = box_around(bone, margin=1)
    for across in range(3):
        in_plane = ndimage.generate_binary_structure(3, 1)
        in_plane[tuple(slice(None, None, 2) if axis == across else 1 for axis in range(3))] = False
        parts, count = ndimage.label(~bone[box], in_plane)
        small = np.bincount(parts.ravel(), minlength=count + 1) * spacing_mm**2 <= LARGEST_GAP_MM2
        small[0] = False
        for axis in range(3):
            if axis != across:
                small[np.take(parts, (0, -1), axis=axis)] = False  # open to the outside
        gaps[box] |= small[parts]
    return gaps


def _arch_height(name: str) -> NDArray[np.float64]:
    low, midchest = np.array(ARCH_HEIGHT_LOW), np.array(ARCH_HEIGHT_MIDCHEST)
    if name in {"T4", "T5", "T6", "T7", "T8"}:
        return midchest
    lower = name.startswith("L") or name in {"T10", "T11", "T12", "T13"}
    return low if lower else (low + midchest) / 2


def _misfit(points_mm: NDArray[np.float64], centers_mm: NDArray[np.float64], names: tuple[str, ...]) -> NDArray[np.float64]:
    """How far each point (n, 3; z, y, x) lies from the middle of each arch, in steps from level to level: (n, vertebrae)."""
    count = len(centers_mm)
    out = np.zeros((len(points_mm), count))
    for index, (center, name) in enumerate(zip(centers_mm, names, strict=True)):
        upper, lower = max(index - 1, 0), min(index + 1, count - 1)
        along = centers_mm[upper] - centers_mm[lower]
        step_mm = float(np.linalg.norm(along)) / max(lower - upper, 1)
        up = along / np.linalg.norm(along) if step_mm > 0 else np.array([1.0, 0.0, 0.0])
        back = np.array([0.0, 1.0, 0.0]) - up[1] * up
        back /= np.linalg.norm(back)
        away = points_mm - center
        expected = np.interp(away @ back, DEPTHS_MM, _arch_height(name))
        out[:, index] = np.abs(away @ up / (step_mm or 1.0) - expected)
    return out


def assign_posterior(
    posterior: NDArray[np.bool_], instances: NDArray[np.int16], names: tuple[str, ...], spacing_mm: float
) -> NDArray[np.int16]:
    """Posterior elements with the instance number of the vertebra they belong to; 0 elsewhere.

    Parameters
    ----------
    posterior : (z, y, x) mask on a grid that grows towards superior, posterior, left.
    instances : bodies 1, 2, ... cranial to caudal on the same grid.
    names : level of each instance.
    spacing_mm : voxel size.
    """
    out = np.zeros_like(instances)
    if posterior.any() and instances.any():
        box = box_around(posterior | (instances > 0), margin=1)
        out[box] = _assign(posterior[box], instances[box], names, spacing_mm)
    return out


def _assign(posterior: NDArray[np.bool_], instances: NDArray[np.int16], names: tuple[str, ...], spacing_mm: float) -> NDArray[np.int16]:
    free = posterior & (instances == 0)
    present = np.array([index for index in range(1, len(names) + 1) if (instances == index).any()], dtype=int)
    if not free.any():
        return np.zeros_like(instances)
    centers_mm = np.array(ndimage.center_of_mass(instances > 0, instances, present), dtype=np.float64) * spacing_mm
    misfit = _misfit(np.argwhere(free).astype(np.float64) * spacing_mm, centers_mm, tuple(names[index - 1] for index in present))
    best = present[np.argmin(misfit, axis=1)]
    ranked = np.partition(misfit, min(1, misfit.shape[1] - 1), axis=1)
    sure = ranked[:, 0] <= SURE_SHARE * ranked[:, min(1, misfit.shape[1] - 1)]
    fitted = np.zeros_like(instances)
    fitted[free] = best
    seeds = instances.astype(np.int32)
    seeds[tuple(np.argwhere(free)[sure].T)] = best[sure]
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(seeds == 0)
    out: NDArray[np.int16] = watershed(distance, seeds, mask=free | (instances > 0)).astype(np.int16)
    out[(out == 0) & free] = fitted[(out == 0) & free]
    out[~free] = 0
    return out
