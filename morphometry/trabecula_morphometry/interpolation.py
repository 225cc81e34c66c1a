"""Linear interpolation along one axis as a small matrix: three of them bring a volume to a grid that lies along the same axes."""

import numpy as np
from numpy.typing import NDArray


def linear_weights(places: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Weights (places, size) of the values at 0, 1, ... size - 1 for places between them; beyond the ends the outermost value goes on."""
    inside = np.clip(places, 0, size - 1)
    lower = np.minimum(inside.astype(int), max(size - 2, 0))
    rows = np.arange(len(places))
    weights = np.zeros((len(places), size), dtype=np.float32)
    weights[rows, lower] = 1 - (inside - lower)
    weights[rows, np.minimum(lower + 1, size - 1)] += inside - lower
    return weights
