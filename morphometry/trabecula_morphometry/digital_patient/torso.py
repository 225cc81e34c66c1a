"""The outline of the torso and its layers, as smooth fields: skin, subcutaneous fat, the muscle wall, the cavity inside."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_morphometry.digital_patient.column import VertebraPlan
from trabecula_morphometry.digital_patient.options import PatientOptions
from trabecula_morphometry.digital_patient.solids import Field, ellipse

_HALF_WIDTH_MM, _HALF_DEPTH_MM = {"F": 162.0, "M": 174.0}, {"F": 112.0, "M": 120.0}
_BACK_MM = 92.0
"""From the middle of L3 to the skin of the back."""

MUSCLE_WALL_MM = 11.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Torso:
    """The torso around a column; all functions take LPS millimetres with the middle of L3 as origin."""

    options: PatientOptions
    column_z_mm: NDArray[np.float64]
    column_y_mm: NDArray[np.float64]

    @classmethod
    def around(cls, plans: tuple[VertebraPlan, ...], s1: VertebraPlan, options: PatientOptions) -> "Torso":
        """The torso of a patient with this column."""
        centers = np.array([plan.center_lps_mm for plan in (s1, *plans[::-1])])
        return cls(options=options, column_z_mm=centers[:, 2], column_y_mm=centers[:, 1])

    def column_at(self, z_mm: Field | NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Posterior coordinate of the column's middle."""
        return np.asarray(np.interp(z_mm, self.column_z_mm, self.column_y_mm))

    def radii_at(self, z_mm: NDArray[np.float64] | Field) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Half width and half depth of the outline: a waist above the hips."""
        hips = 1 / (1 + np.exp((z_mm + 85) / 22))
        chest = 1 / (1 + np.exp(-(z_mm - 95) / 30))
        width = _HALF_WIDTH_MM[self.options.sex] * self.options.girth * (0.97 + 0.11 * hips - 0.03 * chest)
        depth = _HALF_DEPTH_MM[self.options.sex] * self.options.girth * (1.0 + 0.02 * hips - 0.05 * chest)
        return np.asarray(width), np.asarray(depth)

    def back_at(self, z_mm: NDArray[np.float64] | Field) -> NDArray[np.float64]:
        """Posterior coordinate of the skin of the back."""
        bottom = 12 / (1 + np.exp((z_mm + 95) / 15))
        return np.asarray(_BACK_MM + 0.6 * ndimage.gaussian_filter1d(self.column_at(z_mm).ravel(), 2).reshape(np.shape(z_mm)) + bottom)

    def skin_distance_mm(self, x: Field, y: Field, z: Field) -> Field:
        """Signed distance to the skin, negative inside, with the groove of the back."""
        width, depth = self.radii_at(z)
        middle = self.back_at(z) - depth
        plain = ellipse(x, (y - middle).astype(np.float32), (width.astype(np.float32), depth.astype(np.float32)), 2.35)
        groove = 7 * np.exp(-((x / 13) ** 2)) * (y > middle)
        result: Field = (plain + groove).astype(np.float32)
        return result

    def fat_mm(self, x: Field, y: Field, z: Field) -> Field:
        """Thickness of the subcutaneous fat: thick over belly, flanks and buttocks, thin over the ribs."""
        _, depth = self.radii_at(z)
        front = np.clip((self.back_at(z) - depth - y) / depth, -1, 1)
        side = np.clip(np.abs(x) / 150, 0, 1)
        low = 1 / (1 + np.exp((z - 40) / 30))
        thick = 9 + low * (9 * np.clip(front, 0, 1) + 6 * side + 5 * np.clip(-front, 0, 1))
        result: Field = (thick * self.options.girth**2).astype(np.float32)
        return result

    def wall_point(self, angle_rad: float, z_mm: float, depth_mm: float) -> NDArray[np.float64]:
        """A point ``depth_mm`` under the skin; angle 0 = behind, pi/2 = left, pi = in front."""
        z = np.array([z_mm])
        width, depth = (float(r[0]) for r in self.radii_at(z))
        middle = float(self.back_at(z)[0]) - depth
        s, c = np.sin(angle_rad), np.cos(angle_rad)
        n = 2.35
        reach = (abs(s / (width - depth_mm)) ** n + abs(c / (depth - depth_mm)) ** n) ** (-1 / n)
        return np.array([reach * s, middle + reach * c, z_mm])

    def rib_path(self, plan: VertebraPlan, reach: float) -> NDArray[np.float64]:
        """Middle line of the left rib of a level, points 1 mm apart, from the head to where its bone ends."""
        c, wall = plan.center_lps_mm, plan.depth_mm / 2
        head = c + np.array([plan.width_mm / 2 - 2, wall - 1, plan.posterior_mm * 0.33])
        tubercle = c + np.array([plan.width_mm / 2 + 13, wall + 18, plan.posterior_mm * 0.2])
        # The outline turns an eighth of a circle before the rib lies in the wall; from there it falls steadily to the front.
        angles = np.linspace(0.42, np.pi * 0.9, 40)
        fall = 62 * np.linspace(0, 1, 40) ** 0.9
        start_z = c[2] - 10
        depth_under_skin = 9 * self.options.girth**2 + 15
        course = np.array([self.wall_point(a, start_z - f, depth_under_skin) for a, f in zip(angles, fall, strict=True)])
        course = course[: max(6, round(40 * reach))]
        knots = np.vstack([head, tubercle, course])
        lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
        even = np.arange(0, lengths[-1], 1.0)
        line = np.stack([np.interp(even, lengths, knots[:, i]) for i in range(3)], axis=1)
        smooth: NDArray[np.float64] = ndimage.gaussian_filter1d(line, 5, axis=0, mode="nearest")
        return smooth
