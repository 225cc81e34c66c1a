"""Where the bony endplate really ends: the blurred endplate fitted with a plate, instead of its steepest fall of HU.

An endplate is a plate of bone thinner than a scanner resolves. Its blurred image is a hump, and the steepest fall of the hump lies about
one sigma of the blur outside the middle of the plate, so that a height read from steepest falls is 0.7 to 3 mm too large, the more the
thicker the slices. The profile is therefore fitted with a plate of known thickness between trabecular bone and disc, blurred by a
Gaussian, with the next vertebra's endplate beyond the disc (after Treece et al., Med Image Anal 2010;14:276, who fit cortices in
clinical CT this way). The fit says where the plate's outer face lies. Without a hump it is the middle of the step, as it should be.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from trabecula_morphometry.vertebra import Vector

PLATE_MM = 1.0
"""Thickness of the plate: bony endplate of 0.5-1.0 mm with the calcified cartilage on it, which attenuates like bone (0.1-0.2 mm).

Blurred, only thickness times attenuation is seen. Holding the thickness and leaving the attenuation free suits the old: their endplates
lose density before thickness. Half the thickness would put the face 0.2 mm further in."""

IN_PLANE_SIGMA_MM = 0.6
"""Blur of a soft-tissue kernel; sharp kernels have 0.35, smooth ones 0.8."""

SLICE_SIGMA_SHARE = 0.36
"""SD of a slice's profile as a share of the spacing: a box has 0.29, soft flanks and the interpolation add to it."""

SIGMA_LOG_SD = 0.2
DISC_MM, DISC_LOG_SD = 6.0, 0.5
"""Usual gap to the next vertebra's endplate, whose hump reaches into the profile of thick slices (thoracic 4, lumbar 7-12 mm)."""

NEIGHBOUR_SPREAD_MM = 0.8
"""The gap varies over the depth, which blurs the next endplate further in the mean profile."""

PLATE_HU, PLATE_HU_SD = 1000.0, 400.0
"""Attenuation of the plate: compact bone of 1.9 g/cm3 has 1560 HU at 120 kVp, porous endplates half of it."""

WINDOW_MM = (-4.5, 5.0)
"""Part of the profile that is fitted, inwards and outwards of the steepest fall."""

MOST_MM = (-0.5, 2.5)
"""Limits of the answer: a fit beyond them has lost the endplate."""

_ROOT_TWO_PI = float(np.sqrt(2 * np.pi))
_READINGS, _READING_SHARE = 5.0, 0.02
"""A profile counts as five independent readings of 2 % of its range each: neighbouring samples share their noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateModel:
    """A body of ``inner_hu``, its endplate that ends at ``face_mm``, a disc of ``outer_hu``, and the next vertebra after ``gap_mm``."""

    face_mm: float
    sigma_mm: float
    plate_hu: float
    inner_hu: float
    outer_hu: float
    gap_mm: float

    def hu_at(self, outward_mm: Vector) -> NDArray[np.float64]:
        """Blurred attenuation along the outward direction."""
        back, face, next_face, next_back = (special.ndtr(argument) for argument in self._arguments(outward_mm))
        bone = self.inner_hu * (1 - back + next_back) + self.plate_hu * (back - face + next_face - next_back)
        return np.asarray(bone + self.outer_hu * (face - next_face))

    def slopes_at(self, outward_mm: Vector) -> NDArray[np.float64]:
        """Derivatives (n, 6) of ``hu_at`` by face, log sigma, log gap, and the HU of plate, inside and disc."""
        arguments = self._arguments(outward_mm)
        back, face, next_face, next_back = (special.ndtr(argument) for argument in arguments)
        # Each of the four surfaces turns what lies inside it into what lies outside it.
        plate_hu, outer_hu = self.plate_hu, self.outer_hu
        steps = (plate_hu - self.inner_hu, outer_hu - plate_hu, plate_hu - outer_hu, self.inner_hu - plate_hu)
        heights = [step * np.exp(-0.5 * argument**2) / _ROOT_TWO_PI for step, argument in zip(steps, arguments, strict=True)]
        spread = self._spread_mm()
        blurs = (self.sigma_mm, self.sigma_mm, spread, spread)
        by_face = -sum(height / blur for height, blur in zip(heights, blurs, strict=True))
        by_sigma = -sum(
            height * argument * (self.sigma_mm / blur) ** 2 for height, argument, blur in zip(heights, arguments, blurs, strict=True)
        )
        by_gap = -(heights[2] + heights[3]) * self.gap_mm / spread
        return np.stack(
            [by_face, by_sigma, by_gap, back - face + next_face - next_back, 1 - back + next_back, face - next_face],
            axis=1,
            dtype=np.float64,
        )

    def _arguments(self, outward_mm: Vector) -> tuple[Vector, Vector, Vector, Vector]:
        """Places in units of the blur, from the own plate's back and face and the next plate's face and back."""
        own, spread = outward_mm - self.face_mm, self._spread_mm()
        beyond = own - self.gap_mm
        return (own + PLATE_MM) / self.sigma_mm, own / self.sigma_mm, beyond / spread, (beyond - PLATE_MM) / spread

    def _spread_mm(self) -> float:
        return float(np.hypot(self.sigma_mm, NEIGHBOUR_SPREAD_MM))


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeResponse:
    """The fitted endplate. ``outside_mm`` is how far the profile's zero lies outside the plate's outer face."""

    outside_mm: float
    sigma_mm: float
    plate_hu: float
    residual_hu: float


def expected_sigma_mm(slice_spacing_mm: float, slope: float, smoothing_mm: float) -> float:
    """Blur across an endplate whose normal has the cosine ``slope`` to the slice normal, with the smoothing of the search added."""
    across_slices = (SLICE_SIGMA_SHARE * slice_spacing_mm) ** 2 + (0.6 * IN_PLANE_SIGMA_MM) ** 2
    return float(np.sqrt(slope**2 * across_slices + (1 - slope**2) * IN_PLANE_SIGMA_MM**2 + smoothing_mm**2))


def fit_edge_response(outward_mm: Vector, mean_hu: Vector, *, sigma_mm: float) -> EdgeResponse:
    """Fit the mean profile of an endplate, aligned so that its steepest fall lies at 0.

    Parameters
    ----------
    outward_mm, mean_hu : (n,) the profile, positive outwards.
    sigma_mm : expected blur, smoothing included.
    """
    use = (outward_mm >= WINDOW_MM[0] - 0.3 * sigma_mm) & (outward_mm <= WINDOW_MM[1])
    t, hu = outward_mm[use], mean_hu[use]
    scale = max(float(hu.max() - hu.min()), 50.0) * _READING_SHARE / np.sqrt(_READINGS / max(len(t), 1))
    middle = np.array([np.log(sigma_mm), np.log(DISC_MM), PLATE_HU / PLATE_HU_SD])
    spread = np.array([SIGMA_LOG_SD, DISC_LOG_SD, 1.0])

    def misfit(x: Vector) -> NDArray[np.float64]:
        return np.concatenate([(_model(x).hu_at(t) - hu) / scale, (x[1:4] - middle) / spread])

    def slopes(x: Vector) -> NDArray[np.float64]:
        by_model = _model(x).slopes_at(t) * np.array([1.0, 1.0, 1.0, PLATE_HU_SD, 1.0, 1.0]) / scale
        return np.concatenate([by_model, held])

    held = np.zeros((3, 6))
    held[[0, 1, 2], [1, 2, 3]] = 1.0 / spread
    start = np.array([-0.4 * sigma_mm, *middle, float(hu[:4].mean()), float(hu.min())])
    found = _model(optimize.least_squares(misfit, start, jac=slopes, method="lm", max_nfev=80).x)
    return EdgeResponse(
        outside_mm=float(np.clip(-found.face_mm, *MOST_MM)),
        sigma_mm=found.sigma_mm,
        plate_hu=found.plate_hu,
        residual_hu=float(np.sqrt(np.mean((found.hu_at(t) - hu) ** 2))),
    )


def _model(x: Vector) -> PlateModel:
    sigma, gap = (float(v) for v in np.exp(np.clip(x[1:3], -4.0, 4.0)))
    return PlateModel(
        face_mm=float(x[0]), sigma_mm=sigma, gap_mm=gap, plate_hu=PLATE_HU_SD * float(x[3]), inner_hu=float(x[4]), outer_hu=float(x[5])
    )
