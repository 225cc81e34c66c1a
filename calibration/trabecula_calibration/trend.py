"""Change of a density against an earlier one: only on one basis and material, with the least significant change stated."""

from dataclasses import dataclass
from enum import StrEnum

from trabecula_calibration.density import Basis, Density

LSC_FACTOR = 2.77
"""1.96 x sqrt(2): a smaller change has less than 95 % confidence (ISCD)."""

PRECISION_SAME_SCANNER = 0.047
PRECISION_OTHER_SCANNER = 0.049
PRECISION_OTHER_PHASE = 0.029
PRECISION_OTHER_KERNEL = 0.013
"""Relative RMS precision errors of repeat CT: other session, scanner, contrast phase, kernel (Eur Radiol Exp 2024, s41747-024-00483-9)."""


_ON_A_PHANTOM = frozenset({Basis.CALIBRATED, Basis.SIMULTANEOUS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """What differs between the two scans besides the day."""

    other_scanner: bool = False
    other_kvp: bool = False
    other_kernel: bool = False
    other_phase: bool = False
    other_voi: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change in mg/cm3 of one material, and the least change that would be significant."""

    change_mg_cm3: float
    least_significant_mg_cm3: float

    @property
    def significant(self) -> bool:
        """Whether the change is larger than what repeating the scan may give."""
        return abs(self.change_mg_cm3) >= self.least_significant_mg_cm3


class Obstacle(StrEnum):
    """What keeps two densities from being subtracted."""

    MATERIAL = "material"
    BASIS = "basis"
    SCANNER = "scanner"
    """Lines that no phantom ties together: what differs may be the scanners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotComparable:
    """Why two densities must not be subtracted."""

    obstacle: Obstacle
    reason: str


def change_between(earlier: Density, later: Density, differences: Differences) -> Change | NotComparable:
    """Change from an earlier to a later mean density.

    Two densities on phantom lines (asynchronous or in the scan) can be compared; two estimates only on one scanner at one tube voltage,
    where the error of the estimate is the same in both.
    """
    if earlier.material is not later.material:
        reason = f"base materials differ: {earlier.material.value} and {later.material.value}"
        return NotComparable(obstacle=Obstacle.MATERIAL, reason=reason)
    if differences.other_voi:
        return NotComparable(obstacle=Obstacle.BASIS, reason="the volumes of interest were placed by different rules")
    if not {earlier.basis, later.basis} <= _ON_A_PHANTOM:
        if earlier.basis is not later.basis:
            return NotComparable(obstacle=Obstacle.BASIS, reason=f"bases differ: {earlier.basis.value} and {later.basis.value}")
        if differences.other_scanner or differences.other_kvp:
            reason = f"basis {later.basis.value}, and the scanner or the tube voltage is another one"
            return NotComparable(obstacle=Obstacle.SCANNER, reason=reason)
    scanner = PRECISION_OTHER_SCANNER if differences.other_scanner else PRECISION_SAME_SCANNER
    kernel = PRECISION_OTHER_KERNEL if differences.other_kernel else 0.0
    phase = PRECISION_OTHER_PHASE if differences.other_phase else 0.0
    level = 0.5 * (abs(earlier.value_mg_cm3) + abs(later.value_mg_cm3))
    precision = (scanner**2 + kernel**2 + phase**2) ** 0.5 * level
    return Change(change_mg_cm3=later.value_mg_cm3 - earlier.value_mg_cm3, least_significant_mg_cm3=LSC_FACTOR * precision)
