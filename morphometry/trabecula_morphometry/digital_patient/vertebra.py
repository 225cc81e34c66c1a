"""The shape of one vertebra: body with waist, rims and concave endplates; pedicles, laminae and processes behind it."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.digital_patient.column import VertebraPlan
from trabecula_morphometry.digital_patient.solids import Field, Points, capsule, intersect_rounded, join

MARGIN_MM = 2.0
"""Anterior and posterior heights are read this far inside the wall, so that the edge is the endplate and not the rounded corner."""

_DIP_SUPERIOR, _DIP_INFERIOR = 0.4, 0.6
_WAIST = 0.09
_EDGE_RADIUS_MM = 1.4


def superior_surface_mm(plan: VertebraPlan, u_mm: Field, v_mm: Field) -> Field:
    """Height of the outer edge of the superior endplate above the centre, at left ``u_mm`` and posterior ``v_mm``."""
    height = plan.intact_height_mm(v_mm)
    result: Field = height * (0.5 - plan.lost_share(v_mm)) - _DIP_SUPERIOR * _dip_mm(plan, u_mm, v_mm)
    return result


def inferior_surface_mm(plan: VertebraPlan, u_mm: Field, v_mm: Field) -> Field:
    """Height of the outer edge of the inferior endplate against the centre (negative)."""
    result: Field = -0.5 * plan.intact_height_mm(v_mm) + _DIP_INFERIOR * _dip_mm(plan, u_mm, v_mm)
    return result


def _dip_mm(plan: VertebraPlan, u_mm: Field, v_mm: Field) -> Field:
    reach = np.clip((2 * u_mm / plan.width_mm) ** 2 + (2 * v_mm / plan.depth_mm) ** 2, 0, 1)
    result: Field = plan.dip_mm * (1 - reach)
    return result


def body_distance_mm(plan: VertebraPlan, local: Points) -> Field:
    """Signed distance to the surface of the body, in the vertebra's own frame."""
    u, v, w = local.x, local.y, local.z
    top, bottom = superior_surface_mm(plan, u, v), inferior_surface_mm(plan, u, v)
    middle, half = (top + bottom) / 2, np.maximum((top - bottom) / 2, 4)
    waist = 1 - _WAIST * (1 - np.clip((w - middle) / half, -1, 1) ** 2)
    side = outline_distance_mm(plan, u / waist, v / waist)
    ends = np.maximum(w - top, bottom - w)
    return intersect_rounded(side, ends, _EDGE_RADIUS_MM)


def outline_distance_mm(plan: VertebraPlan, u_mm: Field, v_mm: Field) -> Field:
    """Signed distance to the kidney-shaped outline of the body seen from above."""
    u, v = u_mm * np.float32(2 / plan.width_mm), v_mm * np.float32(2 / plan.depth_mm)
    angle, reach = np.arctan2(v, u), np.sqrt(u * u + v * v)
    angles, radii = _outline()
    radius = np.interp(angle, angles, radii).astype(np.float32)
    scale = np.sqrt((u_mm * u_mm + v_mm * v_mm) / np.maximum(reach * reach, 1e-6))
    # 0.93: the ray meets the surface aslant nearly everywhere.
    result: Field = ((reach - radius) * scale * np.float32(0.93)).astype(np.float32)
    return result


@lru_cache(maxsize=1)
def _outline() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Radius of the unit outline over the angle from left to posterior: a rounded box, flattened and hollow behind."""
    t = np.linspace(-np.pi, np.pi, 721)
    x = np.sign(np.cos(t)) * np.abs(np.cos(t)) ** (2 / 2.3)
    y = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** (2 / 2.3)
    hollow = np.where(y > 0, 0.10 * np.exp(-((x / 0.42) ** 2)), 0)
    y = y - hollow + np.where(y > 0, 0.10, 0) * y
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    order = np.argsort(angle)
    return angle[order], radius[order]


@dataclass(frozen=True, slots=True, kw_only=True)
class MidsagittalPoints:
    """Six points on the endplates in the vertebra's own frame: (posterior, superior) millimetres."""

    anterior_superior: tuple[float, float]
    anterior_inferior: tuple[float, float]
    middle_superior: tuple[float, float]
    middle_inferior: tuple[float, float]
    posterior_superior: tuple[float, float]
    posterior_inferior: tuple[float, float]


def midsagittal_points(plan: VertebraPlan) -> MidsagittalPoints:
    """The six points of a body on its own midsagittal plane; middle = mid depth, margins ``MARGIN_MM`` inside the walls."""
    front, back = -plan.depth_mm / 2 + MARGIN_MM, plan.depth_mm / 2 - MARGIN_MM

    def pair(v_mm: float) -> tuple[tuple[float, float], tuple[float, float]]:
        u, v = np.zeros(1, np.float32), np.full(1, v_mm, np.float32)
        return (v_mm, float(superior_surface_mm(plan, u, v)[0])), (v_mm, float(inferior_surface_mm(plan, u, v)[0]))

    (fs, fi), (ms, mi), (bs, bi) = pair(front), pair(0.0), pair(back)
    return MidsagittalPoints(
        anterior_superior=fs, anterior_inferior=fi, middle_superior=ms, middle_inferior=mi, posterior_superior=bs, posterior_inferior=bi
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchSize:
    """Where the parts of the arch lie that differ between levels; millimetres in the vertebra's frame, for one side."""

    pedicle_radius_mm: float
    transverse_end_mm: tuple[float, float, float]
    transverse_radius_mm: tuple[float, float]
    spine_end_mm: tuple[float, float]
    """Tip of the spinous process: behind the posterior wall, and superior."""
    spine_stretch: float


ARCHES: dict[str, ArchSize] = {
    name: ArchSize(
        pedicle_radius_mm=pedicle, transverse_end_mm=transverse, transverse_radius_mm=radii, spine_end_mm=spine, spine_stretch=stretch
    )
    for name, pedicle, transverse, radii, spine, stretch in (
        ("T7", 2.9, (29, 27, 6), (4.6, 5.2), (44, -30), 1.3),
        ("T8", 2.9, (29, 27, 6), (4.6, 5.2), (44, -30), 1.3),
        ("T9", 3.1, (28, 26, 6), (4.6, 5.2), (44, -28), 1.4),
        ("T10", 3.3, (26, 24, 6), (4.4, 4.8), (43, -25), 1.6),
        ("T11", 3.9, (23, 23, 5), (4.2, 4.2), (43, -19), 1.9),
        ("T12", 4.0, (22, 23, 4), (4.0, 3.8), (43, -15), 2.3),
        ("L1", 3.8, (35, 19, 4), (3.4, 2.6), (46, -13), 2.3),
        ("L2", 3.9, (39, 18, 4), (3.4, 2.6), (48, -13), 2.5),
        ("L3", 4.6, (43, 18, 4), (3.6, 2.6), (49, -13), 2.5),
        ("L4", 5.6, (40, 18, 5), (3.8, 2.8), (47, -13), 2.3),
        ("L5", 7.4, (41, 14, 6), (6.0, 4.0), (41, -12), 1.9),
    )
}


def arch_distance_mm(plan: VertebraPlan, local: Points) -> Field:
    """Signed distance to everything behind the body: pedicles, articular pillars, laminae, spinous and transverse processes."""
    size = ARCHES[plan.name]
    k = plan.width_mm / 42.0
    wall, height = plan.depth_mm / 2, plan.posterior_mm
    # Both sides are alike, so one is drawn in mirrored coordinates.
    side = Points(np.abs(local.x), local.y, local.z)
    lumbar = plan.name.startswith("L")
    inner = (12.5 if lumbar else 10.0) * k + size.pedicle_radius_mm
    pedicle = capsule(
        side,
        (inner * 0.96, wall - 4, 0.2 * height),
        (inner, wall + 10, 0.2 * height),
        (size.pedicle_radius_mm,) * 2,
        1.7 if lumbar else 1.9,
    )
    upper_tip = (19.0 * k, wall + 12.5, 0.66 * height) if lumbar else (15.0 * k, wall + 13.5, 0.62 * height)
    lower_tip = (13.5 * k, wall + 19.5, -0.78 * height) if lumbar else (12.5 * k, wall + 18.5, -0.68 * height)
    root = ((16.0 if lumbar else 14.5) * k, wall + 14.5, 0.08 * height)
    superior_process = capsule(side, root, upper_tip, (5.2 * k, 3.9 * k))
    inferior_process = capsule(side, root, lower_tip, (5.2 * k, 3.7 * k))
    lamina = capsule(side, (14.0 * k, wall + 16.5, -0.12 * height), (2.0, wall + 23, -0.32 * height), (3.4, 3.2), 2.1)
    transverse = capsule(
        side, (inner + 1, wall + 12, 0.14 * height), _moved(size.transverse_end_mm, wall, k), size.transverse_radius_mm, 1.3
    )
    spine = capsule(
        local,
        (0.0, wall + 23, -0.32 * height),
        (0.0, wall + size.spine_end_mm[0] * k, size.spine_end_mm[1] * k),
        (2.7, 3.3),
        size.spine_stretch,
    )
    return join(pedicle, superior_process, inferior_process, lamina, transverse, spine, blend_mm=1.2)


def _moved(end_mm: tuple[float, float, float], wall_mm: float, scale: float) -> tuple[float, float, float]:
    return end_mm[0] * scale, wall_mm + end_mm[1] * scale, end_mm[2]
