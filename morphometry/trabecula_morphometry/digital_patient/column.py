"""The plan of the column: sizes of the vertebrae and where they stand, before anything is drawn."""

from dataclasses import dataclass, replace
from math import atan2, cos, radians, sin
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.digital_patient.options import PatientOptions, VertebralFracture

Numbers = TypeVar("Numbers", float, NDArray[np.floating[Any]])


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelNorm:
    """Mean size of one level, millimetres; wedge angles of women and men, + = lower in front."""

    name: str
    posterior_height_f_mm: float
    posterior_height_m_mm: float
    middle_share: float
    depth_mm: float
    width_mm: float
    wedge_f_deg: float
    wedge_m_deg: float
    disc_below_mm: float
    disc_below_deg: float


# Wedge angles: Masharawi 2009, table 1 (PMC2899959), T7 and T8 carried up from T9. Heights, depth and width: working values for living
# adults on CT. Discs: Fletcher (thoracic), lumbar MRI series; the shares of lordosis per disc sum up to the usual 50-60 degrees L1-S1.
NORMS: tuple[LevelNorm, ...] = tuple(
    LevelNorm(
        name=name,
        posterior_height_f_mm=hp_f,
        posterior_height_m_mm=hp_m,
        middle_share=share,
        depth_mm=depth,
        width_mm=width,
        wedge_f_deg=wedge_f,
        wedge_m_deg=wedge_m,
        disc_below_mm=disc,
        disc_below_deg=disc_deg,
    )
    for name, hp_f, hp_m, share, depth, width, wedge_f, wedge_m, disc, disc_deg in (
        ("T7", 19.4, 20.8, 0.93, 27.0, 28.0, 2.8, 4.8, 4.2, 0.0),
        ("T8", 19.9, 21.3, 0.93, 28.0, 30.0, 2.8, 4.8, 4.4, 0.0),
        ("T9", 20.6, 22.0, 0.94, 29.0, 31.0, 2.8, 4.8, 4.8, 0.0),
        ("T10", 21.8, 23.3, 0.94, 30.0, 32.0, 2.6, 3.8, 5.3, 0.5),
        ("T11", 22.9, 24.5, 0.94, 31.0, 35.0, 4.6, 5.4, 5.8, 1.5),
        ("T12", 24.6, 26.3, 0.94, 32.0, 39.0, 3.5, 4.9, 6.8, 3.0),
        ("L1", 26.2, 28.0, 0.93, 33.0, 41.0, 2.6, 4.1, 7.8, 5.0),
        ("L2", 27.0, 28.6, 0.94, 34.0, 43.0, 0.7, 2.6, 9.0, 7.0),
        ("L3", 27.2, 28.6, 0.95, 34.0, 44.0, -1.1, 1.3, 10.2, 9.0),
        ("L4", 26.7, 28.0, 0.95, 35.0, 46.0, -3.1, -0.7, 11.2, 12.0),
        ("L5", 25.5, 26.8, 0.97, 34.0, 47.0, -7.8, -4.6, 10.6, 14.0),
    )
)
_LORDOTIC_DISCS = ("L1", "L2", "L3", "L4", "L5")
_TILT_OF_L3_DEG = 4.0
_APEX, _CURVE_REACH_MM = "L1", 130.0
"""Apex of a thoracolumbar curve, and how far above and below it the column is straight again."""

_BREADTH_OF_SEX = {"F": 0.96, "M": 1.04}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VertebraPlan:
    """One vertebra: its frame in LPS millimetres and the intact size of its body.

    ``axes`` holds the unit vectors left, posterior and superior of the vertebra's own frame as rows; the origin is ``center_lps_mm``,
    the middle of the intact body.
    """

    name: str
    center_lps_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    anterior_mm: float
    posterior_mm: float
    dip_mm: float
    depth_mm: float
    width_mm: float
    fracture: VertebralFracture | None

    def intact_height_mm(self, v_mm: Numbers) -> Numbers:
        """Height between the rims at depth ``v_mm`` (posterior positive, 0 in the middle)."""
        return self.anterior_mm + (self.posterior_mm - self.anterior_mm) * (v_mm / self.depth_mm + 0.5)

    def lost_share(self, v_mm: Numbers) -> Numbers:
        """Share of the height lost to the fracture at depth ``v_mm``: a parabola through the three given losses."""
        if self.fracture is None:
            return 0.0 * v_mm
        t = v_mm / (self.depth_mm / 2 - 2.0)
        front, middle, back = self.fracture.anterior_loss, self.fracture.middle_loss, self.fracture.posterior_loss
        return front * t * (t - 1) / 2 + middle * (1 - t * t) + back * t * (t + 1) / 2


def tilt_axes(tilt_deg: float) -> NDArray[np.float64]:
    """Frame of a structure in the midplane whose upward axis leans back by ``tilt_deg``; rows left, posterior, superior."""
    s, c = sin(radians(tilt_deg)), cos(radians(tilt_deg))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def plan_column(options: PatientOptions) -> tuple[tuple[VertebraPlan, ...], VertebraPlan]:
    """Vertebrae T7 to L5, cranial to caudal, and S1 (as a body) below them; the middle of L3 is the origin of LPS space."""
    sizes = [_sized(norm, options) for norm in NORMS]
    upper = [_upper_wedge_deg(size) for size in sizes]
    lower = [_intact_wedge_deg(size) / 2 for size in sizes]
    scale = _disc_angle_scale(options, [a + b for a, b in zip(upper, lower, strict=True)])
    discs = [norm.disc_below_deg * (scale if norm.name in _LORDOTIC_DISCS else 1.0) for norm in NORMS]
    gaps_mm = [norm.disc_below_mm * options.size for norm in NORMS]
    start = next(i for i, norm in enumerate(NORMS) if norm.name == "L3")
    placed = {start: _placed(sizes[start], np.zeros(3), _TILT_OF_L3_DEG)}
    tilts = {start: _TILT_OF_L3_DEG}
    for i in range(start - 1, -1, -1):
        top_tilt = tilts[i + 1] - upper[i + 1]
        tilts[i] = top_tilt + discs[i] - lower[i]
        floor = _surface_middle(placed[i + 1], upper=True) + tilt_axes(top_tilt + discs[i] / 2)[2] * gaps_mm[i]
        placed[i] = _placed(sizes[i], floor + tilt_axes(tilts[i])[2] * _half_height(sizes[i]), tilts[i])
    for i in range(start + 1, len(NORMS)):
        floor_tilt = tilts[i - 1] + lower[i - 1]
        tilts[i] = floor_tilt - discs[i - 1] + upper[i]
        top = _surface_middle(placed[i - 1], upper=False) - tilt_axes(floor_tilt - discs[i - 1] / 2)[2] * gaps_mm[i - 1]
        placed[i] = _placed(sizes[i], top - tilt_axes(tilts[i])[2] * _upper_half_height(sizes[i]), tilts[i])
    last = len(NORMS) - 1
    s1, floor_tilt = _sacral_size(options), tilts[last] + lower[last]
    tilt_s1 = floor_tilt - discs[last]
    top = _surface_middle(placed[last], upper=False) - tilt_axes(floor_tilt - discs[last] / 2)[2] * gaps_mm[last]
    sacrum = _placed(s1, top - tilt_axes(tilt_s1)[2] * _upper_half_height(s1), tilt_s1)
    straight = tuple(placed[i] for i in range(len(NORMS)))
    apex_z = float(next(plan for plan in straight if plan.name == _APEX).center_lps_mm[2])
    return tuple(_bent(plan, apex_z, options.scoliosis_deg) for plan in straight), _bent(sacrum, apex_z, options.scoliosis_deg)


def _bent(plan: VertebraPlan, apex_z_mm: float, cobb_deg: float) -> VertebraPlan:
    """The vertebra moved to the left and leant over by a curve x = A (1 + cos(pi z / H)) / 2 around the apex, steepest at the ends of it.

    The angle between the two steepest places is the Cobb angle: 2 atan(pi A / 2 H).
    """
    slope_at_ends = np.tan(radians(cobb_deg / 2))
    reach = (float(plan.center_lps_mm[2]) - apex_z_mm) / _CURVE_REACH_MM
    if cobb_deg == 0 or abs(reach) >= 1:
        return plan
    shift_mm = slope_at_ends * _CURVE_REACH_MM / np.pi * (1 + cos(np.pi * reach))
    angle = atan2(-slope_at_ends * np.sin(np.pi * reach), 1.0)
    lean = np.array([[cos(angle), 0.0, sin(angle)], [0.0, 1.0, 0.0], [-sin(angle), 0.0, cos(angle)]])
    return replace(plan, center_lps_mm=plan.center_lps_mm + np.array([shift_mm, 0.0, 0.0]), axes=plan.axes @ lean.T)


def _sized(norm: LevelNorm, options: PatientOptions) -> VertebraPlan:
    female = options.sex == "F"
    posterior = (norm.posterior_height_f_mm if female else norm.posterior_height_m_mm) * options.size
    depth = norm.depth_mm * options.size * _BREADTH_OF_SEX[options.sex]
    anterior = posterior - depth * np.tan(radians(norm.wedge_f_deg if female else norm.wedge_m_deg))
    return VertebraPlan(
        name=norm.name,
        center_lps_mm=np.zeros(3),
        axes=np.eye(3),
        anterior_mm=float(anterior),
        posterior_mm=posterior,
        dip_mm=max(float((anterior + posterior) / 2 - norm.middle_share * posterior), 0.8),
        depth_mm=depth,
        width_mm=norm.width_mm * options.size * _BREADTH_OF_SEX[options.sex],
        fracture=options.fracture_of(norm.name),
    )


def _sacral_size(options: PatientOptions) -> VertebraPlan:
    breadth = options.size * _BREADTH_OF_SEX[options.sex]
    return VertebraPlan(
        name="S1",
        center_lps_mm=np.zeros(3),
        axes=np.eye(3),
        anterior_mm=27.0 * options.size,
        posterior_mm=27.0 * options.size,
        dip_mm=0.8,
        depth_mm=32.0 * breadth,
        width_mm=49.0 * breadth,
        fracture=None,
    )


def _placed(size: VertebraPlan, center_lps_mm: NDArray[np.float64], tilt_deg: float) -> VertebraPlan:
    return replace(size, center_lps_mm=center_lps_mm, axes=tilt_axes(tilt_deg))


def _intact_wedge_deg(size: VertebraPlan) -> float:
    """Angle between the intact endplates; + = lower in front."""
    return float(np.degrees(atan2(size.posterior_mm - size.anterior_mm, size.depth_mm)))


def _upper_wedge_deg(size: VertebraPlan) -> float:
    """Angle of the superior endplate against the body's own frame, after the fracture; + = lower in front."""
    half = size.depth_mm / 2
    lost = [float(size.intact_height_mm(v) * size.lost_share(v)) for v in (-half, half)]
    return _intact_wedge_deg(size) / 2 + float(np.degrees(atan2(lost[0] - lost[1], size.depth_mm)))


def _disc_angle_scale(options: PatientOptions, wedges_deg: list[float]) -> float:
    """Factor on the lumbar disc angles that gives the wanted angle from L1 to S1."""
    bodies = sum(-wedge for norm, wedge in zip(NORMS, wedges_deg, strict=True) if norm.name in _LORDOTIC_DISCS)
    discs = sum(norm.disc_below_deg for norm in NORMS if norm.name in _LORDOTIC_DISCS)
    return (options.lordosis_deg - bodies) / discs


def _half_height(size: VertebraPlan) -> float:
    return (size.anterior_mm + size.posterior_mm) / 4


def _upper_half_height(size: VertebraPlan) -> float:
    """Distance from the centre to the superior rim plane in the middle of the depth, after the fracture."""
    lost = 0.5 * (size.fracture.anterior_loss + size.fracture.posterior_loss) if size.fracture else 0.0
    return _half_height(size) * (1 - 2 * lost)


def _surface_middle(plan: VertebraPlan, *, upper: bool) -> NDArray[np.float64]:
    along = _upper_half_height(plan) if upper else -_half_height(plan)
    point: NDArray[np.float64] = plan.center_lps_mm + plan.axes[2] * along
    return point


def _step_down(above: VertebraPlan, disc_tilt_deg: float, disc_mm: float) -> NDArray[np.float64]:
    """Middle of the superior rim plane of the structure below a vertebra and its disc."""
    point: NDArray[np.float64] = _surface_middle(above, upper=False) - tilt_axes(disc_tilt_deg)[2] * disc_mm
    return point
