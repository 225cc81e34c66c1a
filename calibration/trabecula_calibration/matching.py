"""Which calibration entry fits an acquisition, said in words, with the codes and the wider interval that a partial fit costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from trabecula_calibration.drift import DriftStatus
from trabecula_calibration.entries import CalibrationEntry
from trabecula_calibration.registry import Registry, folded
from trabecula_morphometry.codes import Code

SAME_KVP = 1.0
OTHER_UNIT_RELATIVE_SD = 0.02
"""Same model, other unit: 0.0 +- 1.4 % (Skornitzke 2022), rounded up."""

OTHER_MODEL_RELATIVE_SD = 0.10
"""Other scanner type: -5.6 +- 9.2 % (Skornitzke 2022)."""

OTHER_KERNEL_RELATIVE_SD = 0.02
"""Other kernel: 0.2 +- 0.2 % on phantoms, RMSCV 1.3 % in patients (Eur Radiol Exp 2024)."""

EXPIRED_RELATIVE_SD = 0.03
"""Drift of 0.6-2.3 HU per year (Loeffler 2019) over a year or two past the dates, on 80-150 HU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionFacts:
    """What is known of how the image was made; None where unknown."""

    kvp: float | None = None
    manufacturer: str | None = None
    model: str | None = None
    device_serial: str | None = None
    kernel: str | None = None
    slice_spacing_mm: float | None = None
    series_instance_uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The chosen entry, why, and what its misfit adds to the uncertainty (relative, one sigma).

    ``age_days`` counts from the last phantom scan that speaks for the entry (its own or a QA check). ``simultaneous``: the phantom lay
    under the patient in this very series.
    """

    entry: CalibrationEntry
    explanation: str
    codes: tuple[Code, ...]
    relative_sd: float
    age_days: int = 0
    simultaneous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoMatch:
    """No entry fits; the codes say why."""

    explanation: str
    codes: tuple[Code, ...]


def match_entry(facts: AcquisitionFacts, entries: Sequence[CalibrationEntry] | Registry, on_date: date) -> Match | NoMatch:
    """The entry that fits best: same scanner before same model, valid before expired, same kernel before another.

    Another tube voltage or another manufacturer never matches; an entry that drift blocks never matches either. A phantom under the
    patient outranks everything.
    """
    registry = entries if isinstance(entries, Registry) else Registry.of(entries)
    if facts.kvp is None:
        return NoMatch(explanation="The tube voltage is unknown.", codes=(Code.NO_CALIBRATION,))
    own = registry.of_series(facts.series_instance_uid)
    if own is not None and abs(own.kvp - facts.kvp) <= SAME_KVP:
        return Match(entry=own, explanation="phantom in the same scan", codes=(), relative_sd=0.0, simultaneous=True)
    found = registry.candidates(facts.manufacturer, facts.model, facts.device_serial, facts.kvp, SAME_KVP, on_date)
    if not found:
        maker = registry.knows_maker(facts.manufacturer)
        codes = (Code.NO_CALIBRATION, Code.KVP_MISMATCH) if maker else (Code.NO_CALIBRATION,)
        return NoMatch(explanation=f"No entry of this manufacturer at {facts.kvp:g} kVp.", codes=codes)
    entry = min(found, key=lambda entry: _rank(entry, facts, on_date, registry))
    state = registry.drift_of(entry.id, on_date)
    if state.status is DriftStatus.BLOCK:
        # A scanner that has drifted away from its own line is not known any better by a stranger's.
        words = f"Entry {entry.id} is blocked by drift: {state.reasons[0]}."
        return NoMatch(explanation=words, codes=(Code.NO_CALIBRATION, Code.CALIBRATION_DRIFT))
    match = _judge(entry, facts, on_date, registry)
    if state.status is DriftStatus.WARN:
        words = f"{match.explanation}; drift warning: {state.reasons[0]}"
        return replace(match, explanation=words, codes=(*match.codes, Code.CALIBRATION_DRIFT))
    return match


def _rank(entry: CalibrationEntry, facts: AcquisitionFacts, on_date: date, registry: Registry) -> tuple[float, int, str]:
    """How well an entry fits: variance it costs, then the newest, then the name."""
    variance = _scanner_sd(entry, facts) ** 2 + (OTHER_KERNEL_RELATIVE_SD**2 if _other_kernel(entry, facts) else 0.0)
    if not _valid(entry, on_date) or registry.changed_since(entry, on_date) is not None:
        variance += EXPIRED_RELATIVE_SD**2
    # Ties go to the newest entry: a later phantom scan replaces an earlier one.
    return round(variance, 9), -entry.valid_from.toordinal(), entry.id


def _scanner_sd(entry: CalibrationEntry, facts: AcquisitionFacts) -> float:
    if entry.device_serial is not None and folded(entry.device_serial) == folded(facts.device_serial):
        return 0.0
    return OTHER_UNIT_RELATIVE_SD if entry.model is not None and folded(entry.model) == folded(facts.model) else OTHER_MODEL_RELATIVE_SD


def _other_kernel(entry: CalibrationEntry, facts: AcquisitionFacts) -> bool:
    if entry.kernel_family is None:
        return False
    return facts.kernel is None or kernel_family(facts.kernel) != kernel_family(entry.kernel_family)


def _valid(entry: CalibrationEntry, on_date: date) -> bool:
    return entry.valid_from <= on_date and (entry.valid_to is None or on_date <= entry.valid_to)


def _judge(entry: CalibrationEntry, facts: AcquisitionFacts, on_date: date, registry: Registry) -> Match:
    words, codes, variance = [], [], _scanner_sd(entry, facts) ** 2
    age_days = (on_date - registry.last_evidence(entry, on_date)).days
    if variance == 0.0:
        words.append("same scanner")
    else:
        words.append("matched on model, not serial" if variance < OTHER_MODEL_RELATIVE_SD**2 else "matched on manufacturer only")
        codes.append(Code.SCANNER_MISMATCH)
    if _other_kernel(entry, facts):
        words.append("other kernel")
        codes.append(Code.KERNEL_MISMATCH)
        variance += OTHER_KERNEL_RELATIVE_SD**2
    if not _valid(entry, on_date):
        words.append("outside its dates")
        codes.append(Code.CALIBRATION_EXPIRED)
        variance += EXPIRED_RELATIVE_SD**2
    elif (change := registry.changed_since(entry, on_date)) is not None:
        words.append(f"the scanner was changed on {change.on} ({change.what})")
        codes.append(Code.CALIBRATION_EXPIRED)
        variance += EXPIRED_RELATIVE_SD**2
    elif age_days > registry.rules.max_days_without_check:
        words.append(f"no phantom scan for {age_days} days")
        codes.append(Code.CALIBRATION_EXPIRED)
        variance += EXPIRED_RELATIVE_SD**2
    return Match(entry=entry, explanation=", ".join(words), codes=tuple(codes), relative_sd=variance**0.5, age_days=max(age_days, 0))


def kernel_family(kernel: str) -> str:
    """Kernel name without version and iteration suffix: "B30f" and "B31s" are B3, "Br38d" is BR3, "STANDARD" is itself.

    A digit pair of Siemens grades sharpness in tens; within ten the HU of trabecular bone agree.
    """
    text = kernel.strip().upper().split("\\")[0].split("/")[0]
    head = ""
    for character in text:
        head += character
        if character.isdigit():
            break
    return head
