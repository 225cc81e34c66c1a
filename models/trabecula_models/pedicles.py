"""How far apart the pedicles of each vertebra stand: from T1 down to T5 they close in, from T12 on they part again.

No other measure of a vertebra that its outline gives changes as much from level to level, and none needs ribs or a sacrum in view.
"""

import numpy as np
from numpy.typing import NDArray

ROOT_DEPTH_MM = (0.0, 6.0)
"""How far behind the back wall of the body the pedicles are looked at: before they reach laminae and facets."""

ROOT_RISE_MM = (-8.0, 18.0)
"""Below and above the body's centre: pedicles spring from its upper half (their centres 4 to 9 mm above it, VID data set), and those of
the next vertebra lie further away."""

ROOT_ASIDE_MM = (4.0, 34.0)
"""From the middle to the side: inside is the canal, outside are transverse processes (half of L5's 48 mm and a pedicle's width, VID)."""

LEAST_ROOT_MM3 = 40.0
"""Less bone than this on one side is no pedicle: the thinnest (T5) is some 4 mm wide and 8 mm high over the depth looked at. Unverified."""

MIDDLE_MM = 12.0
"""The back wall is taken within this of the middle, clear of rib heads and of the pedicles' flanks."""

WALL_PERCENTILE = 97.0
"""The back wall is where all but this share of the body lies in front: single voxels behind it are the pedicle's."""

AROUND_MM = 55.0
"""Everything looked at lies within this of the body's centre."""

LEAST_BODY_VOXELS = 50


def pedicle_distances_mm(
    centers_zyx: NDArray[np.float64],
    axes: NDArray[np.float64],
    instances_zyx: NDArray[np.integer],
    posterior_zyx: NDArray[np.bool_],
    spacing_mm: float,
) -> NDArray[np.float64]:
    """Distance between the middles of the two pedicle roots of each body, (n,) mm; NaN where one of them is not seen.

    Parameters
    ----------
    centers_zyx : (n, 3) centres of the bodies, cranial to caudal, in voxels.
    axes : (n, 3, 3) for each body the rows up, back and left, (x, y, z), as in `ColumnPose`.
    instances_zyx : (z, y, x) bodies: 1, 2, ... in the same order; z superior, y posterior, x left.
    posterior_zyx : (z, y, x) posterior elements, without ribs.
    spacing_mm : edge of the cubic voxels.
    """
    out = np.full(len(centers_zyx), np.nan)
    reach = AROUND_MM / spacing_mm
    for index, center in enumerate(centers_zyx):
        up, back, left = axes[index][:, ::-1]
        low = np.maximum(np.floor(center - reach).astype(int), 0)
        high = np.minimum(np.ceil(center + reach).astype(int) + 1, instances_zyx.shape)
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        body = (np.argwhere(instances_zyx[box] == index + 1) + low - center) * spacing_mm
        middle = body[np.abs(body @ left) < MIDDLE_MM]
        if len(middle) < LEAST_BODY_VOXELS:
            continue
        wall_mm = float(np.percentile(middle @ back, WALL_PERCENTILE))
        bone = (np.argwhere(posterior_zyx[box]) + low - center) * spacing_mm
        rise, behind, aside = bone @ up, bone @ back - wall_mm, bone @ left
        near = (behind > ROOT_DEPTH_MM[0]) & (behind < ROOT_DEPTH_MM[1]) & (rise > ROOT_RISE_MM[0]) & (rise < ROOT_RISE_MM[1])
        roots = [bone[near & (side * aside > ROOT_ASIDE_MM[0]) & (side * aside < ROOT_ASIDE_MM[1])] for side in (1.0, -1.0)]
        if min(len(root) for root in roots) * spacing_mm**3 >= LEAST_ROOT_MM3:
            out[index] = float(np.linalg.norm(roots[0].mean(axis=0) - roots[1].mean(axis=0)))
    return out
