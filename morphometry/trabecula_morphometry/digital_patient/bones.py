"""Painting the skeleton: vertebrae, discs and canal, sacrum, iliac wings and ribs."""

from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.digital_patient.attenuation import DigitalPhantomLine, TissueAttenuation
from trabecula_morphometry.digital_patient.canvas import IN_PLANE_BLUR_MM, Box, Canvas, smooth_random
from trabecula_morphometry.digital_patient.column import VertebraPlan
from trabecula_morphometry.digital_patient.options import PatientOptions
from trabecula_morphometry.digital_patient.solids import Field, Points, capsule, coverage, ellipse, ellipsoid, join
from trabecula_morphometry.digital_patient.torso import Torso
from trabecula_morphometry.digital_patient.vertebra import (
    arch_distance_mm,
    body_distance_mm,
    inferior_surface_mm,
    outline_distance_mm,
    superior_surface_mm,
)

_WALL_MM, _ENDPLATE_MM, _ARCH_CORTEX_MM = 0.45, 0.75, 1.2
_SUBCORTICAL_HU, _SUBCORTICAL_DEPTH_MM = 80.0, 1.5
"""Trabeculae are closer together just under the shell; 3.5 mm deep nothing of it is left."""

_TEXTURE_SHARE = 0.10
"""SD of the trabecular attenuation around its mean, as a share of it."""

_RIB_REACH = MappingProxyType({"T7": 0.86, "T8": 0.86, "T9": 0.84, "T10": 0.78, "T11": 0.44, "T12": 0.26})
"""How far round the chest wall the bone of each rib goes, from the back (0) to the front midline (1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoneMaterial:
    """What bones are filled with."""

    tissues: TissueAttenuation
    line: DigitalPhantomLine
    options: PatientOptions

    def trabecular_hu(self, level: str) -> float:
        """Attenuation of the trabecular bone of a body; levels above the column are like its first one."""
        densities = self.options.density_k2hpo4_mg_cm3
        return self.line.hu_of(densities.get(level, densities["T9"]))


def box_of(plan: VertebraPlan, canvas: Canvas, low_mm: tuple[float, float, float], high_mm: tuple[float, float, float]) -> Box | None:
    """Voxels around a box in the vertebra's own frame (left, posterior, superior)."""
    corners = np.array(np.meshgrid(*zip(low_mm, high_mm, strict=True))).reshape(3, -1).T @ plan.axes + plan.center_lps_mm
    return canvas.box(corners.min(axis=0), corners.max(axis=0))


def paint_discs(canvas: Canvas, plans: tuple[VertebraPlan, ...], tissues: TissueAttenuation) -> None:
    """Fill the space between neighbouring bodies, bulging slightly."""
    for upper, lower in pairwise(plans):
        box = box_of(lower, canvas, (-32, -26, 0), (32, 26, 32))
        if box is None:
            continue
        points = canvas.points(box)
        above, below = points.in_frame(upper.center_lps_mm, upper.axes), points.in_frame(lower.center_lps_mm, lower.axes)
        side = (outline_distance_mm(upper, above.x, above.y) + outline_distance_mm(lower, below.x, below.y)) / 2 - 0.3
        gap = np.maximum(above.z - inferior_surface_mm(upper, above.x, above.y), superior_surface_mm(lower, below.x, below.y) - below.z)
        canvas.paint(box, np.maximum(side, gap - 1.0), tissues.disc_hu)


def paint_canal(canvas: Canvas, plans: tuple[VertebraPlan, ...], tissues: TissueAttenuation) -> None:
    """Epidural fat, the dural sac, and the cord down to L1."""
    behind = [p.center_lps_mm + p.axes[1] * (p.depth_mm / 2 + 8.5) for p in plans]
    z_mm, y_mm, x_mm = (np.array([b[axis] for b in behind])[::-1] for axis in (2, 1, 0))
    box = canvas.box((-20, -60, float(z_mm[0]) - 30), (20 + float(x_mm.max()), 100, 1e4))
    if box is None:
        return
    points = canvas.points(box)
    x = (points.x - np.interp(points.z, z_mm, x_mm)).astype(np.float32)
    y = (points.y - np.interp(points.z, z_mm, y_mm)).astype(np.float32)
    end_of_cord = float(next(p for p in plans if p.name == "L1").center_lps_mm[2])
    canvas.paint(box, ellipse(x, y, (12.5, 9.5)), tissues.fat_hu)
    canvas.paint(box, ellipse(x, y, (8.8, 7.2)), 0.5 * (tissues.fluid_hu + tissues.cord_hu))
    cord = np.maximum(ellipse(x, y, (5.0, 3.9)), end_of_cord - points.z)
    canvas.paint(box, cord, tissues.cord_hu)


def paint_vertebra(
    canvas: Canvas, plan: VertebraPlan, material: BoneMaterial, texture_zyx: Field
) -> tuple[Box, NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Paint one vertebra; returns its box with the voxels of the body and of the arch, or None outside the canvas.

    ``texture_zyx`` has the canvas' shape, mean 0 and SD 1.
    """
    side, spine_mm = (54, 62) if plan.name.startswith("L") else (42, 58)
    half, height = plan.depth_mm / 2, plan.posterior_mm
    box = box_of(plan, canvas, (-side, -half - 5, -max(0.78 * height + 6, 38)), (side, half + spine_mm, 0.66 * height + 7))
    if box is None:
        return None
    local = canvas.points(box).in_frame(plan.center_lps_mm, plan.axes)
    body, arch = body_distance_mm(plan, local), arch_distance_mm(plan, local)
    whole = join(body, arch, blend_mm=2.0)
    of_arch = np.clip((body - arch) / 3 + 0.5, 0, 1)
    near_endplate = np.clip((np.abs(local.z) / height - 0.3) / 0.12, 0, 1)
    shell = _WALL_MM + (_ENDPLATE_MM - _WALL_MM) * near_endplate
    cortex = shell + (_ARCH_CORTEX_MM - shell) * of_arch
    trabecular = material.trabecular_hu(plan.name)
    texture = texture_zyx[box]
    core = body < -3
    texture = texture - (texture[core].mean() if core.any() else 0)
    subcortical = _SUBCORTICAL_HU * np.exp(-((body / _SUBCORTICAL_DEPTH_MM) ** 2))
    filling = trabecular * (1 + _TEXTURE_SHARE * texture) + of_arch * 60 + subcortical + _condensed_hu(plan, local)
    _paint_bone(canvas, box, whole, cortex, filling, material.tissues.cortical_bone_hu)
    inside_body = body < 0
    return box, inside_body, (arch < 0) & ~inside_body


def _condensed_hu(plan: VertebraPlan, local: Points) -> Field | float:
    """Impacted trabeculae under a depressed endplate are denser."""
    if plan.fracture is None:
        return 0.0
    depth = superior_surface_mm(plan, local.x, local.y) - local.z
    result: Field = 90 * np.clip(plan.lost_share(local.y) / 0.25, 0, 1) * np.exp(-(((depth - 2.5) / 2.5) ** 2))
    return result


def _paint_bone(
    canvas: Canvas, box: Box, distance_mm: Field, cortex_mm: Field | float, filling_hu: Field | float, cortical_hu: float
) -> None:
    outer, inner = coverage(distance_mm, IN_PLANE_BLUR_MM), coverage(distance_mm + cortex_mm, IN_PLANE_BLUR_MM)
    view = canvas.hu_zyx[box]
    view *= 1 - outer
    view += cortical_hu * (outer - inner) + filling_hu * inner


def paint_sacrum(canvas: Canvas, s1: VertebraPlan, material: BoneMaterial, texture_zyx: Field) -> tuple[Box, NDArray[np.bool_]] | None:
    """Five fused segments on a backward curve, with wings and a median crest; returns its box and voxels."""
    box = box_of(s1, canvas, (-64, -24, -100), (64, 75, 30))
    if box is None:
        return None
    local = canvas.points(box).in_frame(s1.center_lps_mm, s1.axes)
    side = Points(np.abs(local.x), local.y, local.z)
    half_depth = s1.depth_mm / 2
    parts = [body_distance_mm(s1, local)]
    y = z = 0.0
    for i, step_mm in enumerate((27.0, 25.0, 22.0, 19.0), start=2):
        shrink = 1 - 0.17 * (i - 1)
        y, z = y + 4.0 + 1.5 * i, z - step_mm
        parts.append(ellipsoid(local, (0, y, z), (23 * shrink, half_depth * shrink * 0.85, 0.8 * step_mm)))
        wing_mm = 42 * (1 - 0.16 * (i - 1))
        parts.append(capsule(side, (14 * shrink, y + 2, z), (wing_mm, y + 6, z + 6), (9 * shrink, 11 * shrink), 1.0))
    parts.append(capsule(side, (18, 2, 2), (44, 12, -2), (11, 15), 1.05))
    parts.append(capsule(side, (16, half_depth + 13, 4), (20, half_depth + 12, 16), (5.5, 4.5)))
    parts.append(capsule(local, (0, half_depth + 20, -8), (0, half_depth + 30, -70), (5, 4), 1.6))
    parts.append(capsule(side, (17, half_depth + 13, -2), (16, half_depth + 24, -60), (6, 5)))
    whole = join(*parts, blend_mm=5.0)
    canal = ellipse(local.x, local.y - (half_depth + 9) + np.float32(0.28) * local.z, (11.0, 6.0))
    whole = np.maximum(whole, -canal)
    filling = 0.75 * material.trabecular_hu("L5") * (1 + 1.6 * _TEXTURE_SHARE * texture_zyx[box])
    _paint_bone(canvas, box, whole, 0.8, filling, material.tissues.cortical_bone_hu)
    return box, whole < 0


def paint_iliac_wings(canvas: Canvas, s1: VertebraPlan, material: BoneMaterial, scale: float) -> None:
    """Two curved plates from the sacroiliac joints to the anterior spines; cut by the lower end of the field."""
    x0, y0, z0 = (float(c) for c in s1.center_lps_mm)
    low, high = (x0 - 150 * scale, y0 - 95, z0 - 120), (x0 + 150 * scale, y0 + 80, z0 + 75)
    box = canvas.box(low, high)
    if box is None:
        return
    along, down = np.meshgrid(np.linspace(0, 1, 90), np.linspace(0, 1, 80))
    crest = z0 + (-22 + 82 * np.sin(np.pi * np.clip(along * 0.9 + 0.1, 0, 1)) ** 0.9 - 15 * along) * scale
    z = crest - down * 130
    x = x0 + scale * (48 + 74 * along**1.4 + 7 * np.sin(np.pi * along) - 14 * down * (0.4 + along))
    y = y0 + scale * (42 - 108 * along - 8 * down + 6 * np.sin(2 * np.pi * along))
    radius = 4.2 + 3.4 * np.exp(-((down / 0.09) ** 2)) + 3.0 * np.exp(-((along / 0.14) ** 2)) + 2.5 * np.exp(-(((along - 1) / 0.1) ** 2))
    part = canvas.part(box)
    for sign in (-1, 1):
        _paint_stamped(
            part, np.stack([x0 + sign * (x - x0), y, z], -1).reshape(-1, 3), radius.ravel(), 1.1, 70.0, material.tissues.cortical_bone_hu
        )


def paint_ribs(canvas: Canvas, plans: tuple[VertebraPlan, ...], wall: Torso, material: BoneMaterial) -> None:
    """Ribs from T7 down to T12: head at the body, neck, angle, then down and forward in the chest wall; the last two end free."""
    for plan in plans:
        if plan.name not in _RIB_REACH:
            continue
        for sign in (-1, 1):
            side = np.array([sign, 1, 1])
            path = wall.rib_path(replace(plan, center_lps_mm=plan.center_lps_mm * side), _RIB_REACH[plan.name]) * side
            thin_end = 4.0 if _RIB_REACH[plan.name] > 0.5 else 2.4
            radius = np.interp(np.linspace(0, 1, len(path)), (0, 0.06, 0.2, 1), (4.6, 3.4, 4.6, thin_end))
            _paint_stamped(canvas, path, radius, 1.0, 60.0, material.tissues.cortical_bone_hu, stretch_z=1.35)


def _paint_stamped(
    canvas: Canvas,
    centers_mm: NDArray[np.float64],
    radii_mm: NDArray[np.float64],
    cortex_mm: float,
    filling_hu: float,
    cortical_hu: float,
    stretch_z: float = 1.0,
) -> None:
    """Paint the union of many spheres that lie close together along a curve or a sheet."""
    reach = float(radii_mm.max()) * stretch_z + 3
    box = canvas.box(centers_mm.min(0) - reach, centers_mm.max(0) + reach)
    if box is None:
        return
    part = canvas.part(box)
    distance = np.full(part.hu_zyx.shape, 9.0, np.float32)
    for center, radius in zip(centers_mm, radii_mm, strict=True):
        around_it = part.box(center - radius - 3, center + np.array([radius + 3, radius + 3, radius * stretch_z + 3]))
        if around_it is not None:
            p = part.points(around_it)
            dx, dy, dz = p.x - np.float32(center[0]), p.y - np.float32(center[1]), (p.z - np.float32(center[2])) / np.float32(stretch_z)
            view = distance[around_it]
            np.minimum(view, np.sqrt(dx * dx + dy * dy + dz * dz) - np.float32(radius), out=view)
    _paint_bone(canvas, box, distance, cortex_mm, filling_hu, cortical_hu)


def trabecular_texture(rng: np.random.Generator, canvas: Canvas) -> Field:
    """Random field over a canvas with the grain of trabecular bone as CT shows it, about 1 mm."""
    steps = [float(axis[1] - axis[0]) for axis in (canvas.z_mm, canvas.y_mm, canvas.x_mm)]
    return smooth_random(rng, canvas.hu_zyx.shape, (1.1 / steps[0], 0.9 / steps[1], 0.9 / steps[2]))
