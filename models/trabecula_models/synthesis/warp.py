"""Random poses and shapes: maps each voxel of a patch to a point of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trabecula_models.synthesis.body_split import BodyFrame

Field = NDArray[np.float32]

FISH_SHARE = 0.25
"""Share of the samples with fractures in which nearly every body is biconcave."""

CRUSHED_SHARE = 0.4
"""Share of the other samples with fractures in which some bodies are crushed to a third or a half beside intact ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpRange:
    """Largest random changes of pose and shape (angles in degrees, lengths in mm)."""

    scale: tuple[float, float] = (0.85, 1.2)
    axis_scale: float = 0.07
    tilt_deg: float = 18.0
    axial_deg: float = 8.0
    turned_share: float = 0.3
    """Share of samples turned about the long axis by up to `turned_deg`: people who lie on one hip, and the middle of a scoliosis."""
    turned_deg: float = 35.0
    lateral_deg: float = 12.0
    bend_deg: float = 14.0
    elastic_mm: float = 3.5
    elastic_fine_mm: float = 1.0
    fracture_probability: float = 0.3


def rotation(axis: int, angle_rad: float) -> NDArray[np.float64]:
    """Rotation about one axis of (z, y, x)."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    i, j = [(1, 2), (0, 2), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = cos
    matrix[i, j], matrix[j, i] = -sin, sin
    return matrix


def _smooth_field(rng: np.random.Generator, shape: tuple[int, ...], knots: tuple[int, int, int], sd_mm: float) -> Field:
    control = torch.from_numpy(rng.normal(0, sd_mm, (1, 3, *knots)).astype(np.float32))
    up = torch.nn.functional.interpolate(control, size=shape, mode="trilinear", align_corners=True)
    return np.asarray(up[0].numpy())


@dataclass(frozen=True, slots=True, kw_only=True)
class Collapse:
    """How one body loses height: shape (Genant), largest share of height lost, share of it lost at the upper endplate."""

    shape: str
    strength: float
    from_top: float

    def loss(self, depth: Field, across: Field) -> Field:
        """Share of the height lost at places in the body: depth -1 (front) to 1 (back), across -1 (right) to 1 (left)."""
        if self.shape == "wedge":
            return np.asarray(self.strength * (1 - depth) / 2)
        if self.shape == "biconcave":
            return np.asarray(self.strength * (1 - 0.8 * depth**2) * (1 - 0.6 * across**2))
        return np.asarray(self.strength * (1 - 0.15 * depth))


def draw_fish_vertebra(rng: np.random.Generator) -> Collapse:
    """Draw a body hollowed from both endplates, as all lumbar ones are in severe osteoporosis."""
    return Collapse(shape="biconcave", strength=float(rng.uniform(0.15, 0.5)), from_top=float(rng.uniform(0.35, 0.65)))


def draw_collapse(rng: np.random.Generator) -> Collapse:
    """Draw a wedge, biconcave or crush fracture of 15-55 %."""
    shape = str(rng.choice(["wedge", "biconcave", "crush"], p=[0.45, 0.3, 0.25]))
    strength = float(rng.uniform(0.15, 0.55))
    return Collapse(shape=shape, strength=strength, from_top=float(rng.choice([1.0, 0.0, rng.uniform(0.3, 0.7)], p=[0.45, 0.15, 0.4])))


def draw_crushed_vertebra(rng: np.random.Generator) -> Collapse:
    """Draw a body that has lost 45-70 % of its height; low and dense, it is easily taken for a disc."""
    shape = str(rng.choice(["wedge", "biconcave", "crush"], p=[0.3, 0.25, 0.45]))
    return Collapse(shape=shape, strength=float(rng.uniform(0.45, 0.7)), from_top=float(rng.choice([1.0, 0.0, 0.5], p=[0.4, 0.2, 0.4])))


def apply_collapse(points: Field, frame: BodyFrame, collapse: Collapse) -> None:
    """Lower one body in place (backward map of scene points, (3, n)); the neighbouring discs widen."""
    up, back = frame.up.astype(np.float32), frame.back.astype(np.float32)
    left = np.cross(up, back)
    half = np.float32(frame.half_height_mm / 0.88)
    depth, width = np.float32(frame.half_depth_mm / 0.88), np.float32(frame.half_width_mm / 0.88)
    near = np.flatnonzero(np.abs(points - frame.centre.astype(np.float32)[:, None]).max(0) < 48)
    if near.size == 0:
        return
    relative = points[:, near] - frame.centre.astype(np.float32)[:, None]
    along, behind, across = up @ relative, back @ relative, left @ relative
    loss = collapse.loss(np.clip(behind / depth, -1, 1), np.clip(across / width, -1, 1))
    top = half - collapse.from_top * loss * 2 * half
    bottom = -half + (1 - collapse.from_top) * loss * 2 * half
    room = np.float32(7.0)  # the neighbouring discs widen to fill the gap
    inside = -half + (along - bottom) / (top - bottom) * 2 * half
    above = half + (along - top) / (half + room - top) * room
    below = -half - (bottom - along) / (half + room + bottom) * room
    source = np.where(along > top, above, np.where(along < bottom, below, inside))
    source = np.where(np.abs(along) > half + room, along, source)
    weight = np.clip((1.7 * width - np.abs(across)) / (0.5 * width), 0, 1) * np.clip((1.0 * depth + 7 - behind) / 7, 0, 1)
    weight *= np.clip((2.2 * depth + behind) / (0.8 * depth), 0, 1)
    points[:, near] += up[:, None] * ((source - along) * weight).astype(np.float32)


def draw_warp(
    rng: np.random.Generator,
    frames: tuple[BodyFrame, ...],
    focus_zyx: NDArray[np.float64],
    shape_zyx: tuple[int, int, int],
    spacing_mm: float,
    limits: WarpRange,
) -> Field:
    """Return scene coordinates (3, z, y, x) in mm of every voxel centre of a patch centred on `focus_zyx`."""
    axes = [((np.arange(n) - (n - 1) / 2) * spacing_mm).astype(np.float32) for n in shape_zyx]
    scale = rng.uniform(*limits.scale) * (1 + rng.uniform(-limits.axis_scale, limits.axis_scale, 3))
    axial_deg = limits.turned_deg if rng.random() < limits.turned_share else limits.axial_deg
    tilt, axial, lateral = np.deg2rad([rng.uniform(-a, a) for a in (limits.tilt_deg, axial_deg, limits.lateral_deg)])
    matrix = (rotation(2, tilt) @ rotation(0, axial) @ rotation(1, lateral)) / scale
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    matrix[:, 2] *= mirror
    matrix = matrix.astype(np.float32)
    z, y, x = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    half_length = max(float(axes[0][-1]), 1.0)
    bend_y, bend_x = np.deg2rad(rng.uniform(-limits.bend_deg, limits.bend_deg, 2) * [1.0, 0.7]) / (2 * half_length)
    y = y + np.float32(bend_y) * z * z
    x = x + np.float32(bend_x) * z * z
    points = np.stack([matrix[i, 0] * z + matrix[i, 1] * y + matrix[i, 2] * x for i in range(3)])
    points += focus_zyx.astype(np.float32)[:, None, None, None]
    extent = np.array(shape_zyx) * spacing_mm
    coarse = tuple(int(v) for v in np.maximum(2, extent // 32))
    fine = tuple(int(v) for v in np.maximum(2, extent // 14))
    points += _smooth_field(rng, shape_zyx, coarse, limits.elastic_mm * rng.uniform(0, 1.2))  # type: ignore[arg-type]
    points += _smooth_field(rng, shape_zyx, fine, limits.elastic_fine_mm * rng.uniform(0, 1.2))  # type: ignore[arg-type]
    if rng.random() < limits.fracture_probability:
        flat = np.ascontiguousarray(points.reshape(3, -1))
        # Neighbouring fish vertebrae squeeze their disc into a lens; without such columns that disc is called body.
        fish = rng.random() < FISH_SHARE
        draw = draw_fish_vertebra if fish else draw_crushed_vertebra if rng.random() < CRUSHED_SHARE else draw_collapse
        for frame in frames:
            if rng.random() < (0.9 if fish else 0.3) and np.abs(frame.centre - focus_zyx).max() < 110:
                apply_collapse(flat, frame, draw(rng))
        points = flat.reshape(points.shape)
    return points.astype(np.float32, copy=False)
