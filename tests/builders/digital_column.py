"""A column of simple digital vertebrae with known heights: bodies with a bright shell, trabecular inside, discs between, in muscle."""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from trabecula_morphometry.frame import BodyShape, chain_tangents, fit_body, posterior_directions
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.norms import NORMS, normal_heights_mm
from trabecula_morphometry.vertebra import VertebraInput
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

Local = tuple[np.ndarray, np.ndarray, np.ndarray]

MUSCLE_HU, DISC_HU, CORTEX_HU = 50.0, 80.0, 450.0
CORTEX_MM, VOXEL_MM = 1.0, 1.0


@dataclass(frozen=True, kw_only=True)
class Pit:
    """A round hole in an endplate, its axis along the body, its middle in millimetres to the back and to the left of the body's."""

    posterior_mm: float
    left_mm: float
    radius_mm: float
    depth_mm: float
    upper: bool = True


@dataclass(frozen=True, kw_only=True)
class DigitalBody:
    """One body: heights at the front and back wall's inside (2 mm in) and at mid depth, millimetres, without its ``pits``.

    ``lowest_at_mm`` behind mid depth the endplates come nearest, to the second height, and run straight to the rims; None: a bow.
    """

    name: str
    heights_mm: tuple[float, float, float]
    trabecular_hu: float = 150.0
    pits: tuple[Pit, ...] = ()
    lowest_at_mm: float | None = None


@dataclass(frozen=True, kw_only=True)
class DigitalColumn:
    """Bodies from cranial to caudal, rendered on any grid spacing, tilted as a whole.

    ``tilt_deg``, ``lean_deg`` and ``turn_deg`` are about the left, posterior and superior axis. ``blur_mm`` is the sigma of the kernel;
    the trabecular bone gains ``slope_hu_per_mm`` from front to back.
    """

    bodies: tuple[DigitalBody, ...]
    tilt_deg: float = 0.0
    lean_deg: float = 0.0
    turn_deg: float = 0.0
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    noise_hu: float = 0.0
    blur_mm: float = 0.0
    slope_hu_per_mm: float = 0.0
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
        hu = np.zeros(ct_grid.shape_zyx, dtype=np.float32)
        for part in range(fine):
            shift = np.array([0.0, 0.0, (part + 0.5) / fine - 0.5])
            hu += self._hu(ct_grid, shift, centers)
        hu = hu / fine + self.offset_hu
        hu = ndimage.gaussian_filter(hu, np.array([0.0, 1.0, 1.0]) * self.blur_mm / np.array(self.spacing_mm[::-1]))
        hu += np.random.default_rng(self.seed).normal(0.0, self.noise_hu, hu.shape) if self.noise_hu else 0.0
        labels = np.zeros(label_grid.shape_zyx, dtype=np.uint8)
        left, posterior, superior = self._local(label_grid, np.zeros(3))
        for body, center in zip(self.bodies, centers, strict=True):
            near = _near(left, posterior, superior - center)
            depth = _depth_mm(body, left[near], posterior[near], superior[near] - center)
            labels[near] = np.where(depth > 0, LABEL_OF_LEVEL[body.name], labels[near])
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
        tilt, lean, turn = np.radians([self.tilt_deg, self.lean_deg, self.turn_deg])
        about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
        about_y = np.array([[np.cos(lean), 0, np.sin(lean)], [0, 1, 0], [-np.sin(lean), 0, np.cos(lean)]])
        about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        return about_x @ about_y @ about_z

    def _middle(self) -> np.ndarray:
        centers = self._centers_mm()
        return np.array([0.0, 0.0, 0.5 * (centers[0] + centers[-1])])

    def _to_lps(self, point: np.ndarray) -> np.ndarray:
        return self._rotation() @ (point - self._middle()) + self._middle()

    def _local(self, grid: Grid, shift_voxels: np.ndarray) -> Local:
        """Left, posterior and superior coordinate of every voxel [z, y, x] in the column's own axes."""
        middle, rotation = self._middle(), self._rotation()
        steps = (grid.voxel_to_lps[:3, :3].T @ rotation).astype(np.float32)
        start = (grid.to_lps(shift_voxels) - middle) @ rotation + middle
        z, y, x = (np.arange(count, dtype=np.float32) for count in grid.shape_zyx)
        left, posterior, superior = (
            np.float32(start[axis]) + steps[0, axis] * x + steps[1, axis] * y[:, None] + steps[2, axis] * z[:, None, None]
            for axis in range(3)
        )
        return left, posterior, superior

    def _hu(self, grid: Grid, shift: np.ndarray, centers: list[float]) -> np.ndarray:
        left, posterior, superior = self._local(grid, shift)
        hu = np.where((left / 20) ** 2 + (posterior / 15) ** 2 < 1, np.float32(DISC_HU), np.float32(MUSCLE_HU))
        for body, center in zip(self.bodies, centers, strict=True):
            near = _near(left, posterior, superior - center)
            own = posterior[near]
            depth = _depth_mm(body, left[near], own, superior[near] - center)
            trabecular = body.trabecular_hu + self.slope_hu_per_mm * own
            # A voxel that a surface crosses holds both sides by their share; a hard step would hide where in the voxel the surface lies.
            bone, inside = (np.clip(0.5 + part / VOXEL_MM, 0.0, 1.0) for part in (depth, depth - CORTEX_MM))
            hu[near] = hu[near] * (1 - bone) + CORTEX_HU * (bone - inside) + trabecular * inside
        return hu


def fitted(column: DigitalColumn, name: str) -> tuple[Volume, BodyShape]:
    """The CT of a column, and the shape of one of its bodies."""
    volume, bodies, vertebrae = column.render()
    tangents = chain_tangents(vertebrae)
    backs = posterior_directions(vertebrae, tangents, None)
    place = [body.name for body in column.bodies].index(name)
    shape = fit_body(bodies, vertebrae[place], tangents[place], backs[place])
    assert shape is not None
    return volume, shape


def intact(name: str, scale: float = 1.0, trabecular_hu: float = 150.0) -> DigitalBody:
    """A body of normal heights."""
    return DigitalBody(name=name, heights_mm=tuple(float(h) for h in scale * normal_heights_mm(name)), trabecular_hu=trabecular_hu)


def squeezed(name: str, anterior: float, middle: float, posterior: float) -> DigitalBody:
    """A body that lost these fractions of its normal heights."""
    heights = normal_heights_mm(name) * (1 - np.array([anterior, middle, posterior]))
    return DigitalBody(name=name, heights_mm=tuple(float(h) for h in heights))


def _near(left: np.ndarray, posterior: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Voxels that may belong to a body: none is wider than 48, deeper than 35 or higher than 40 mm."""
    return (np.abs(up) < 24) & (np.abs(left) < 28) & (np.abs(posterior) < 22)


def _depth_mm(body: DigitalBody, left: np.ndarray, posterior: np.ndarray, up: np.ndarray) -> np.ndarray:
    """How far inside the body points lie, from its centre; negative outside (a lower bound near the edges)."""
    norm = NORMS[body.name]
    half_depth, half_width = 0.5 * norm.depth_mm, 0.5 * norm.width_mm
    at = np.array([-half_depth + 2.0, body.lowest_at_mm or 0.0, half_depth - 2.0])
    if body.lowest_at_mm is None:
        parabola = np.polyfit(at, body.heights_mm, 2).astype(np.float32)
        half_height = 0.5 * np.polyval(parabola, np.clip(posterior, -half_depth, half_depth))
    else:
        half_height = 0.5 * np.interp(posterior, at, body.heights_mm).astype(np.float32)
    # A superellipse: flatter front and back walls than an ellipse, as bodies have.
    radius = np.sqrt(np.hypot((left / half_width) ** 2, (posterior / half_depth) ** 2))
    depth = np.minimum(half_height - np.abs(up), (1.0 - radius) * min(half_depth, half_width))
    for pit in body.pits:
        beside = np.hypot(posterior - pit.posterior_mm, left - pit.left_mm) - pit.radius_mm
        below = half_height - pit.depth_mm - (up if pit.upper else -up)
        depth = np.minimum(depth, np.maximum(beside, below))
    return depth


def _grid(low: np.ndarray, high: np.ndarray, spacing: tuple[float, float, float]) -> Grid:
    count = np.ceil((high - low) / np.array(spacing)).astype(int)
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = low
    return Grid(shape_zyx=(int(count[2]), int(count[1]), int(count[0])), voxel_to_lps=matrix)
