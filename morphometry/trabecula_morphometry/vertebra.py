"""What the measuring side needs to know about a vertebra: its name and label, and small values shared by the measurements."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
PointLps = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class VertebraInput:
    """One vertebra that was found and named.

    Parameters
    ----------
    name : level name, "T12".
    label : its VerSe number in the label volumes.
    center_lps_mm : rough centre of the body.
    complete : whether the whole body lies in the field of view.
    """

    name: str
    label: int
    center_lps_mm: PointLps
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreeHeights:
    """One value per position on the mid-sagittal plane; millimetres or fractions, as the field that holds it says."""

    anterior: float
    middle: float
    posterior: float

    def as_array(self) -> Vector:
        """Anterior, middle, posterior."""
        return np.array([self.anterior, self.middle, self.posterior])

    @classmethod
    def from_array(cls, values: Vector) -> "ThreeHeights":
        """From anterior, middle, posterior."""
        return cls(anterior=float(values[0]), middle=float(values[1]), posterior=float(values[2]))


def unit(vector: Vector) -> Vector:
    """The vector with length 1."""
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)


def point_lps(vector: Vector) -> PointLps:
    """Three floats from an array of three."""
    return float(vector[0]), float(vector[1]), float(vector[2])
