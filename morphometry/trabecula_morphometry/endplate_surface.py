"""The mask's endplate without its notches: a smooth surface, and how much of the mask departs from it.

A network calls a thin or dense endplate disc here and there, which leaves notches of several millimetres in the mask. An endplate,
intact or fractured, is a smooth plate, flat to bowl-shaped; what departs far from the best such surface is the mask's error or a
focal pit (Schmorl), and neither belongs to the height of the body.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.frame import BodyShape

CENTRAL_WIDTH_SHARE, CENTRAL_DEPTH_SHARE = 0.32, 0.45
"""The part of the endplate that is fitted: clear of the side walls, nearly to the front and back rim."""

DEPARTURE_MM = 1.5
"""More than this from the smooth surface is a departure (an endplate's own relief stays below 1 mm; masks have voxels of 1 mm)."""

REJECT_MM = 3.0
"""Tukey limit: points this far off have no say in the fit."""

MOST_DEPARTED_SHARE = 1 / 3
"""Where more of an endplate's mask departs, nobody knows which part is right: heights are not given (engineering choice)."""

FEWEST_POINTS = 40


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EndplateSurface:
    """The repaired surface over [posterior, left] (NaN where the mask has none) and the share of its central part that was departed."""

    surface_mm: NDArray[np.float64]
    departed_share: float


def repaired_endplate(shape: BodyShape, *, upper: bool) -> EndplateSurface | None:
    """Surface of one endplate from the mask, departures replaced by a robust quadratic; None where the mask has too little of it."""
    surface = (shape.top_mm if upper else shape.bottom_mm).copy()
    back, left = np.meshgrid(shape.posterior_mm, shape.left_mm, indexing="ij")
    slab = (np.abs(left) <= CENTRAL_WIDTH_SHARE * shape.width_mm) & np.isfinite(surface)
    central = slab & (np.abs(back) <= CENTRAL_DEPTH_SHARE * shape.depth_mm)
    if central.sum() < FEWEST_POINTS:
        return None
    basis = np.stack([np.ones_like(back), back, left, back**2, back * left, left**2], axis=-1)
    fitted = basis @ _robust_fit(basis[central], surface[central])
    departed = np.zeros(surface.shape, dtype=bool)
    departed[slab] = np.abs(surface[slab] - fitted[slab]) > DEPARTURE_MM
    # Front and back rims are replaced too (a bridge to the next vertebra, a missing corner), but say nothing about the plate.
    surface = np.where(departed, fitted, surface)
    return EndplateSurface(surface_mm=surface, departed_share=float(departed[central].mean()))


def endplates_are_sound(shape: BodyShape) -> bool:
    """Whether the mask shows both endplates well enough to measure heights from them."""
    surfaces = [repaired_endplate(shape, upper=upper) for upper in (True, False)]
    return all(surface is not None and surface.departed_share <= MOST_DEPARTED_SHARE for surface in surfaces)


def _robust_fit(basis: NDArray[np.float64], heights_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of the quadratic: least absolute deviations first, then Tukey's biweight from there."""
    weights: NDArray[np.float64] = np.ones(len(heights_mm))
    coefficients: NDArray[np.float64] = np.zeros(basis.shape[1])
    for iteration in range(16):
        weighted = basis * weights[:, None]
        # Normal equations: six unknowns, hundreds of points; the small term holds a basis that few points leave undetermined.
        square = weighted.T @ basis + 1e-6 * np.eye(basis.shape[1])
        coefficients = np.asarray(np.linalg.solve(square, weighted.T @ heights_mm), dtype=np.float64)
        residual = np.abs(heights_mm - basis @ coefficients)
        least_absolute = 1.0 / np.maximum(residual, 0.1)
        biweight = np.clip(1.0 - (residual / REJECT_MM) ** 2, 0.0, None) ** 2
        # Least absolute deviations leave as many points on the surface as it has unknowns, so that the biweights never all vanish.
        weights = np.asarray(least_absolute if iteration < 8 else biweight, dtype=np.float64)
    return coefficients
