"""Hounsfield units of tissues, and the line of the digital phantom, per tube voltage.

Tissue values: mixtures after ICRU-44 with mass attenuation of NIST at the effective energies 54.5, 62.5, 70 and 76 keV. The
phantom line is an ideal mixture of K2HPO4 in water at the same energies.
"""

from dataclasses import dataclass
from types import MappingProxyType

from trabecula_morphometry.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueAttenuation:
    """HU of the tissues of a digital patient at one tube voltage, unenhanced."""

    fat_hu: float
    muscle_hu: float
    liver_hu: float
    spleen_hu: float
    blood_hu: float
    cortical_bone_hu: float
    lung_hu: float = -860.0
    kidney_hu: float = 32.0
    bowel_hu: float = 35.0
    fluid_hu: float = 8.0
    disc_hu: float = 75.0
    cord_hu: float = 36.0
    skin_hu: float = 35.0
    cartilage_hu: float = 90.0
    gas_hu: float = -985.0
    table_hu: float = -720.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitalPhantomLine:
    """``HU = slope * density + intercept``: what an error-free scan of the phantom in the same scan would read."""

    slope_hu_per_mg_cm3: float
    intercept_hu: float = 0.0
    material: str = "K2HPO4"

    def hu_of(self, density_k2hpo4_mg_cm3: float) -> float:
        """Attenuation of trabecular bone that this phantom reads as the density."""
        return self.slope_hu_per_mg_cm3 * density_k2hpo4_mg_cm3 + self.intercept_hu

    def density_of(self, hu: float) -> float:
        """Density in mg/cm3 K2HPO4 that this phantom reads at an attenuation."""
        return (hu - self.intercept_hu) / self.slope_hu_per_mg_cm3


_ROWS_HU = {
    # kVp: fat, muscle, liver, spleen, blood, cortical bone of 1.92 g/cm3
    80: (-100, 46, 57, 58, 61, 2249),
    100: (-85, 44, 55, 56, 58, 1822),
    120: (-76, 43, 53, 55, 56, 1559),
    140: (-71, 42, 53, 54, 55, 1409),
}
_TISSUES = MappingProxyType(
    {
        kvp: TissueAttenuation(fat_hu=fat, muscle_hu=muscle, liver_hu=liver, spleen_hu=spleen, blood_hu=blood, cortical_bone_hu=cortical)
        for kvp, (fat, muscle, liver, spleen, blood, cortical) in _ROWS_HU.items()
    }
)
_SLOPES_HU_PER_MG_CM3 = MappingProxyType({80: 1.94, 100: 1.57, 120: 1.35, 140: 1.22})


def tissues_at(tube_voltage_kvp: int) -> TissueAttenuation:
    """Tissue attenuations at a tube voltage."""
    return _TISSUES[_known(tube_voltage_kvp)]


def phantom_line_at(tube_voltage_kvp: int) -> DigitalPhantomLine:
    """The phantom's line at a tube voltage."""
    return DigitalPhantomLine(slope_hu_per_mg_cm3=_SLOPES_HU_PER_MG_CM3[_known(tube_voltage_kvp)])


def _known(tube_voltage_kvp: int) -> int:
    if tube_voltage_kvp not in _TISSUES:
        raise SettingsError(f"no attenuations for {tube_voltage_kvp} kVp", hint=f"choose one of {', '.join(map(str, _TISSUES))}")
    return tube_voltage_kvp
