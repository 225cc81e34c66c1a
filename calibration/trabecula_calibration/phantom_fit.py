"""From the attenuation of a phantom's inserts to the scanner's line, with residuals and the reasons to refuse it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trabecula_calibration.entries import MAX_INTERCEPT_MG_CM3, SLOPE_TOLERANCE
from trabecula_calibration.phantom_definition import Arithmetic, Insert, PhantomDefinition
from trabecula_calibration.physics import Material, physics_slope

MINDWAYS_SIGMA_K = 0.2174
MINDWAYS_BETA_W = 999.6
"""sigma_CT = sigma_ref - 0.2174 (volume of water that a gram of K2HPO4 displaces), beta_CT = beta_ref + 999.6 (QCT PRO v5.0, via Ogo)."""

MIN_R2 = 0.995
MAX_RESIDUAL_MG_CM3 = 8.0
"""Largest distance of an insert from the line; more is an insert that was mistaken or a value that is not this phantom's (choice)."""

MAX_STANDARD_ERROR_MG_CM3 = 1.0
"""Noise may move an insert's mean by so much; more calls for more slices or dose (choice)."""

UNCHECKED_RESIDUAL_SD_MG_CM3 = 3.0
"""Two inserts always lie on a line; this SD stands for what they cannot show (unit-to-unit 1-2 % of the higher insert)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertReading:
    """Attenuation of one insert: mean and SD of its voxels, and how many independent ones there are."""

    name: str
    mean_hu: float
    sd_hu: float
    independent_count: float

    @property
    def standard_error_hu(self) -> float:
        """Noise of the mean."""
        return float(self.sd_hu / max(self.independent_count, 1.0) ** 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomLine:
    """``density = slope * HU + intercept`` in mg/cm3 of ``material``; residuals per insert are reading minus certificate."""

    slope_mg_cm3_per_hu: float
    intercept_mg_cm3: float
    material: Material
    r2: float
    residuals_mg_cm3: Mapping[str, float]
    residual_sd_mg_cm3: float
    standard_errors_mg_cm3: Mapping[str, float]


def fit_phantom_line(definition: PhantomDefinition, readings: Mapping[str, InsertReading]) -> PhantomLine:
    """Least-squares line of a phantom scan, HU against the certificate's densities (the values without error), turned round.

    Parameters
    ----------
    definition : the phantom.
    readings : one per insert, by name.
    """
    hu = np.array([readings[insert.name].mean_hu for insert in definition.inserts])
    density = np.array([insert.density_mg_cm3 for insert in definition.inserts])
    hu_per_density, hu_offset, r2 = _regress(definition, hu, density)
    slope, intercept = 1.0 / hu_per_density, -hu_offset / hu_per_density
    fitted = np.array([insert_hu(definition, insert, hu_per_density, hu_offset) for insert in definition.inserts])
    residuals = slope * (hu - fitted)
    freedom = len(hu) - 2
    residual_sd = float(np.sqrt((residuals**2).sum() / freedom)) if freedom > 0 else UNCHECKED_RESIDUAL_SD_MG_CM3
    return PhantomLine(
        slope_mg_cm3_per_hu=float(slope),
        intercept_mg_cm3=float(intercept),
        material=definition.material,
        r2=r2,
        residuals_mg_cm3={insert.name: float(value) for insert, value in zip(definition.inserts, residuals, strict=True)},
        residual_sd_mg_cm3=residual_sd,
        standard_errors_mg_cm3={name: float(abs(slope)) * reading.standard_error_hu for name, reading in readings.items()},
    )


def _regress(definition: PhantomDefinition, hu: NDArray[np.float64], density: NDArray[np.float64]) -> tuple[float, float, float]:
    """HU per mg/cm3, HU at zero density, r2."""
    if definition.arithmetic is Arithmetic.DIRECT:
        gain, offset = np.polyfit(density, hu, 1)
        return float(gain), float(offset), _r2(hu, gain * density + offset)
    above_water = hu - np.array([_water_of(insert) for insert in definition.inserts])
    gain, offset = np.polyfit(density, above_water, 1)
    return float(gain) - MINDWAYS_SIGMA_K, float(offset) + MINDWAYS_BETA_W, _r2(above_water, gain * density + offset)


def _r2(seen: NDArray[np.float64], fitted: NDArray[np.float64]) -> float:
    spread = float(((seen - seen.mean()) ** 2).sum())
    return 1.0 - float(((seen - fitted) ** 2).sum()) / spread if spread > 0 else 0.0


def insert_hu(definition: PhantomDefinition, insert: Insert, hu_per_mg_cm3: float, offset_hu: float) -> float:
    """Attenuation of an insert on a scanner where the base material in water reads ``hu_per_mg_cm3 * density + offset_hu``."""
    if definition.arithmetic is Arithmetic.DIRECT:
        return hu_per_mg_cm3 * insert.density_mg_cm3 + offset_hu
    sigma, beta = hu_per_mg_cm3 + MINDWAYS_SIGMA_K, offset_hu - MINDWAYS_BETA_W
    return _water_of(insert) + sigma * insert.density_mg_cm3 + beta


def _water_of(insert: Insert) -> float:
    return insert.water_mg_cm3 if insert.water_mg_cm3 is not None else 0.0


def reasons_to_refuse(line: PhantomLine, tube_voltage_kvp: float) -> tuple[str, ...]:
    """Why a fitted line must not become an entry; empty where it may."""
    reasons = []
    expected = physics_slope(tube_voltage_kvp, line.material)
    if expected is None:
        reasons.append(f"the tube voltage of {tube_voltage_kvp:g} kVp is outside 80-140")
    elif not abs(line.slope_mg_cm3_per_hu / expected - 1.0) <= SLOPE_TOLERANCE:
        reasons.append(
            f"slope {line.slope_mg_cm3_per_hu:.3f} mg/cm3 per HU is more than {SLOPE_TOLERANCE:.0%} from the {expected:.2f} that physics "
            f"expects at {tube_voltage_kvp:g} kVp: wrong phantom, wrong certificate or wrong kVp"
        )
    if not abs(line.intercept_mg_cm3) <= MAX_INTERCEPT_MG_CM3:
        reasons.append(f"intercept {line.intercept_mg_cm3:.1f} mg/cm3 is beyond {MAX_INTERCEPT_MG_CM3:g}: HU of water are wrong")
    if not line.r2 >= MIN_R2:
        reasons.append(f"r2 {line.r2:.4f} is below {MIN_R2}: an insert was mistaken or the certificate is another unit's")
    worst = max(line.residuals_mg_cm3, key=lambda name: abs(line.residuals_mg_cm3[name]))
    if not abs(line.residuals_mg_cm3[worst]) <= MAX_RESIDUAL_MG_CM3:
        reasons.append(f"insert {worst} lies {line.residuals_mg_cm3[worst]:+.1f} mg/cm3 from the line, more than {MAX_RESIDUAL_MG_CM3:g}")
    noisy = max(line.standard_errors_mg_cm3, key=lambda name: line.standard_errors_mg_cm3[name])
    if not line.standard_errors_mg_cm3[noisy] <= MAX_STANDARD_ERROR_MG_CM3:
        reasons.append(
            f"noise moves insert {noisy} by {line.standard_errors_mg_cm3[noisy]:.1f} mg/cm3, more than {MAX_STANDARD_ERROR_MG_CM3:g}: "
            "scan more slices or with more dose"
        )
    return tuple(reasons)
