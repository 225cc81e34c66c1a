"""A column of simple digital vertebrae with known heights: bodies with a bright shell, trabecular inside, discs between, in muscle."""

from dataclasses import dataclass, field

import numpy as np

from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.norms import NORMS, normal_heights_mm
from trabecula_morphometry.vertebra import VertebraInput
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

MUSCLE_HU, DISC_HU, CORTEX_HU = 50.0, 80.0, 450.0


@dataclass(frozen=True, kw_only=True)
class DigitalBody:
    """One body: heights at the front and back wall's inside (2 mm in) and at mid depth, millimetres."""

    name: str
    heights_mm: tuple[float, float, float]
    trabecular_hu: float = 150.0


@dataclass(frozen=True, kw_only=True)
class DigitalColumn:
    """Bodies from cranial to caudal, rendered on any grid spacing, tilted as a whole."""

    bodies: tuple[DigitalBody, ...]
    tilt_deg: float = 0.0
    turn_deg: float = 0.0
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    noise_hu: float = 0.0
    disc_mm: float = 8.0
    offset_hu: float = 0.0
    seed: int = field(default=3)

    def render(self) -> tuple[Volume, LabelVolume, tuple[VertebraInput, ...]]:
        """The CT, the body labels on a 1 mm grid, and the vertebrae."""
        centers = self._centers_mm()
        half = np.array([56.0, 66.0, 0.5 * (centers[0] - centers[-1]) + 30.0])
        middle = self._middle()
        lowest, highest = middle - half, middle + half
        ct_grid, label_grid = _grid(lowest, highest, self.spacing_mm), _grid(lowest, highest, (1.0, 1.0, 1.0))
        # Partial volume: the CT is drawn finer along its thickest axis and averaged.
        fine = max(1, round(self.spacing_mm[2] / 0.5))
        hu = np.zeros(ct_grid.shape_zyx)
        for part in range(fine):
            shift = np.array([0.0, 0.0, (part + 0.5) / fine - 0.5])
            hu += self._hu(ct_grid, shift, centers)
        hu = hu / fine + self.offset_hu
        hu += np.random.default_rng(self.seed).normal(0.0, self.noise_hu, hu.shape) if self.noise_hu else 0.0
        labels = np.zeros(label_grid.shape_zyx, dtype=np.uint8)
        local = self._local(label_grid, np.zeros(3))
        for body, center in zip(self.bodies, centers, strict=True):
            near = np.abs(local[..., 2] - center) < 24
            labels[near] = np.where(_depth_mm(body, local[near], center) > 0, LABEL_OF_LEVEL[body.name], labels[near])
        vertebrae = tuple(
            VertebraInput(name=body.name, label=LABEL_OF_LEVEL[body.name], center_lps_mm=tuple(self._to_lps(np.array([0.0, 0.0, center]))))
            for body, center in zip(self.bodies, centers, strict=True)
        )
        return Volume(hu_zyx=np.rint(hu).astype(np.int16), grid=ct_grid), LabelVolume(labels_zyx=labels, grid=label_grid), vertebrae

    def _centers_mm(self) -> list[float]:
        places = [0.0]
        for above, below in zip(self.bodies, self.bodies[1:], strict=False):
            places.append(places[-1] - 0.5 * (max(above.heights_mm) + max(below.heights_mm)) - self.disc_mm)
        return places

    def _rotation(self) -> np.ndarray:
        tilt, turn = np.radians([self.tilt_deg, self.turn_deg])
        about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
        about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        return about_x @ about_z

    def _middle(self) -> np.ndarray:
        centers = self._centers_mm()
        return np.array([0.0, 0.0, 0.5 * (centers[0] + centers[-1])])

    def _to_lps(self, point: np.ndarray) -> np.ndarray:
        return self._rotation() @ (point - self._middle()) + self._middle()

    def _local(self, grid: Grid, shift_voxels: np.ndarray) -> np.ndarray:
        z, y, x = np.indices(grid.shape_zyx, dtype=np.float32)
        points = grid.to_lps(np.stack([x, y, z], axis=-1) + shift_voxels)
        return (points - self._middle()) @ self._rotation() + self._middle()

    def _hu(self, grid: Grid, shift: np.ndarray, centers: list[float]) -> np.ndarray:
        local = self._local(grid, shift)
        hu = np.full(grid.shape_zyx, MUSCLE_HU)
        hu[(np.hypot(local[..., 0] / 20, local[..., 1] / 15) < 1)] = DISC_HU
        for body, center in zip(self.bodies, centers, strict=True):
            near = np.abs(local[..., 2] - center) < 24
            depth = _depth_mm(body, local[near], center)
            hu[near] = np.where(depth > 1.0, body.trabecular_hu, np.where(depth > 0, CORTEX_HU, hu[near]))
        return hu


def intact(name: str, scale: float = 1.0, trabecular_hu: float = 150.0) -> DigitalBody:
    """A body of normal heights."""
    return DigitalBody(name=name, heights_mm=tuple(float(h) for h in scale * normal_heights_mm(name)), trabecular_hu=trabecular_hu)


def squeezed(name: str, anterior: float, middle: float, posterior: float) -> DigitalBody:
    """A body that lost these fractions of its normal heights."""
    heights = normal_heights_mm(name) * (1 - np.array([anterior, middle, posterior]))
    return DigitalBody(name=name, heights_mm=tuple(float(h) for h in heights))


def _depth_mm(body: DigitalBody, local: np.ndarray, center: float) -> np.ndarray:
    """How far inside the body a point lies; negative outside (a lower bound near the edges)."""
    norm = NORMS[body.name]
    half_depth, half_width = 0.5 * norm.depth_mm, 0.5 * norm.width_mm
    at = np.array([-half_depth + 2.0, 0.0, half_depth - 2.0])
    parabola = np.polyfit(at, body.heights_mm, 2)
    half_height = 0.5 * np.polyval(parabola, np.clip(local[..., 1], -half_depth, half_depth))
    up = half_height - np.abs(local[..., 2] - center)
    # A superellipse: flatter front and back walls than an ellipse, as bodies have.
    radius = (np.abs(local[..., 0] / half_width) ** 4 + np.abs(local[..., 1] / half_depth) ** 4) ** 0.25
    return np.minimum(up, (1.0 - radius) * min(half_depth, half_width))


def _grid(low: np.ndarray, high: np.ndarray, spacing: tuple[float, float, float]) -> Grid:
    count = np.ceil((high - low) / np.array(spacing)).astype(int)
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = low
    return Grid(shape_zyx=(int(count[2]), int(count[1]), int(count[0])), voxel_to_lps=matrix)
