"""One training sample: a patch of a scene, warped, painted and scanned, with its labels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from trabecula_models.synthesis.acquisition import AIR_HU, acquire, draw_acquisition
from trabecula_models.synthesis.bone_changes import BoneChanges, apply_bone_changes, draw_bone_changes
from trabecula_models.synthesis.clutter import add_clutter, add_paraspinal_fat, add_texture
from trabecula_models.synthesis.implants import STREAK_HU, Implant, add_streaks, draw_implants, paint_implants
from trabecula_models.synthesis.intensity import Style, draw_tables, paint
from trabecula_models.synthesis.scene import CENTRE_STEP_MM, Scene
from trabecula_models.synthesis.tissues import SEGMENTATION_CLASS
from trabecula_models.synthesis.warp import WarpRange, draw_warp

HEAT_SIGMA_MM = 6.0
T12_LEVEL, T13_LEVEL = 19, 28


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleConfig:
    """Size and style of samples."""

    shape_zyx: tuple[int, int, int] = (80, 64, 64)
    spacing_mm: float = 2.0
    supersample: int = 2
    """Voxels are painted this much finer than the grid and then blurred by the scanner model."""
    style_shares: tuple[float, float, float] = (0.55, 0.15, 0.3)
    """Shares of `Style.PRIOR`, `Style.MIXED`, `Style.WIDE`."""
    focus_jitter_mm: float = 28.0
    wear_share: float = 0.3
    """Share of samples with degenerative change; osteophytes are labelled as body."""
    cut_share: float = 0.15
    """Share of samples of which the scan shows only a part, from half of it on: all above or all below is air."""
    circle_share: float = 0.08
    """Share of samples inside a reconstruction circle of 45 to 140 mm."""
    implant_share: float = 0.06
    """Share of samples with screws, a cage or cement (where they show two vertebrae from T11 down), and the streaks of what is metal.

    Labels stay those of the bone, metal outside bone is background.
    """
    thick_share: float = 0.0
    """Share of samples with slices of 4 or 5 mm, besides the fifth that has them anyway."""
    warp: WarpRange = field(default_factory=WarpRange)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """HU and truth on one grid (z superior, y posterior, x left)."""

    hu_zyx: NDArray[np.int16]
    class_zyx: NDArray[np.uint8]
    heat_zyx: NDArray[np.uint8]
    """Centre heat, 255 = 1 (Gaussian, sigma 6 mm)."""
    level_zyx: NDArray[np.uint8]
    """VerSe index of the vertebra (sacrum and L6 25, T13 as T12), 0 elsewhere."""


def gather(scene: Scene, points_mm: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return the nearest packed voxel of each point; outside the scene: 0 distance-free air."""
    shape = scene.packed_zyx.shape
    index = [np.rint(points_mm[axis]).astype(np.int32) for axis in range(3)]
    outside = np.zeros(points_mm.shape[1:], bool)
    for axis in range(3):
        outside |= (index[axis] < 0) | (index[axis] >= shape[axis])
        np.clip(index[axis], 0, shape[axis] - 1, out=index[axis])
    flat = (index[0] * shape[1] + index[1]) * shape[2] + index[2]
    packed = scene.packed_zyx.reshape(-1)[flat]
    packed[outside] = np.uint32(255 << 16)
    return np.asarray(packed)


def _focus(scene: Scene, rng: np.random.Generator, jitter_mm: float) -> NDArray[np.float64]:
    """Return where the patch looks: mostly a body, sometimes the pelvis or anywhere in the patient."""
    kind = rng.random()
    if kind < 0.86:
        frame = scene.frames[int(rng.integers(len(scene.frames)))]
        return np.asarray(frame.centre + rng.uniform(-1, 1, 3) * jitter_mm)
    if kind < 0.92 and scene.frames[0].level == 24:
        return np.asarray(scene.frames[0].centre + np.array([-55.0, 15.0, 0.0]) + rng.uniform(-1, 1, 3) * 40)
    return np.asarray(rng.uniform([0.05, 0.15, 0.1], [0.95, 0.9, 0.9]) * scene.packed_zyx.shape)


def _cut_field(sample_hu: NDArray[np.float32], masks: list[NDArray[np.uint8]], config: SampleConfig, rng: np.random.Generator) -> None:
    """Cut away what a scan does not show: slices beyond its end, or all outside a reconstruction circle."""
    gone = np.zeros(sample_hu.shape, bool)
    if rng.random() < config.cut_share:
        edge = int(rng.integers(4, sample_hu.shape[0] // 2))
        gone[-edge:] |= rng.random() < 0.5
        if not gone.any():
            gone[:edge] = True
    if rng.random() < config.circle_share:
        n_y, n_x = sample_hu.shape[1:]
        radius = rng.uniform(45, 140) / config.spacing_mm
        y0, x0 = n_y / 2 + rng.uniform(-0.4, 0.4) * radius, n_x / 2 + rng.uniform(-0.4, 0.4) * radius
        gone |= ((np.arange(n_y)[:, None] - y0) ** 2 + (np.arange(n_x)[None] - x0) ** 2 > radius**2)[None]
    if gone.any():
        sample_hu[gone] = AIR_HU
        for mask in masks:
            mask[gone] = 0


def _wear(
    scene: Scene,
    changes: tuple[BoneChanges, ...],
    points: NDArray[np.float32],
    hu: NDArray[np.float32],
    tissue: NDArray[np.uint8],
    level: NDArray[np.uint8],
) -> None:
    """Write degenerative changes into the arrays of one grid (in place)."""
    flat, low, high = points.reshape(3, -1), float(points[0].min()) - 40, float(points[0].max()) + 40
    for frame, change in zip(sorted(scene.frames, key=lambda one: -float(one.centre[0])), changes, strict=True):
        if low < frame.centre[0] < high:
            apply_bone_changes(change, frame, flat, hu.reshape(-1), tissue.reshape(-1), level.reshape(-1))


def draw_sample(scene: Scene, config: SampleConfig, rng: np.random.Generator) -> Sample:
    """Draw one sample of a scene; the same generator state gives the same sample."""
    points = draw_warp(rng, scene.frames, _focus(scene, rng, config.focus_jitter_mm), config.shape_zyx, config.spacing_mm, config.warp)
    truth = gather(scene, points)
    if config.supersample > 1:
        fine_shape = tuple(n * config.supersample for n in config.shape_zyx)
        fine_points = torch.nn.functional.interpolate(torch.from_numpy(points)[None], size=fine_shape, mode="trilinear")
        fine = gather(scene, fine_points[0].numpy())
    else:
        fine = truth
    style = list(Style)[int(rng.choice(3, p=config.style_shares))]
    tables = draw_tables(rng, style)
    hu_fine = paint(fine, tables)
    tissue = (fine & np.uint32(255)).astype(np.uint8)
    classes, level = (truth & np.uint32(255)).astype(np.uint8), (truth >> np.uint32(24)).astype(np.uint8)
    if rng.random() < config.wear_share:
        changes = draw_bone_changes(rng, len(scene.frames), float(rng.uniform(0.2, 1.0)))
        level_fine = (fine >> np.uint32(24)).astype(np.uint8)
        _wear(scene, changes, fine_points[0].numpy() if config.supersample > 1 else points, hu_fine, tissue, level_fine)
        _wear(scene, changes, points, np.zeros(truth.shape, np.float32), classes, level)
    fine_centre_mm = ((fine >> np.uint32(16)) & np.uint32(255)).astype(np.float32) * np.float32(CENTRE_STEP_MM)
    add_paraspinal_fat(hu_fine, tissue, fine_centre_mm, tables, rng)
    add_texture(hu_fine, tissue, tables, rng)
    add_clutter(hu_fine, tissue, config.spacing_mm / config.supersample, rng)
    if rng.random() < config.implant_share:
        kind = list(Implant)[int(rng.integers(1, len(Implant)))]
        flat = (fine_points[0].numpy() if config.supersample > 1 else points).reshape(3, -1)
        in_view = tuple(frame for frame in scene.frames if points[0].min() < frame.centre[0] < points[0].max())
        paint_implants(draw_implants(rng, in_view, kind), flat, hu_fine.reshape(-1))
        add_streaks(hu_fine, float(rng.uniform(*STREAK_HU)), rng, config.spacing_mm / config.supersample)
    hu = acquire(hu_fine, config.shape_zyx, config.spacing_mm, draw_acquisition(rng, config.thick_share), rng)
    classes = SEGMENTATION_CLASS.take(classes)
    centre_mm = ((truth >> np.uint32(16)) & np.uint32(255)).astype(np.float32) * CENTRE_STEP_MM
    heat = np.rint(255 * np.exp(-0.5 * (centre_mm / HEAT_SIGMA_MM) ** 2)).astype(np.uint8)
    level[level == T13_LEVEL] = T12_LEVEL  # the networks count in the usual column; the names are decided later
    _cut_field(hu, [classes, heat, level], config, rng)
    return Sample(hu_zyx=np.clip(np.rint(hu), -1024, 3071).astype(np.int16), class_zyx=classes, heat_zyx=heat, level_zyx=level)
