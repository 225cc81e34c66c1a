"""What a site allows where densities are concerned: estimates, phantomless lines, contrast corrections, drift limits."""

from dataclasses import dataclass, field

from trabecula_calibration.contrast_correction import ContrastCorrections
from trabecula_calibration.drift import DriftRules


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPolicy:
    """Defaults as in the settings section ``[calibration]``.

    ``phantom`` names a phantom that lies under the patient: its line, read from the very images, is used before any entry.
    """

    allow_estimate: bool = True
    phantomless: bool = False
    corrections: ContrastCorrections = field(default_factory=ContrastCorrections)
    rules: DriftRules = field(default_factory=DriftRules)
    phantom: str | None = None
