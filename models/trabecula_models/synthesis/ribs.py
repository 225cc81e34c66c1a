"""Ribs that hang on the vertebrae of a scene, so that "the last rib" is true by construction.

The torsos' own ribs are 5 to 8 mm thick slices of another person's thorax; they fit no particular level. These start at the
costovertebral joint, pass in front of the tip of the transverse process and follow the chest wall of the torso.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.synthesis.assembly import frame_axes
from trabecula_models.synthesis.body_split import BodyFrame
from trabecula_models.synthesis.chest_wall import ChestWall, chest_wall
from trabecula_models.synthesis.spines import Spine
from trabecula_models.synthesis.tissues import Tissue

USUAL_REACH: dict[int, float] = {8: 0.6, 9: 0.75, **dict.fromkeys(range(10, 17), 0.86), 17: 0.78, 18: 0.44, 19: 0.26, 28: 0.22}
"""How far round the chest wall the bone of a rib goes, from the back (0) to the front midline (1), by VerSe id of its vertebra."""

CAGE_RADIUS_MM: tuple[float, float, float] = (72.0, 9.0, 140.0)
"""Widest distance of a rib from the middle of the trunk: of the first pair, more per level below, and at most. Shoulders and arms
that touch the trunk would otherwise widen the cage."""

RIB_FALL_MM, FIRST_RIB_FALL_MM = 62.0, 35.0
"""How far the course falls from the transverse process to the front; the first pair is flat and short."""

FIRST_RIB, LAST_TUBERCLE = 8, 17
"""VerSe ids of T1 and of T10: the eleventh and twelfth rib have no joint with a transverse process."""

TIP_MM = 4.0
"""The tip of a process is the middle of its last millimetres to the side."""

BEFORE_TIP_MM, UNDER_TIP_MM = 7.0, 5.0
"""Where a rib's middle line passes the tip of the process: this far in front and below (Visible Human Male, first rib: 8 and 7)."""

BESIDE_TUBERCLE_MM = 4.0
BEHIND_TUBERCLE_MM: dict[int, float] = {8: 0.0, 9: 3.0, 10: 7.0}
BEHIND_TUBERCLE_LOWER_MM = 9.0
"""How far behind its tubercle a rib still goes on its way to the side, by VerSe id and below them (Visible Human Male, trunk upright:
first rib 0, second 3, third 8, fourth 9, fifth 6)."""

FIRST_RIB_BEND_PER_MM = 0.03
"""The first rib turns forwards at its tubercle: this times the square of the way to the side (Visible Human Male: 0.02 to 0.04)."""

Tips = Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Tip of the right and the left transverse process by VerSe id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RibPlan:
    """Reach of the right and the left rib by VerSe id of the vertebra; 0 = no rib; default `USUAL_REACH` for every thoracic one."""

    reach: dict[int, tuple[float, float]]

    @staticmethod
    def usual(levels: list[int], changed: dict[int, tuple[float, float]] | None = None) -> RibPlan:
        """Ribs at every thoracic level, some of them changed."""
        return RibPlan(reach={level: (USUAL_REACH[level],) * 2 for level in levels if level in USUAL_REACH} | (changed or {}))


def process_tips(spine: Spine) -> Tips:
    """Tips of the transverse processes that carry a rib's tubercle, (z, y, x) in the spine's volume: right and left by VerSe id."""
    tips = {}
    for level in range(FIRST_RIB, LAST_TUBERCLE + 1):
        if level not in spine.frames:
            continue
        frame = spine.frames[level]
        voxels = np.argwhere((spine.levels_zyx == level) & ~spine.body_zyx)
        aside = (voxels - frame.centre) @ frame_axes(frame)[2]
        if min(-aside.min(initial=0), aside.max(initial=0)) < frame.half_width_mm:
            continue  # a body without its processes
        right, left = (voxels[side * aside > np.percentile(side * aside[side * aside > 0], 99.7) - TIP_MM].mean(0) for side in (-1, 1))
        tips[level] = (right, left)
    return tips


def _tubercle(frame: BodyFrame, side: int, head_up_mm: float, tips: Tips) -> NDArray[np.float64]:
    """Where the rib lies on the transverse process, (z, y, x); beside and behind the body where there is no such joint."""
    up, back, left = frame_axes(frame)
    if frame.level in tips:
        return np.asarray(tips[frame.level][0 if side < 0 else 1] - back * BEFORE_TIP_MM - up * UNDER_TIP_MM)
    half_depth, half_width = frame.half_depth_mm / 0.88, frame.half_width_mm / 0.88
    return np.asarray(frame.centre + side * left * (half_width + 12) + back * (half_depth + 14) + up * (head_up_mm - 3))


def rib_line(frame: BodyFrame, wall: ChestWall, side: int, reach: float, tips: Tips) -> NDArray[np.float64]:
    """Middle line of a rib, points (z, y, x) 1 mm apart, from its head to where its bone ends."""
    up, back, left = frame_axes(frame)
    half_height, half_depth, half_width = (v / 0.88 for v in (frame.half_height_mm, frame.half_depth_mm, frame.half_width_mm))
    high = 0.75 * half_height if frame.level <= 17 else 0.3 * half_height
    head = frame.centre + side * left * (half_width - 1) + back * half_depth * 0.75 + up * high
    tubercle = _tubercle(frame, side, high, tips)
    count = max(3, round(40 * reach))
    angles = np.linspace(0.42, 0.92 * np.pi, 40)[:count]
    fall = (FIRST_RIB_FALL_MM if frame.level == FIRST_RIB else RIB_FALL_MM) * np.linspace(0, 1, 40)[:count] ** 0.9
    first, growth, limit = CAGE_RADIUS_MM
    largest = min(first + growth * (frame.level - FIRST_RIB), limit)
    course = np.array([wall.point(float(a), float(tubercle[0] - 8 - f), side, largest) for a, f in zip(angles, fall, strict=True)])
    if frame.level in tips:
        course = _from_tubercle(course, tubercle, side, frame.level)
    knots = np.vstack([head, tubercle, course])
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    even = np.arange(0, lengths[-1] if reach >= 0.1 else min(lengths[-1], 25.0 + 200 * reach), 1.0)
    line = np.stack([np.interp(even, lengths, knots[:, k]) for k in range(3)], 1)
    return np.asarray(ndimage.gaussian_filter1d(line, 5, axis=0, mode="nearest"))


def _from_tubercle(course: NDArray[np.float64], tubercle: NDArray[np.float64], side: int, level: int) -> NDArray[np.float64]:
    """The course (n, 3) where it has passed the tubercle to the side, and no further back than ribs of that level go."""
    aside = side * (course[:, 2] - tubercle[2])
    passed = np.flatnonzero(aside > BESIDE_TUBERCLE_MM)
    start = int(passed[0]) if len(passed) else len(course) - 1
    behind = BEHIND_TUBERCLE_MM.get(level, BEHIND_TUBERCLE_LOWER_MM)
    limit = tubercle[1] + np.minimum(behind, behind - FIRST_RIB_BEND_PER_MM * aside**2 * (level == FIRST_RIB))
    bent = course.copy()
    bent[:, 1] = np.where(aside > 0, np.minimum(course[:, 1], limit), course[:, 1])
    return bent[start:]


def _ball(radius_mm: float, stretch_z: float) -> NDArray[np.int_]:
    n = int(np.ceil(radius_mm * stretch_z))
    grid = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    return np.asarray(grid[((grid / [stretch_z, 1, 1]) ** 2).sum(1) <= radius_mm**2])


def draw_ribs(tissue: NDArray[np.uint8], frames: list[BodyFrame], plan: RibPlan, tips: Tips) -> None:
    """Replace the torso's ribs by those of the plan (in place, before the spine is pasted); `tips` as `process_tips` finds them."""
    tissue[tissue == Tissue.RIB] = Tissue.MUSCLE
    ordered = sorted(frames, key=lambda frame: float(frame.centre[0]))
    z = np.array([frame.centre[0] for frame in ordered])
    column_x = np.interp(np.arange(tissue.shape[0]), z, [frame.centre[2] for frame in ordered])
    wall = chest_wall(tissue, column_x)
    ball = _ball(3.1, 1.6)
    for frame in frames:
        for side, reach in zip((-1, 1), plan.reach.get(frame.level, (0.0, 0.0)), strict=True):
            if reach <= 0:
                continue
            voxels = (np.rint(rib_line(frame, wall, side, reach, tips))[:, None].astype(int) + ball[None]).reshape(-1, 3)
            voxels = voxels[((voxels >= 0) & (voxels < tissue.shape)).all(1)]
            tissue[tuple(voxels.T)] = Tissue.RIB
