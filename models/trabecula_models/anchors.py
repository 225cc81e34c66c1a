"""What the names are told by: the sacrum below, ribs and transverse processes beside, and the coarse network's sense of level."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.bodies import ClassMaps
from trabecula_models.column import BodyCandidate
from trabecula_models.column_pose import ColumnPose
from trabecula_models.level_evidence import RIB_BORNE
from trabecula_models.locate import LocatedColumn
from trabecula_morphometry.volume import Grid, Volume

SACRUM_LEAST_ML, SACRUM_SURE_ML = 8.0, 25.0
"""Sacrum in view: less is none; a sliver at the end of the field can be the arch of an L5 that is cut away (seen: 10 ml false, 11 ml
true, whole ones 129-173 ml)."""

SACRUM_SLIVER_PROBABILITY, SACRUM_PROBABILITY = 0.70, 0.985
"""How often the body right above a sacrum of the least and of the sure size is the last lumbar one."""

SACRUM_NEAR_MM, SACRUM_FAR_MM = 6.0, 32.0
"""Distance from the centre of L5 to the nearest voxel of the sacrum (trial: 9-21 mm)."""

RIB_SIDE_MM, RIB_DEPTH_MM, RIB_HEIGHT_MM, RIB_LIFT_MM = (12.0, 32.0), (-6.0, 24.0), 12.0, 2.0
"""Where the head and neck of an attached rib lie: beside the body, in front of the transverse process. Further out, a steep 12th rib
passes L1 and its transverse process looks like one; here neither reaches (four real cases: T9-T12 0.4-1.6 ml, L1-L4 0.0 ml)."""

RIB_BELOW_SHARE = 0.4
"""But no further down than this share of the way to the next body, its lower endplate: the head of the first rib lies at the disc above T1,
and steps are short there, so that C7 had T1's ribs in its box (ADR 0038). 0.25 to 0.4 give the same ribs in 200 drawn columns and four
real chests, 0.45 gives one more level of a neck ribs (C6 in the real, C7 in the drawn)."""

SACRUM_BELOW_MM = 20.0
"""Where the top of the sacrum is looked for around a candidate: half the width of a body. The centre of L5 lies 10 to 24 mm above it (11
held-out columns, three real ones)."""

FOOT_MM, HEAD_MM = 10.0, 6.0
"""A body whose centre is nearer to the lower or upper end of the image is cut, and so may its ribs be."""

RIB_FULL_ML = 0.55
"""Rib in that box on the stronger side for a sure rib."""

RIB_PAIR_SURE = 0.998
"""Chance of two ribs where both sides hold so much: a choice. Of 26 drawn C7 the weaker side holds 0.08 ml and less in 24, 0.24 and 0.33
in two; of 32 drawn T1 0.36 to 1.29 ml in 28 (drawings 0 and 2, voxels from `RIB_TRACED` on; from one half on, and as bright as bone, 5
of 10 T1 had less than the 0.36)."""

RIB_SURE = 0.8
"""From this probability on a rib is one, however dark. In 200 drawn columns (drawings 0 and 2) 4 of 955 ribs are missed so, 16 where all
had to be bright, most of them in soft bones; of 848 bodies without ribs one more bears one. 0.7 to 0.85 do alike."""

RIB_LEAST_HU = 80.0
"""Soft tissue beside the spine stays below, with contrast too (muscle 35 to 70 HU; unverified beyond that). Six real CTs keep
every rib up to a limit of 120 HU."""

PROCESS_RISE_MM, PROCESS_DEPTH_MM, PROCESS_REACH_MM = (-14.0, 16.0), (5.0, 48.0), 60.0
"""Where the tips of transverse processes lie: 5 mm below to 13 mm above the centre of the body, lower where a scan shows them tilted, and
12 to 41 mm behind it (T9-L6 of four spines with true levels); the arches of the neighbours reach in there near the middle only."""

PROCESS_SEEN_MM = 42.0
"""A view that ends nearer to the body's middle may cut a transverse process of L1 (34 to 40 mm in four spines)."""

PROCESS_PROBABILITY = 0.2
"""Thin tips stay below one half at the network's voxel size, as thin laminae do (ircadb1-01: the process of L1 reaches 33 mm by eye, 27 at
one half and 30 here; lower limits gain nothing)."""

PROCESS_TIP_ML = 0.03
"""A process ends where less than this lies further out: about one millimetre of it, more than a stray crumb. Unverified, not searched."""

RIB_TRACED, RIB_GAP_VOXELS = 0.3, 2
"""A rib is followed where its class has this probability, across gaps of twice as many voxels: thin ribs come in crumbs."""

RIB_AROUND_MM = 15.0
"""A rib runs downwards from its head: what lies further above is the rib of the level above."""

FOLLOWED_UP_TO_MM = 5.5
"""In slices further apart a steep rib falls into pieces and its length means nothing."""

AT_EDGE_MM, BEYOND_TIP_MM = 4.0, 8.0
"""A rib that comes this near to the end of the view, or to the padding around a round field, goes on beyond it."""

AIR_BEYOND_HU = -900.0
"""What lies behind the tip of a rib is fat or muscle; padding and the air outside the body are darker than this."""


def sacrum_mask(maps: ClassMaps, voxel_ml: float) -> NDArray[np.bool_] | None:
    """The sacrum, or None where too little of it is in view."""
    pieces, count = ndimage.label(maps.sacrum > 0.5)
    if count == 0:
        return None
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    if sizes.max() * voxel_ml < SACRUM_LEAST_ML:
        return None
    mask: NDArray[np.bool_] = pieces == sizes.argmax()
    return mask


def drop_sacral_bodies(chain: list[BodyCandidate], sacrum: NDArray[np.bool_] | None, grid: Grid) -> list[BodyCandidate]:
    """The chain without candidates that lie inside or below the top of the sacrum (S1 looks much like a body).

    Its top right at the candidate counts: in a bent column the wing of a tilted sacrum reaches higher than L5.
    """
    if sacrum is None:
        return chain
    points = grid.to_lps(np.argwhere(sacrum)[:, ::-1])
    kept = []
    for candidate in chain:
        away = points - candidate.center_lps_mm
        here = away[np.hypot(away[:, 0], away[:, 1]) < SACRUM_BELOW_MM, 2]
        if len(here) == 0 or np.percentile(here, 97) < 2.0:
            kept.append(candidate)
    return kept


def sacrum_below(chain: list[BodyCandidate], sacrum: NDArray[np.bool_] | None, grid: Grid) -> float:
    """Chance that the last body of the chain is the last lumbar one, by the sacrum right below it; 0 where none is there."""
    if sacrum is None or not chain:
        return 0.0
    points = grid.to_lps(np.argwhere(sacrum)[:, ::-1])
    nearest = float(np.min(np.linalg.norm(points - chain[-1].center_lps_mm, axis=1)))
    if not SACRUM_NEAR_MM <= nearest <= SACRUM_FAR_MM:
        return 0.0
    size_ml = len(points) * grid.voxel_volume_mm3 / 1000.0
    return float(np.interp(size_ml, (SACRUM_LEAST_ML, SACRUM_SURE_ML), (SACRUM_SLIVER_PROBABILITY, SACRUM_PROBABILITY)))


def rib_mask(maps: ClassMaps, hu_zyx: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a rib is seen surely, or one that is as bright as bone.

    In small people the network half took soft tissue beside a T12 without ribs for one. The marrow of soft bones is no brighter, but there
    it is sure.
    """
    mask: NDArray[np.bool_] = (maps.rib > RIB_SURE) | ((maps.rib > 0.5) & (hu_zyx > RIB_LEAST_HU))
    return mask


def rib_probability(
    pose: ColumnPose,
    rib_zyx: NDArray[np.bool_],
    grid: Grid,
    view_low_lps_mm: NDArray[np.float64],
    view_high_lps_mm: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Chance, per body, that a rib is attached; NaN where the field of view ends before the ribs would show.

    The stronger side counts: a 12th rib may be missing on one side.
    """
    out = np.full(len(pose.centers_lps_mm), np.nan)
    amounts_ml = _beside_ml(pose, rib_zyx, grid, view_low_lps_mm, view_high_lps_mm)
    for index, z in enumerate(pose.centers_lps_mm[:, 2]):
        if np.isfinite(amounts_ml[index]).any() and view_low_lps_mm[2] + FOOT_MM < z < view_high_lps_mm[2] - HEAD_MM:
            seen = 0.04 + 0.92 * _certainty(float(np.nanmax(amounts_ml[index])))
            # The first rib leaves its body upwards: where the image ends just above, none seen is no sign that there is none.
            whole_box = z + RIB_LIFT_MM + RIB_HEIGHT_MM < view_high_lps_mm[2]
            if whole_box or seen > RIB_BORNE:
                out[index] = seen
    return out


def rib_pair_probability(
    pose: ColumnPose,
    rib_zyx: NDArray[np.bool_],
    grid: Grid,
    view_low_lps_mm: NDArray[np.float64],
    view_high_lps_mm: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Chance, per body, that ribs are attached on both sides, by the weaker one; 0 where not both sides are in view.

    ``rib_zyx`` may show less than half sure voxels (`RIB_TRACED`): first ribs are short and faint, and noise rarely lies on both sides.
    """
    amounts_ml = _beside_ml(pose, rib_zyx, grid, view_low_lps_mm, view_high_lps_mm)
    weaker = np.nan_to_num(amounts_ml.min(axis=1, initial=np.inf), nan=0.0)
    return np.array([RIB_PAIR_SURE * _certainty(float(amount)) for amount in weaker])


def _certainty(amount_ml: float) -> float:
    """0 without any rib to 1 with a full one."""
    share = min(amount_ml / RIB_FULL_ML, 1.0)
    return share**2 / (share**2 + (1 - share) ** 2)


def _beside_ml(
    pose: ColumnPose,
    rib_zyx: NDArray[np.bool_],
    grid: Grid,
    view_low_lps_mm: NDArray[np.float64],
    view_high_lps_mm: NDArray[np.float64],
) -> NDArray[np.float64]:
    """How much rib there is (n, 2) right and left of each body; NaN on a side that is not in view."""
    points = grid.to_lps(np.argwhere(rib_zyx)[:, ::-1])
    amounts_ml = np.full((len(pose.centers_lps_mm), 2), np.nan)
    for index, center in enumerate(pose.centers_lps_mm):
        for column, side in enumerate((-1.0, 1.0)):
            if view_low_lps_mm[0] <= center[0] + side * RIB_SIDE_MM[1] <= view_high_lps_mm[0]:
                amounts_ml[index, column] = float(_beside(points, pose, index, side).sum()) * grid.voxel_volume_mm3 / 1000.0
    return amounts_ml


def _beside(points_lps_mm: NDArray[np.float64], pose: ColumnPose, index: int, side: float) -> NDArray[np.bool_]:
    """Which points lie where the head and neck of a rib of this body would: the box leans and turns as the body does (27 degrees at T1)."""
    rise, depth, aside = pose.seen_from(index, points_lps_mm)
    inside: NDArray[np.bool_] = (side * aside > RIB_SIDE_MM[0]) & (side * aside < RIB_SIDE_MM[1])
    inside &= (depth > RIB_DEPTH_MM[0]) & (depth < RIB_DEPTH_MM[1])
    lowest_mm = max(RIB_LIFT_MM - RIB_HEIGHT_MM, -RIB_BELOW_SHARE * pose.step_below_mm(index))
    inside &= (rise > lowest_mm) & (rise < RIB_LIFT_MM + RIB_HEIGHT_MM)
    return inside


def transverse_reach_mm(
    pose: ColumnPose, maps: ClassMaps, grid: Grid, view_low_lps_mm: NDArray[np.float64], view_high_lps_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far the transverse processes of each body reach from its middle to the side, mm; NaN where they may be out of view.

    The longer side counts: thin processes come out short.
    """
    out = np.full(len(pose.centers_lps_mm), np.nan)
    least_voxels = max(round(PROCESS_TIP_ML * 1000.0 / grid.voxel_volume_mm3), 1)
    points = grid.to_lps(np.argwhere((maps.posterior > PROCESS_PROBABILITY) & (maps.posterior > maps.rib))[:, ::-1])
    for index, center in enumerate(pose.centers_lps_mm):
        low_mm, high_mm = center[2] + PROCESS_RISE_MM[0], center[2] + PROCESS_RISE_MM[1]
        if low_mm < view_low_lps_mm[2] or high_mm > view_high_lps_mm[2]:
            continue
        aside = _aside_of_processes(points, pose, index)
        for side in (1.0, -1.0):
            if view_low_lps_mm[0] <= center[0] + side * PROCESS_SEEN_MM <= view_high_lps_mm[0]:
                this_side = np.sort(side * aside[side * aside > 0])
                if len(this_side) >= least_voxels:
                    out[index] = np.fmax(out[index], this_side[-least_voxels])
    return out


def _aside_of_processes(points_lps_mm: NDArray[np.float64], pose: ColumnPose, index: int) -> NDArray[np.float64]:
    """How far to the left of a body the points lie that may be its transverse processes, mm."""
    rise, depth, aside = pose.seen_from(index, points_lps_mm)
    inside = (rise > PROCESS_RISE_MM[0]) & (rise < PROCESS_RISE_MM[1]) & (depth > PROCESS_DEPTH_MM[0]) & (depth < PROCESS_DEPTH_MM[1])
    found: NDArray[np.float64] = aside[inside & (np.abs(aside) < PROCESS_REACH_MM)]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RibLength:
    """Head to tip of the longer rib of a body, mm, as far as it is seen (NaN unknown), and whether its tip is in view.

    ``shortest_whole_mm`` is the length of the shortest of its ribs whose tip is in view; NaN where none is.
    """

    length_mm: float
    whole: bool
    shortest_whole_mm: float = float("nan")


def last_rib_length(pose: ColumnPose, probability: NDArray[np.float64], maps: ClassMaps, grid: Grid, volume: Volume) -> RibLength:
    """The longer rib of the lowest body that bears one.

    Unknown without a rib, and where the slices are too far apart to follow one.
    """
    bearing = [index for index, rib in enumerate(probability) if rib > RIB_BORNE]
    if not bearing or volume.grid.slice_spacing_mm > FOLLOWED_UP_TO_MM:
        return RibLength(length_mm=float("nan"), whole=False)
    last = bearing[-1]
    center = pose.centers_lps_mm[last]
    rib = maps.rib > RIB_TRACED
    pieces, _ = ndimage.label(ndimage.binary_dilation(rib, iterations=RIB_GAP_VOXELS))
    voxels = np.argwhere(rib)
    points, piece = grid.to_lps(voxels[:, ::-1]), pieces[tuple(voxels.T)]
    low, high = grid.to_lps(np.zeros(3)), grid.to_lps(np.array(grid.shape_zyx[::-1]) - 1.0)
    rise, _, aside = pose.seen_from(last, points)
    sides = []
    for side in (-1.0, 1.0):
        beside = _beside(points, pose, last, side)
        if not beside.any():
            continue
        head = points[beside][np.linalg.norm(points[beside] - center, axis=1).argmin()]
        same = np.isin(piece, np.unique(piece[beside])) & (aside * side > 0) & (rise < RIB_AROUND_MM)
        distance = np.linalg.norm(points[same] - head, axis=1)
        tip = points[same][distance.argmax()]
        beyond = tip + (tip - head) / max(float(distance.max()), 1.0) * BEYOND_TIP_MM
        at_edge = float(np.minimum(tip - low, high - tip).min()) < AT_EDGE_MM or _hu_at(volume, beyond) < AIR_BEYOND_HU
        sides.append(RibLength(length_mm=float(distance.max()), whole=not at_edge))
    longer = max(sides, key=lambda rib: rib.length_mm, default=RibLength(length_mm=0.0, whole=True))
    return replace(longer, shortest_whole_mm=min((rib.length_mm for rib in sides if rib.whole), default=float("nan")))


def _hu_at(volume: Volume, point_lps_mm: NDArray[np.float64]) -> float:
    """HU of the voxel at a point, minus infinity outside the volume."""
    index = np.rint(volume.grid.to_voxel(point_lps_mm[None])[0]).astype(int)[::-1]
    inside = bool((index >= 0).all() and (index < volume.hu_zyx.shape).all())
    return float(volume.hu_zyx[tuple(index)]) if inside else -np.inf


def coarse_levels(chain: list[BodyCandidate], located: LocatedColumn) -> NDArray[np.float64]:
    """The coarse network's level at each body (C1 = 0), the median over the bone around its centre; NaN where it sees no bone."""
    out = np.full(len(chain), np.nan)
    voxels = np.rint(located.grid.to_voxel(np.array([candidate.center_lps_mm for candidate in chain]).reshape(-1, 3))).astype(int)
    for index, (x, y, z) in enumerate(voxels):
        box = tuple(slice(max(v - 2, 0), v + 3) for v in (z, y, x))
        bone = located.bone_zyx[box]
        if bone.sum() >= 8:
            out[index] = float(np.median(located.level_index_zyx[box][bone]))
    return out
