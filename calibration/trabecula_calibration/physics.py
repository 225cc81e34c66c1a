"""The slope from HU to mg/cm3 that physics predicts for a tube voltage, where no phantom scan is at hand.

Ideal mixture of calcium hydroxyapatite (HA) or K2HPO4 in water with the displaced volume, at an assumed effective energy per tube
voltage (tabulated attenuation, 54.5 keV at 80 kVp to 76 keV at 140 kVp). An effective energy off by 4 keV moves the slope by 8 %.
Published lines agree with the HA row: 0.78 at 120 kVp (Schwaiger, AJNR 2014;35:1628).
"""

from enum import StrEnum

import numpy as np


class Material(StrEnum):
    """Base material that a density is an equivalent of; a number without it is meaningless (K2HPO4 values are 14-19 % lower)."""

    K2HPO4 = "K2HPO4"
    HA = "HA"


TUBE_VOLTAGES_KVP = (80.0, 90.0, 100.0, 110.0, 120.0, 130.0, 140.0)
SLOPES_MG_CM3_PER_HU: dict[Material, tuple[float, ...]] = {
    Material.HA: (0.51, 0.58, 0.64, 0.71, 0.77, 0.81, 0.86),
    Material.K2HPO4: (0.51, 0.58, 0.64, 0.69, 0.74, 0.78, 0.82),
}

ESTIMATE_SLOPE_RELATIVE_SD = 0.12
"""Effective energy, patient size and scanner: Skornitzke 2022 found -9.2 +- 14.0 % over eight scanners, -5.6 +- 9.2 % for another type."""

ESTIMATE_OFFSET_SD_MG_CM3 = 8.0
"""Intercept: HU of water and marrow fat shift it; phantom lines lie within +-10 mg/cm3 (the golden Mindways line has 8.1)."""


def physics_slope(kvp: float, material: Material) -> float | None:
    """Slope a in mg/cm3 per HU, interpolated between 80 and 140 kVp; None outside, nothing is extrapolated."""
    if not TUBE_VOLTAGES_KVP[0] <= kvp <= TUBE_VOLTAGES_KVP[-1]:
        return None
    return float(np.interp(kvp, TUBE_VOLTAGES_KVP, SLOPES_MG_CM3_PER_HU[material]))
