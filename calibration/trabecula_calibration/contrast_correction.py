"""What intravenous contrast adds to a density, per phase, with its own uncertainty: data that a site may replace by its own."""

from dataclasses import dataclass

from trabecula_calibration.contrast import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastCorrections:
    """Subtracted from the density in mg/cm3, and the SD of what is left.

    Shetty 2024 found +6.2 and +16.7, Ruehling 2022 5.7 and 17.5 with a residual of 9.45. Delayed is taken as portal venous for want of
    data. Unknown phase: anything from 0 to +17 and its spread, so nothing is subtracted. ``source`` is named in the report.
    """

    arterial_mg_cm3: float = 6.0
    portal_venous_mg_cm3: float = 17.0
    delayed_mg_cm3: float = 17.0
    residual_sd_mg_cm3: float = 9.5
    unknown_sd_mg_cm3: float = 12.0
    apply: bool = True
    source: str = "Shetty 2024, Ruehling 2022"

    def subtract_mg_cm3(self, phase: Phase) -> float:
        """What a phase's contrast adds; 0 where nothing is subtracted."""
        if not self.apply:
            return 0.0
        by_phase = {
            Phase.ARTERIAL: self.arterial_mg_cm3,
            Phase.PORTAL_VENOUS: self.portal_venous_mg_cm3,
            Phase.DELAYED: self.delayed_mg_cm3,
        }
        return by_phase.get(phase, 0.0)

    def sd_mg_cm3(self, phase: Phase) -> float:
        """One sigma of what contrast leaves uncertain; without a correction its size counts too."""
        if phase is Phase.UNENHANCED:
            return 0.0
        if phase is Phase.UNKNOWN:
            return self.unknown_sd_mg_cm3
        return self.residual_sd_mg_cm3 if self.apply else float((self.residual_sd_mg_cm3**2 + self.portal_venous_mg_cm3**2) ** 0.5)
