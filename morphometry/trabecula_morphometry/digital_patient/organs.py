"""Painting the soft tissues: layers of the wall, muscles along the column, organs, vessels, bowel with gas, lungs and the table."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.digital_patient.attenuation import TissueAttenuation
from trabecula_morphometry.digital_patient.canvas import Box, Canvas, smooth_random
from trabecula_morphometry.digital_patient.column import VertebraPlan
from trabecula_morphometry.digital_patient.solids import Field, Points, ellipse, ellipsoid
from trabecula_morphometry.digital_patient.torso import MUSCLE_WALL_MM, Torso

_SKIN_MM = 1.6
_COARSE_MM = 4.0

Triple = tuple[float, float, float]


def paint_layers(canvas: Canvas, torso: Torso, tissues: TissueAttenuation, rng: np.random.Generator) -> NDArray[np.float16]:
    """Air, skin, subcutaneous fat, the muscle wall, and fat in the cavity, slice by slice from fields on a coarse grid.

    Returns the signed distance of every voxel to the inner side of the muscle wall (half precision: good to 0.1 mm).
    """
    x, y = (np.arange(a[0], a[-1] + _COARSE_MM, _COARSE_MM, dtype=np.float32) for a in (canvas.x_mm, canvas.y_mm))
    z = canvas.z_mm
    grain = 6 * smooth_random(rng, (len(z), len(y), len(x)), (2.0, 1.0, 1.0))
    to_x, to_y = _linear_weights(canvas.x_mm, x), _linear_weights(canvas.y_mm, y)
    at = (x[None, None, :], y[None, :, None], z[:, None, None])
    skin_coarse, fat_coarse = torso.skin_distance_mm(*at), torso.fat_mm(*at)
    cavity = np.empty(canvas.hu_zyx.shape, np.float16)
    for k in range(len(z)):
        skin, fat, texture = (to_y @ f[k] @ to_x.T for f in (skin_coarse, fat_coarse, grain))
        cavity[k] = skin + fat + MUSCLE_WALL_MM
        inside = np.flatnonzero((skin < 3).any(axis=1))
        box = (
            (slice(k, k + 1), slice(inside[0], inside[-1] + 1), slice(None)) if len(inside) else (slice(k, k + 1), slice(0, 0), slice(None))
        )
        skin, fat, texture = (f[None, box[1]] for f in (skin, fat, texture))
        canvas.hu_zyx[k] = -1000
        canvas.paint(box, skin, tissues.skin_hu)
        canvas.paint(box, skin + _SKIN_MM, tissues.fat_hu + 0.7 * texture)
        canvas.paint(box, skin + fat, tissues.muscle_hu - 6 + 1.5 * texture)
        canvas.paint(box, skin + fat + MUSCLE_WALL_MM, tissues.fat_hu + 4 + texture)
    return cavity


def _linear_weights(fine_mm: Field, coarse_mm: Field) -> Field:
    """Matrix that interpolates values at ``coarse_mm`` to ``fine_mm``."""
    position = np.interp(fine_mm, coarse_mm, np.arange(len(coarse_mm)))
    weights: Field = np.clip(1 - np.abs(position[:, None] - np.arange(len(coarse_mm))), 0, 1).astype(np.float32)
    return weights


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SoftTissue:
    """What the painters of soft tissue share."""

    canvas: Canvas
    torso: Torso
    plans: tuple[VertebraPlan, ...]
    s1: VertebraPlan
    tissues: TissueAttenuation
    grain_tile_zyx: Field
    cavity_zyx: NDArray[np.float16]

    def level_z(self, name: str) -> float:
        """Height of a level's middle."""
        return float(next(plan for plan in self.plans if plan.name == name).center_lps_mm[2])

    def cavity_mm(self, box: Box) -> Field:
        """Signed distance to the inner side of the muscle wall."""
        distance: Field = self.cavity_zyx[box].astype(np.float32)
        return distance

    def box(self, low_mm: Triple, high_mm: Triple) -> Box | None:
        """Voxels between two corners."""
        return self.canvas.box(low_mm, high_mm)

    def box_around(self, center_mm: Triple, radii_mm: Triple, margin_mm: float) -> Box | None:
        """Voxels around an ellipsoid."""
        center, reach = np.array(center_mm), np.array(radii_mm) + margin_mm
        return self.canvas.box(center - reach, center + reach)

    def grain(self, box: Box) -> Field:
        """Unevenness of soft tissue, mean 0 and SD 1, correlated over 3 mm; a tile that repeats."""
        result: Field = self.grain_tile_zyx[
            np.ix_(*(np.arange(part.start, part.stop) % period for part, period in zip(box, self.grain_tile_zyx.shape, strict=True)))
        ]
        return result

    def grained(self, box: Box, hu: float, share: float = 1.0) -> Field:
        """An attenuation with the soft unevenness of living tissue."""
        result: Field = hu + 7 * share * self.grain(box)
        return result


def paint_soft_tissue(soft: SoftTissue, rng: np.random.Generator) -> None:
    """Everything that is not bone, from the back to the front of what covers what."""
    _paint_organs(soft)
    _paint_bowel(soft, rng)
    _paint_lungs(soft)
    _paint_vessels(soft, rng)
    _paint_muscles(soft)
    _paint_table(soft)


def _along_column(soft: SoftTissue, box: Box) -> tuple[Points, Field]:
    points = soft.canvas.points(box)
    return points, (points.y - soft.torso.column_at(points.z)).astype(np.float32)


def _paint_muscles(soft: SoftTissue) -> None:
    """Erector spinae, psoas, quadratus lumborum, gluteal and iliac muscles."""
    z_of = soft.level_z
    floor, top = float(soft.canvas.z_mm[0]) - 1, float(soft.canvas.z_mm[-1]) + 1
    muscle = soft.tissues.muscle_hu
    for sign in (-1.0, 1.0):
        box = soft.box((min(sign * 6, sign * 90), 10, floor), (max(sign * 6, sign * 90), 130, top))
        if box is not None:
            points, y = _along_column(soft, box)
            broad = np.interp(points.z, (z_of("L5") - 40, z_of("L4"), z_of("L1"), z_of("T9")), (24, 33, 34, 27)).astype(np.float32)
            thick = np.interp(points.z, (z_of("L5") - 50, z_of("L4"), z_of("L1"), z_of("T9")), (12, 22, 23, 15)).astype(np.float32)
            erector = ellipse(sign * points.x - broad - 3, y - 44, (broad, thick))
            under_skin = soft.cavity_mm(box) - MUSCLE_WALL_MM
            # Fat lies between the bundles of the multifidus in the lower back.
            streaks = np.clip(soft.grain(box) - 0.9, 0, 1.2) * np.interp(points.z, (z_of("L5"), z_of("T12")), (70, 15))
            soft.canvas.paint(box, np.maximum(erector, under_skin), soft.grained(box, muscle - 4) - streaks)
        box = soft.box((min(sign * 10, sign * 75), -60, floor), (max(sign * 10, sign * 75), 45, z_of("T12") + 5))
        if box is not None:
            points, y = _along_column(soft, box)
            z_steps = (z_of("L5") - 50, z_of("L5"), z_of("L4"), z_of("L2"), z_of("T12"))
            radius = np.interp(points.z, z_steps, (19, 20, 19, 12, 3)).astype(np.float32)
            out = np.interp(points.z, z_steps, (56, 46, 40, 30, 24)).astype(np.float32)
            psoas = ellipse(sign * points.x - out, y - np.interp(points.z, z_steps, (-26, -6, 2, 5, 8)), (radius * 0.9, radius * 1.15))
            soft.canvas.paint(box, psoas, soft.grained(box, muscle))
            quadratus = ellipse(sign * points.x - 58, y - 26, (18.0, 8.5))
            limits = np.maximum(points.z - z_of("T12"), z_of("L4") - 8 - points.z)
            soft.canvas.paint(box, np.maximum(quadratus, limits), soft.grained(box, muscle - 2))
        _paint_hip_muscles(soft, sign, floor)


def _paint_hip_muscles(soft: SoftTissue, sign: float, floor: float) -> None:
    x0, y0, z0 = (float(c) for c in soft.s1.center_lps_mm)
    for center, radii in (
        ((x0 + sign * 92, y0 + 6, z0 - 20), (24, 46, 55)),
        ((x0 + sign * 84, y0 - 4, z0 - 10), (17, 42, 52)),
        ((x0 + sign * 78, y0 + 62, z0 - 45), (52, 26, 58)),
    ):
        box = soft.box_around(center, radii, 4.0)
        if box is not None:
            points = soft.canvas.points(box)
            inside = soft.cavity_mm(box) - MUSCLE_WALL_MM
            soft.canvas.paint(box, np.maximum(ellipsoid(points, center, radii), inside), soft.grained(box, soft.tissues.muscle_hu))
    del floor


def _paint_blob(
    soft: SoftTissue,
    center: Triple,
    radii: Triple,
    hu: float,
    *,
    bumps_mm: float = 0.0,
    inset_mm: float = 1.0,
) -> None:
    """An organ as an uneven ellipsoid that the wall of the cavity bounds."""
    box = soft.box_around(center, radii, 12.0)
    if box is None:
        return
    points = soft.canvas.points(box)
    shape = ellipsoid(points, center, radii)
    if bumps_mm:
        shape = shape + np.float32(bumps_mm) * (np.sin(points.x / 13 + points.z / 17) * np.sin(points.y / 15 - points.z / 21)).astype(
            np.float32
        )
    soft.canvas.paint(box, np.maximum(shape, soft.cavity_mm(box) + inset_mm), soft.grained(box, hu))


def _paint_organs(soft: SoftTissue) -> None:
    t, z_of = soft.tissues, soft.level_z
    width, depth = (float(r[0]) for r in soft.torso.radii_at(np.array([z_of("T11")])))
    k, g = width / 160, depth / 107
    _paint_blob(soft, (-72 * k, -38 * g, z_of("T11") + 2), (92 * k, 92 * g, 78), t.liver_hu, bumps_mm=4, inset_mm=2)
    _paint_blob(soft, (-8, -70 * g, z_of("T11") + 8), (62 * k, 42 * g, 34), t.liver_hu, bumps_mm=3, inset_mm=2)
    _paint_blob(soft, (98 * k, 14, z_of("T11") - 2), (34 * k, 46, 48), t.spleen_hu, bumps_mm=3, inset_mm=2)
    _paint_blob(soft, (62 * k, -52 * g, z_of("T11") + 2), (44 * k, 40 * g, 48), t.bowel_hu, bumps_mm=3, inset_mm=3)
    _paint_blob(soft, (62 * k, -50 * g, z_of("T11") + 2), (39 * k, 35 * g, 43), t.fluid_hu + 12, inset_mm=7)
    _paint_stomach_gas(soft, (62 * k, -50 * g, z_of("T11") + 2), (38 * k, 34 * g, 42))
    _paint_blob(soft, (20, -46, z_of("L1") + 6), (58, 12, 13), 38.0, bumps_mm=4)
    _paint_blob(soft, (-58, -62 * g, z_of("L1") - 2), (17, 20, 28), t.fluid_hu, bumps_mm=0, inset_mm=3)
    for sign, drop in ((-1.0, -12.0), (1.0, 0.0)):
        z = 0.5 * (z_of("L1") + z_of("L2")) + drop + 8
        y = float(soft.torso.column_at(z)) + 8
        _paint_blob(soft, (sign * 66, y, z), (27, 25, 54), t.kidney_hu, bumps_mm=1.5)
        _paint_blob(soft, (sign * 55, y - 4, z), (13, 10, 20), t.fat_hu + 15, bumps_mm=3)


def _paint_stomach_gas(soft: SoftTissue, center: Triple, radii: Triple) -> None:
    box = soft.box_around(center, radii, 0.0)
    if box is not None:
        points = soft.canvas.points(box)
        gas = np.maximum(ellipsoid(points, center, radii), points.y - np.float32(center[1] - 0.35 * radii[1]))
        soft.canvas.paint(box, np.maximum(gas, soft.cavity_mm(box) + 8), soft.tissues.gas_hu)


def _paint_lungs(soft: SoftTissue) -> None:
    """The lower lungs above the domes of the diaphragm, with vessels; deepest behind."""
    low = soft.level_z("T12") - 5
    x_half = float(soft.torso.radii_at(np.array([low]))[0][0])
    for sign in (-1.0, 1.0):
        box = soft.box((min(0, sign * x_half), -150, low), (max(0, sign * x_half), 110, 1e4))
        if box is None:
            continue
        points, y = _along_column(soft, box)
        height = 20.0 if sign < 0 else 8.0
        dome = soft.level_z("T9") + height + 24 - ((sign * points.x - 70) / 62) ** 2 * 30 - np.clip((y + 35) / 62, -1.4, 1.4) ** 2 * 44
        away = 34 - sign * points.x + 0.25 * np.clip(-y, 0, 60)
        lung = np.maximum(np.maximum(dome - points.z, soft.cavity_mm(box) + 1.5), away.astype(np.float32))
        vessels = np.clip(soft.grain(box) - 1.7, 0, 0.8) * 700
        soft.canvas.paint(box, (lung * 0.8).astype(np.float32), soft.tissues.lung_hu + 20 * soft.grain(box) + vessels)


def _paint_vessels(soft: SoftTissue, rng: np.random.Generator) -> None:
    """Aorta with a few calcified plaques, inferior vena cava, and the common iliac vessels below L4."""
    fork = soft.level_z("L4") - 8
    for x_of_z, front, radii, low in (
        ((8.0, 14.0), 27.0, (9.6, 9.6), fork),
        ((-16.0, -22.0), 26.0, (12.5, 9.0), fork - 12),
    ):
        box = soft.box((-50, -80, low), (50, 20, 1e4))
        if box is None:
            continue
        points, y = _along_column(soft, box)
        x = points.x - np.interp(points.z, (fork, soft.level_z("T9")), x_of_z)
        tube = ellipse(x.astype(np.float32), y + np.float32(front), radii)
        soft.canvas.paint(box, np.maximum(tube, low - points.z), soft.grained(box, soft.tissues.blood_hu, 0.4))
    for _ in range(9):
        z = float(rng.uniform(fork, soft.level_z("T12")))
        angle = float(rng.uniform(0, 2 * np.pi))
        x = float(np.interp(z, (fork, soft.level_z("T9")), (8.0, 14.0))) + 9 * np.cos(angle)
        y_mid = float(soft.torso.column_at(z)) - 27 + 9 * np.sin(angle)
        box = soft.box((x - 6, y_mid - 6, z - 8), (x + 6, y_mid + 6, z + 8))
        if box is not None:
            soft.canvas.paint(box, ellipsoid(soft.canvas.points(box), (x, y_mid, z), (1.8, 1.8, 4.0)), 420.0)
    bottom = float(soft.canvas.z_mm[0])
    for sign, start_x in ((-1.0, 2.0), (1.0, 14.0), (-1.0, -18.0)):
        box = soft.box((-80, -110, bottom - 1), (80, 40, fork + 4))
        if box is None:
            continue
        points, y = _along_column(soft, box)
        down = (fork - points.z) / 60
        x = points.x - (start_x + sign * 26 * down)
        tube = ellipse(x.astype(np.float32), (y + 26 + 14 * np.clip(down, 0, 2)).astype(np.float32), (6.5, 6.5))
        soft.canvas.paint(box, np.maximum(tube, points.z - fork - 4), soft.grained(box, soft.tissues.blood_hu, 0.4))


def _paint_bowel(soft: SoftTissue, rng: np.random.Generator) -> None:
    """Small bowel as wandering loops in front, colon along both flanks; wall, then contents of fluid, stool or gas."""
    z_of, k = soft.level_z, float(soft.torso.radii_at(np.array([0.0]))[0][0]) / 160
    top, bottom = z_of("L1") - 5, float(soft.canvas.z_mm[0])
    for _ in range(8):
        place = np.array([rng.uniform(-70, 70) * k, rng.uniform(-95, -62), rng.uniform(bottom, top)])
        step = rng.normal(size=3)
        loops = []
        for _ in range(46):
            step = 0.75 * step + rng.normal(size=3)
            place = place + 7 * step / np.linalg.norm(step)
            place = np.clip(place, (-82 * k, -112, bottom - 10), (82 * k, -58, top))
            loops.append(place)
        _paint_tube(soft, np.array(loops), float(rng.uniform(10, 13)), rng, gas_share=0.08, stool=False)
    for sign in (-1.0, 1.0):
        z = np.linspace(z_of("L1") - 10, bottom - 10, 40)
        course = np.stack([sign * (104 * k + 5 * np.sin(z / 13)), -22 + 9 * np.sin(z / 19 + sign), z], axis=1)
        _paint_tube(soft, course, 19.0, rng, gas_share=0.35, stool=True)


def _paint_tube(
    soft: SoftTissue, centers_mm: np.ndarray, radius_mm: float, rng: np.random.Generator, *, gas_share: float, stool: bool
) -> None:
    t = soft.tissues
    radii = radius_mm * rng.uniform(0.85, 1.15, len(centers_mm))
    gas = np.repeat(rng.uniform(size=len(centers_mm) // 6 + 1) < gas_share, 6)[: len(centers_mm)]
    for wall in (True, False):
        for center, radius, holds_gas in zip(centers_mm, radii, gas, strict=True):
            box = soft.box(tuple(center - radius - 2), tuple(center + radius + 2))
            if box is None:
                continue
            points = soft.canvas.points(box)
            ball = np.maximum(ellipsoid(points, tuple(center), (radius, radius, radius)), soft.cavity_mm(box) + 2)
            if wall:
                soft.canvas.paint(box, ball, t.bowel_hu)
            elif stool:
                soft.canvas.paint(box, ball + 2.2, soft.grained(box, 5.0, 2.5) - 260 * np.clip(soft.grain(box) - 0.9, 0, 1.5))
                if holds_gas:
                    soft.canvas.paint(box, np.maximum(ball + 2.2, points.y - np.float32(center[1])), t.gas_hu)
            else:
                soft.canvas.paint(box, ball + 2.2, soft.grained(box, t.fluid_hu + 14))
                if holds_gas:
                    soft.canvas.paint(box, np.maximum(ball + 2.2, points.y - np.float32(center[1] - 2)), t.gas_hu)


def _paint_table(soft: SoftTissue) -> None:
    """A thin curved table top under the back."""
    z = soft.canvas.z_mm.astype(np.float64)
    back = float(soft.torso.back_at(z).max())
    box = soft.box((-215, back - 5, -1e4), (215, back + 60, 1e4))
    if box is None:
        return
    points = soft.canvas.points(box)
    upper = (back + 3 - (points.x / 215) ** 2 * 22 - points.y).astype(np.float32)
    width = np.abs(points.x) - 210
    outer = np.maximum(np.maximum(upper, -upper - 14), width)
    under_patient = soft.canvas.hu_zyx[box] > -500
    outer = np.where(under_patient, np.float32(5), outer)
    soft.canvas.paint(box, outer, -420.0)
    soft.canvas.paint(box, outer + 1.6, -950.0)
