"""What age does to vertebrae: bony lips and bridges, Schmorl nodes, sclerotic endplates; and the basivertebral vein.

Everything is given in a vertebra's own frame in shares of its half height, depth and width, and applied to the voxels around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trabecula_models.synthesis.body_split import BodyFrame
from trabecula_models.synthesis.tissues import BONE_TISSUES, Tissue

Values = NDArray[np.float32]
BRIDGE_REACH_MM = 6.5
"""How far a bridge goes beyond the endplate: half a disc and a little, so that the two halves meet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lip:
    """An osteophyte at the rim: end (+1 superior, -1 inferior), angle from straight ahead to the left, radius; `bridge` spans the disc."""

    end: int
    angle_rad: float
    radius_mm: float
    bridge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SchmorlNode:
    """Disc that has sunk into an endplate: end, place as shares of half depth (posterior +) and half width (left +), radius."""

    end: int
    behind: float
    across: float
    radius_mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BoneChanges:
    """Changes of one vertebra; sclerosis is the rise in HU right at the superior and the inferior endplate."""

    lips: tuple[Lip, ...] = ()
    nodes: tuple[SchmorlNode, ...] = ()
    sclerosis_hu: tuple[float, float] = (0.0, 0.0)
    vein_hu: float = 30.0


def draw_bone_changes(rng: np.random.Generator, count: int, severity: float) -> tuple[BoneChanges, ...]:
    """Draw the changes of a column of `count` vertebrae, cranial to caudal; severity 0 (none) to 1 (every disc worn, some bridged)."""
    lips: list[list[Lip]] = [[] for _ in range(count)]
    for disc in range(count - 1):
        for _ in range(rng.poisson(2.2 * severity)):
            angle = float(np.deg2rad(rng.uniform(-110, 110)))
            radius = float(rng.uniform(2.5, 6.5))
            bridge = bool(rng.random() < 0.25 * severity)
            lips[disc].append(Lip(end=-1, angle_rad=angle, radius_mm=radius, bridge=bridge))
            if bridge or rng.random() < 0.7:
                lips[disc + 1].append(Lip(end=1, angle_rad=angle, radius_mm=radius * float(rng.uniform(0.7, 1.1)), bridge=bridge))
    changes = []
    for index in range(count):
        nodes = tuple(
            SchmorlNode(
                end=int(rng.choice([-1, 1])),
                behind=float(rng.uniform(-0.3, 0.5)),
                across=float(rng.uniform(-0.4, 0.4)),
                radius_mm=float(rng.uniform(2.5, 6)),
            )
            for _ in range(rng.poisson(0.25 * severity))
        )
        sclerosis = tuple(float(rng.uniform(60, 350)) if rng.random() < 0.35 * severity else 0.0 for _ in range(2))
        changes.append(
            BoneChanges(lips=tuple(lips[index]), nodes=nodes, sclerosis_hu=(sclerosis[0], sclerosis[1]), vein_hu=float(rng.uniform(10, 60)))
        )
    return tuple(changes)


def _near(points: Values, frame: BodyFrame) -> NDArray[np.int_]:
    reach = max(frame.half_height_mm, frame.half_depth_mm, frame.half_width_mm) / 0.88 + 14
    low, high = frame.centre - reach, frame.centre + reach
    slab = np.ones(points.shape[1], bool)
    for axis in range(3):
        slab &= (points[axis] > low[axis]) & (points[axis] < high[axis])
    return np.flatnonzero(slab)


def apply_bone_changes(
    changes: BoneChanges, frame: BodyFrame, points: Values, hu: Values, tissue: NDArray[np.uint8], level: NDArray[np.uint8]
) -> None:
    """Write the changes of one vertebra into flat arrays of voxels (in place); `points` are their scene coordinates, (3, n)."""
    near = _near(points, frame)
    if near.size == 0:
        return
    relative = points[:, near] - frame.centre.astype(np.float32)[:, None]
    up, back = frame.up.astype(np.float32), frame.back.astype(np.float32)
    along, behind, across = up @ relative, back @ relative, np.cross(up, back) @ relative
    half_height, half_depth, half_width = (v / 0.88 for v in (frame.half_height_mm, frame.half_depth_mm, frame.half_width_mm))
    own_tissue, own_hu, own_level = tissue[near], hu[near], level[near]
    body = (own_tissue == Tissue.BODY) & (own_level == frame.level)
    vein = body & (behind > -0.1 * half_depth) & (along**2 + across**2 < (1.0 + 1.6 * (behind / half_depth)) ** 2)
    own_hu[vein] += 0.6 * (changes.vein_hu - own_hu[vein])
    for end, rise in zip((1, -1), changes.sclerosis_hu, strict=True):
        if rise > 0:
            gap = np.maximum(half_height - end * along, 0)
            own_hu[body] += (rise * np.exp(-((gap / 4.0) ** 2)))[body]
    for node in changes.nodes:
        distance = np.sqrt(
            (along - node.end * half_height) ** 2 + (behind - node.behind * half_depth) ** 2 + (across - node.across * half_width) ** 2
        )
        rim = body & (distance < node.radius_mm + 2.0)
        own_hu[rim] += 180
        hole = body & (distance < node.radius_mm)
        own_hu[hole], own_tissue[hole], own_level[hole] = 80.0, Tissue.DISC, 0
    free = ~np.isin(own_tissue, BONE_TISSUES) & (own_tissue != Tissue.CANAL)
    for lip in changes.lips:
        edge = lip.end * half_height * 0.9
        flat = (behind + half_depth * np.cos(lip.angle_rad)) ** 2 + (across - half_width * np.sin(lip.angle_rad)) ** 2
        if lip.bridge:
            beyond = np.clip(lip.end * (along - edge), -4, BRIDGE_REACH_MM)
            high = along - edge - lip.end * beyond
        else:
            high = (along - edge) / 0.6
        bony = free & (flat + high**2 < lip.radius_mm**2)
        own_hu[bony], own_tissue[bony], own_level[bony] = 420.0, Tissue.BODY, frame.level
        free &= ~bony
    tissue[near], hu[near], level[near] = own_tissue, own_hu, own_level
