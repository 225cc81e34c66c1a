"""Drift of a calibrated scanner: QA phantom scans in time against Shewhart and CUSUM limits, and when a line is too old to trust.

Limits: action band of +-1.5 % of the mean and baselines of 10 to 25 scans (Bonnick; DXA practice carried over), Westgard 1-3s and 2-2s,
tabular CUSUM with k = 0.5 SD and h = 4 to 5 SD, 180 days without QA (clinical-facts 1). All are settable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np

from trabecula_calibration.entries import CalibrationEntry, CalibrationEntryError

QA_POINT_MG_CM3 = 120.0
"""Drift is judged where it matters: what the entry's line reads of bone that today's phantom scan puts at 120 mg/cm3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QaCheck:
    """One QA scan: what the entry's line read of ``QA_POINT_MG_CM3`` on a day."""

    entry_id: str
    on: date
    reading_mg_cm3: float
    by: str = ""

    def __post_init__(self) -> None:
        if not self.entry_id or not 0.0 < self.reading_mg_cm3 < 1000.0:
            raise CalibrationEntryError(
                f"a check reads {self.reading_mg_cm3:g} mg/cm3",
                where=self.entry_id,
                hint=f"give what the line reads of {QA_POINT_MG_CM3:g}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRules:
    """When QA readings warn and when they block an entry."""

    baseline_count: int = 10
    action_relative: float = 0.015
    block_relative: float = 0.03
    cusum_slack_sd: float = 0.5
    cusum_warn_sd: float = 4.0
    cusum_block_sd: float = 5.0
    min_sd_relative: float = 0.005
    """Spread of a stable scanner; a lucky baseline must not make the limits narrower."""
    max_days_without_check: int = 180


class DriftStatus(StrEnum):
    """Whether an entry may be used."""

    IN_CONTROL = "in control"
    WARN = "warn"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPoint:
    """One reading with the CUSUM sums after it, in SD."""

    on: date
    reading_mg_cm3: float
    cusum_up_sd: float
    cusum_down_sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftState:
    """What the QA series says of an entry; ``reasons`` are empty when in control."""

    status: DriftStatus
    reasons: tuple[str, ...]
    target_mg_cm3: float
    sd_mg_cm3: float
    points: tuple[DriftPoint, ...]


def qa_reading(entry: CalibrationEntry, slope_mg_cm3_per_hu: float, intercept_mg_cm3: float) -> float:
    """What an entry's line reads of ``QA_POINT_MG_CM3`` on a scanner whose line of today is given."""
    return entry.density_mg_cm3((QA_POINT_MG_CM3 - intercept_mg_cm3) / slope_mg_cm3_per_hu)


def judge_drift(checks: Sequence[QaCheck], rules: DriftRules) -> DriftState:
    """State of one entry from its checks, in any order.

    The target is the mean of the first ``baseline_count`` readings; until there are so many it is the certificate's 120 mg/cm3. Only the
    newest readings count for Shewhart, so a passing fault does not block for ever; the CUSUM remembers.
    """
    ordered = sorted(checks, key=lambda check: check.on)
    readings = np.array([check.reading_mg_cm3 for check in ordered])
    whole = len(readings) >= rules.baseline_count
    target = float(readings[: rules.baseline_count].mean()) if whole else QA_POINT_MG_CM3
    floor = rules.min_sd_relative * target
    sd = max(float(readings[: rules.baseline_count].std(ddof=1)), floor) if whole else 2 * floor
    up, down, points = 0.0, 0.0, []
    for check in ordered:
        z = (check.reading_mg_cm3 - target) / sd
        up, down = max(0.0, up + z - rules.cusum_slack_sd), max(0.0, down - z - rules.cusum_slack_sd)
        points.append(DriftPoint(on=check.on, reading_mg_cm3=check.reading_mg_cm3, cusum_up_sd=up, cusum_down_sd=down))
    warn, block = _judge(readings, target, sd, max(up, down), rules)
    status = DriftStatus.BLOCK if block else DriftStatus.WARN if warn else DriftStatus.IN_CONTROL
    return DriftState(status=status, reasons=(*block, *warn), target_mg_cm3=target, sd_mg_cm3=sd, points=tuple(points))


def _judge(readings: np.ndarray, target: float, sd: float, cusum_sd: float, rules: DriftRules) -> tuple[list[str], list[str]]:
    """Reasons to warn and to block."""
    warn: list[str] = []
    block: list[str] = []
    if len(readings) == 0:
        return warn, block
    off = (readings - target) / target
    if abs(off[-1]) > rules.block_relative:
        block.append(f"the last reading is {off[-1]:+.1%} off its target, beyond {rules.block_relative:.1%}")
    elif len(off) >= 2 and min(abs(off[-1]), abs(off[-2])) > rules.action_relative and off[-1] * off[-2] > 0:
        block.append(f"two readings in a row are beyond {rules.action_relative:.1%} on one side ({off[-2]:+.1%}, {off[-1]:+.1%})")
    elif abs(off[-1]) > rules.action_relative:
        warn.append(f"the last reading is {off[-1]:+.1%} off its target, beyond {rules.action_relative:.1%}")
    z = (readings - target) / sd
    if abs(z[-1]) > 3.0:
        warn.append(f"the last reading is {z[-1]:+.1f} SD off (1-3s)")
    elif len(z) >= 2 and min(abs(z[-1]), abs(z[-2])) > 2.0 and z[-1] * z[-2] > 0:
        warn.append(f"two readings in a row are beyond 2 SD on one side (2-2s; {z[-2]:+.1f}, {z[-1]:+.1f})")
    if cusum_sd > rules.cusum_block_sd:
        block.append(f"the CUSUM is {cusum_sd:.1f} SD, beyond {rules.cusum_block_sd:g}")
    elif cusum_sd > rules.cusum_warn_sd:
        warn.append(f"the CUSUM is {cusum_sd:.1f} SD, beyond {rules.cusum_warn_sd:g}")
    if abs(target - QA_POINT_MG_CM3) / QA_POINT_MG_CM3 > rules.action_relative:
        warn.append(f"the baseline itself reads {target:.1f} of {QA_POINT_MG_CM3:g} mg/cm3: fit a new entry")
    return warn, block
