"""What a digital patient is to be like: every choice has a default, a unit and a plausible range."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from trabecula_morphometry.errors import SettingsError

Sex = Literal["F", "M"]
FractureShape = Literal["wedge", "biconcave", "crush"]
Kernel = Literal["smooth", "soft", "sharp"]

COLUMN_LEVELS: tuple[str, ...] = ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")
"""Levels that every digital patient shows whole, cranial to caudal."""

DEFAULT_DENSITY_K2HPO4_MG_CM3: Mapping[str, float] = MappingProxyType(
    {"T9": 124.0, "T10": 121.0, "T11": 117.0, "T12": 114.0, "L1": 109.0, "L2": 103.0, "L3": 98.0, "L4": 101.0, "L5": 108.0}
)
"""A woman of 67: falling from the thorax to L3 as in routine QCT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VertebralFracture:
    """Loss of height of one body against its own intact shape, as fractions (0.30 = 30 %), all at the superior endplate."""

    level: str
    shape: FractureShape
    anterior_loss: float
    middle_loss: float
    posterior_loss: float

    def __post_init__(self) -> None:
        if self.level not in COLUMN_LEVELS:
            raise SettingsError(f"no level {self.level!r} in a digital patient", hint=f"choose one of {', '.join(COLUMN_LEVELS)}")
        if not all(0.0 <= loss <= 0.6 for loss in (self.anterior_loss, self.middle_loss, self.posterior_loss)):
            raise SettingsError("a height loss lies outside 0 to 0.6", where=self.level, hint="give fractions, 0.30 for 30 %")


MODERATE_T12_WEDGE = VertebralFracture(level="T12", shape="wedge", anterior_loss=0.31, middle_loss=0.19, posterior_loss=0.02)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientOptions:
    """One digital patient and one way to scan it; the same options give the same volume, bit for bit.

    Parameters
    ----------
    seed : of texture, noise and the course of the bowel.
    age_years, sex : written into the truth; sex also sets the wedge angles and the size of the vertebrae.
    size : scale of the skeleton against the mean of the sex, 0.85 to 1.15.
    girth : scale of the soft-tissue outline, 0.85 to 1.3.
    lordosis_deg : angle between the superior endplates of L1 and S1, 30 to 75.
    scoliosis_deg : Cobb angle of a curve to the left with its apex at L1, 0 to 40.
    density_k2hpo4_mg_cm3 : per level of ``COLUMN_LEVELS``, what an error-free scan with the phantom reads, 0 to 400.
    fractures : at most one per level.
    tube_voltage_kvp : 80, 100, 120 or 140.
    spacing_xyz_mm : voxel size; x and y alike, 0.4 to 1.5; z 0.5 to 5.
    field_of_view_mm : side of the square field, centred on the body.
    noise_sd_hu : standard deviation of the noise in the middle of the body with the soft kernel; 0 for none.
    kernel : "soft" as a standard abdominal one; "smooth" blurs and "sharp" enhances edges and noise alike.
    """

    seed: int = 20
    age_years: int = 67
    sex: Sex = "F"
    size: float = 1.0
    girth: float = 1.0
    lordosis_deg: float = 56.0
    scoliosis_deg: float = 0.0
    density_k2hpo4_mg_cm3: Mapping[str, float] = field(default_factory=lambda: DEFAULT_DENSITY_K2HPO4_MG_CM3)
    fractures: tuple[VertebralFracture, ...] = (MODERATE_T12_WEDGE,)
    tube_voltage_kvp: int = 120
    spacing_xyz_mm: tuple[float, float, float] = (0.8, 0.8, 1.5)
    field_of_view_mm: float = 384.0
    noise_sd_hu: float = 16.0
    kernel: Kernel = "soft"

    def __post_init__(self) -> None:
        _within("size", self.size, 0.85, 1.15)
        _within("girth", self.girth, 0.85, 1.3)
        _within("lordosis_deg", self.lordosis_deg, 30.0, 75.0)
        _within("scoliosis_deg", self.scoliosis_deg, 0.0, 40.0)
        _within("spacing_xyz_mm (x)", self.spacing_xyz_mm[0], 0.4, 1.5)
        _within("spacing_xyz_mm (z)", self.spacing_xyz_mm[2], 0.5, 5.0)
        _within("field_of_view_mm", self.field_of_view_mm, 120.0, 520.0)
        _within("noise_sd_hu", self.noise_sd_hu, 0.0, 100.0)
        if self.spacing_xyz_mm[0] != self.spacing_xyz_mm[1]:
            raise SettingsError("x and y spacing differ", hint="CT pixels are square")
        if self.kernel not in get_args(Kernel):
            raise SettingsError(f"no kernel {self.kernel!r}", hint=f"choose one of {', '.join(get_args(Kernel))}")
        if set(self.density_k2hpo4_mg_cm3) != set(COLUMN_LEVELS):
            raise SettingsError(
                "densities are not given for exactly the levels of a digital patient", hint=f"give {', '.join(COLUMN_LEVELS)}"
            )
        for level, density in self.density_k2hpo4_mg_cm3.items():
            _within(f"density of {level}", density, 0.0, 400.0)
        if len({fracture.level for fracture in self.fractures}) < len(self.fractures):
            raise SettingsError("two fractures of one level", hint="give one per level")

    def fracture_of(self, level: str) -> VertebralFracture | None:
        """The fracture of a level, if it has one."""
        return next((fracture for fracture in self.fractures if fracture.level == level), None)


def _within(name: str, given: float, low: float, high: float) -> None:
    if not low <= given <= high:
        raise SettingsError(f"{name} is {given}, outside {low} to {high}")
