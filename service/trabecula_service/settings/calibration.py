"""The calibration registry and what is done without an entry."""

from typing import Annotated

from pydantic import Field

from trabecula_service.settings.section import Section


class CalibrationSettings(Section):
    """The calibration registry, its drift limits, and what is done without an entry."""

    allow_estimate: bool = True
    """Whether a density without an entry is estimated from physics (basis "estimate", wide interval, no category). Off: HU only."""
    phantomless: bool = False
    """Whether a density without an entry is calibrated on the patient's own fat and muscle (basis "phantomless", no category) instead of
    being estimated. Off, because it differs from a phantom by 9 mg/cm3 (SD) and more."""
    contrast_correction: bool = True
    """Whether a density of a contrast scan is corrected. Off: the number stays as read, with a wider interval."""
    arterial_mg_cm3: float = 6.0
    """What arterial contrast adds, mg/cm3 (Shetty 2024, Ruehling 2022)."""
    portal_venous_mg_cm3: float = 17.0
    """What portal venous contrast adds, mg/cm3 (the same sources)."""
    delayed_mg_cm3: float = 17.0
    """What delayed contrast adds, mg/cm3; taken as portal venous for want of data."""
    contrast_residual_sd_mg_cm3: Annotated[float, Field(ge=0)] = 9.5
    """SD of what a correction leaves, mg/cm3 (Ruehling 2022)."""
    baseline_count: Annotated[int, Field(ge=2, le=100)] = 10
    """QA scans whose mean is the target of the drift control; until then the certificate's value is."""
    action_percent: Annotated[float, Field(gt=0)] = 1.5
    """Action band around the target, percent: one reading outside warns, two in a row on one side block."""
    block_percent: Annotated[float, Field(gt=0)] = 3.0
    """One reading further off than this, percent, blocks the entry."""
    cusum_slack_sd: Annotated[float, Field(gt=0)] = 0.5
    """Slack k of the CUSUM, SD."""
    cusum_warn_sd: Annotated[float, Field(gt=0)] = 4.0
    """CUSUM that warns, SD."""
    cusum_block_sd: Annotated[float, Field(gt=0)] = 5.0
    """CUSUM that blocks the entry, SD."""
    max_days_without_check: Annotated[int, Field(ge=1)] = 180
    """An entry whose last phantom scan is older, days, counts as expired: wider interval, no category."""
