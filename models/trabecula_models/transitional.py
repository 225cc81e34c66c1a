"""Whether the last lumbar vertebra is joined to the sacrum: its transverse process widened until it meets the wing (Castellvi II to IV)."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.bodies import ClassMaps

BEFORE_FACETS_MM = 8.0
"""Contact counts up to this far behind the back wall of the body: the facet joints with the sacrum lie further back (12 to 21 mm, middle
of the contact of ten true columns)."""

AROUND_LAST_MM = 65.0
"""Everything looked at lies within this of the body's centre: processes that are joined reach 45 to 60 mm to the side."""

SIDE_PERCENTILE, WALL_PERCENTILE, MIDDLE_MM = 98.0, 97.0, 12.0
"""The side of the body, and its back wall near the middle, leave this share of its voxels inside, the rest are spurs and pedicles."""


WING_SEEN_APART_MM = 5.5
"""In slices further apart a process and the wing below it run together (liver-8mm, 8 mm slices: joined to the eye of the network)."""


def likeliest_arches_and_sacrum(maps: ClassMaps) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where posterior elements, and where the sacrum, are the likeliest class: at their common border neither reaches one half."""
    rest = 1 - (maps.body + maps.posterior + maps.sacrum + maps.rib)
    others = np.maximum(np.maximum(maps.body, maps.rib), rest)
    return maps.posterior >= np.maximum(others, maps.sacrum), maps.sacrum >= np.maximum(others, maps.posterior)


def sacral_contact_mm2(
    centers_zyx: NDArray[np.float64],
    axes: NDArray[np.float64],
    instances_zyx: NDArray[np.integer],
    posterior_zyx: NDArray[np.bool_],
    sacrum_zyx: NDArray[np.bool_],
    spacing_mm: float,
) -> float:
    """Area over which the processes of the last body meet the wings of the sacrum in front of the facets, mm2, on the larger side.

    Parameters
    ----------
    centers_zyx : (n, 3) centres of the bodies, cranial to caudal, in voxels.
    axes : (n, 3, 3) for each body the rows up, back and left, (x, y, z), as in `ColumnPose`.
    instances_zyx : (z, y, x) bodies: 1, 2, ... in the same order; z superior, y posterior, x left.
    posterior_zyx, sacrum_zyx : (z, y, x) posterior elements and sacrum.
    spacing_mm : edge of the cubic voxels.
    """
    center, last = centers_zyx[-1], len(centers_zyx)
    up, back, left = axes[-1][:, ::-1]
    reach = AROUND_LAST_MM / spacing_mm
    low = np.maximum(np.floor(center - reach).astype(int), 0)
    high = np.minimum(np.ceil(center + reach).astype(int) + 1, instances_zyx.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    body = (np.argwhere(instances_zyx[box] == last) + low - center) * spacing_mm
    middle = body[np.abs(body @ left) < MIDDLE_MM]
    if len(middle) == 0:
        return 0.0
    bone = np.argwhere(posterior_zyx[box])
    away = (bone + low - center) * spacing_mm
    before_facets = away @ back < float(np.percentile(middle @ back, WALL_PERCENTILE)) + BEFORE_FACETS_MM
    areas = [0.0]
    for side in (-1.0, 1.0):
        beside = before_facets & (side * (away @ left) > float(np.percentile(side * (body @ left), SIDE_PERCENTILE)))
        process = np.zeros(posterior_zyx[box].shape, bool)
        process[tuple(bone[beside].T)] = True
        pieces, _ = ndimage.label(process)
        # Crumbs on the wing that do not hang on the vertebra are the sacrum's own outline.
        hanging = np.unique(pieces[tuple(bone[beside & (away @ up > 0)].T)])
        meets = np.isin(pieces, hanging[hanging > 0]) & ndimage.binary_dilation(sacrum_zyx[box])
        areas.append(float(meets.sum()) * spacing_mm**2)
    return max(areas)
