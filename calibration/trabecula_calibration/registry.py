"""The calibration registry: entries, QA checks and changes of scanners, indexed so that a match among ten thousand takes under 5 ms."""

import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from trabecula_calibration.changes import ScannerChange
from trabecula_calibration.drift import DriftRules, DriftState, DriftStatus, QaCheck, judge_drift
from trabecula_calibration.entries import (
    CalibrationEntry,
    CalibrationEntryError,
    calibration_tables,
    entry_toml,
    parse_entries,
    parsed_date,
    parsed_number,
    parsed_text,
    table_toml,
)

_Group = tuple[str, float]
"""Folded manufacturer and tube voltage."""

_Lists = dict[str | None, list[CalibrationEntry]]
"""Entries per kernel family, oldest first."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Index:
    """Entries in force by maker and tube voltage: of each serial number, of each model, and of all."""

    makers: frozenset[str | None]
    voltages: Mapping[str | None, frozenset[float]]
    by_serial: Mapping[tuple[_Group, str], _Lists]
    by_model: Mapping[tuple[_Group, str], _Lists]
    by_maker: Mapping[_Group, _Lists]
    by_series: Mapping[str, list[CalibrationEntry]]


def _index(entries: Sequence[CalibrationEntry]) -> _Index:
    superseded = {entry.supersedes for entry in entries if entry.supersedes is not None}
    voltages: dict[str | None, set[float]] = defaultdict(set)
    by_serial: dict[tuple[_Group, str], _Lists] = defaultdict(lambda: defaultdict(list))
    by_model: dict[tuple[_Group, str], _Lists] = defaultdict(lambda: defaultdict(list))
    by_maker: dict[_Group, _Lists] = defaultdict(lambda: defaultdict(list))
    by_series: dict[str, list[CalibrationEntry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: (entry.valid_from, entry.id)):
        if entry.id in superseded:
            continue
        if entry.series_instance_uid is not None:
            by_series[entry.series_instance_uid].append(entry)
            continue
        maker = folded(entry.manufacturer)
        group = (maker or "", entry.kvp)
        voltages[maker].add(entry.kvp)
        by_maker[group][entry.kernel_family].append(entry)
        for names, value in ((by_serial, entry.device_serial), (by_model, entry.model)):
            if value is not None:
                names[group, folded(value) or ""][entry.kernel_family].append(entry)
    return _Index(
        makers=frozenset(voltages),
        voltages={maker: frozenset(found) for maker, found in voltages.items()},
        by_serial=by_serial,
        by_model=by_model,
        by_maker=by_maker,
        by_series=by_series,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Registry:
    """All entries, QA checks and changes of scanners; build with ``Registry.of``, it never changes afterwards.

    Entries that another one supersedes stay listed but never match.
    """

    entries: tuple[CalibrationEntry, ...]
    checks: tuple[QaCheck, ...]
    rules: DriftRules
    changes: tuple[ScannerChange, ...]
    _found: _Index
    _checks_of: Mapping[str, list[QaCheck]]
    _changes_of: Mapping[tuple[str | None, str | None], list[ScannerChange]]

    @classmethod
    def of(
        cls,
        entries: Iterable[CalibrationEntry],
        checks: Iterable[QaCheck] = (),
        rules: DriftRules | None = None,
        changes: Iterable[ScannerChange] = (),
    ) -> "Registry":
        """Index entries, checks and changes."""
        listed, checked, changed = tuple(entries), tuple(checks), tuple(changes)
        checks_of: dict[str, list[QaCheck]] = defaultdict(list)
        for check in checked:
            checks_of[check.entry_id].append(check)
        changes_of: dict[tuple[str | None, str | None], list[ScannerChange]] = defaultdict(list)
        for change in sorted(changed, key=lambda change: change.on):
            changes_of[folded(change.manufacturer), folded(change.device_serial)].append(change)
        return cls(listed, checked, rules or DriftRules(), changed, _index(listed), checks_of, changes_of)

    def in_force(self) -> tuple[CalibrationEntry, ...]:
        """Entries that no other one supersedes."""
        superseded = {entry.supersedes for entry in self.entries}
        return tuple(entry for entry in self.entries if entry.id not in superseded)

    def of_series(self, series_instance_uid: str | None) -> CalibrationEntry | None:
        """The newest line of a phantom that lay under the patient in this very series."""
        found = self._found.by_series.get(series_instance_uid or "", [])
        return found[-1] if found else None

    def knows_maker(self, manufacturer: str | None) -> bool:
        """Whether any entry in force is of this manufacturer."""
        return folded(manufacturer) in self._found.makers

    def candidates(
        self, manufacturer: str | None, model: str | None, device_serial: str | None, kvp: float, tolerance_kvp: float, on_date: date
    ) -> list[CalibrationEntry]:
        """The newest entries at a tube voltage per kernel: of this scanner (blocked ones too), of its model, of its maker."""
        maker, found = folded(manufacturer), []
        for at in self._found.voltages.get(maker, frozenset()):
            group = (maker or "", at)
            if abs(at - kvp) > tolerance_kvp:
                continue
            own = self._found.by_serial.get((group, folded(device_serial) or ""), {})
            found += [newest_on(entries, on_date) for entries in own.values()]
            others = (self._found.by_model.get((group, folded(model) or ""), {}), self._found.by_maker[group])
            found += [newest_on(entries, on_date, self._unblocked) for lists in others for entries in lists.values()]
        return list({entry.id: entry for entry in found}.values())

    def _unblocked(self, entry: CalibrationEntry, on_date: date) -> bool:
        return entry.id not in self._checks_of or self.drift_of(entry.id, on_date).status is not DriftStatus.BLOCK

    def drift_of(self, entry_id: str, on_date: date) -> DriftState:
        """State of an entry from its checks up to a day."""
        return judge_drift([check for check in self._checks_of.get(entry_id, []) if check.on <= on_date], self.rules)

    def changed_since(self, entry: CalibrationEntry, on_date: date) -> ScannerChange | None:
        """The latest change of an entry's scanner after the entry began and up to a day."""
        known = self._changes_of.get((folded(entry.manufacturer), folded(entry.device_serial)), [])
        return next((change for change in reversed(known) if entry.valid_from < change.on <= on_date), None)

    def last_evidence(self, entry: CalibrationEntry, on_date: date) -> date:
        """Day of the last phantom scan that speaks for an entry: its own, or its last check."""
        return max([entry.valid_from, *(check.on for check in self._checks_of.get(entry.id, []) if check.on <= on_date)])


def newest_on(
    entries: Sequence[CalibrationEntry], on_date: date, usable: Callable[[CalibrationEntry, date], bool] | None = None
) -> CalibrationEntry:
    """The newest of a list (oldest first) that is valid and usable on a day; else the newest that had begun; else the first."""
    begun = bisect.bisect_right(entries, on_date, key=lambda entry: entry.valid_from)
    for entry in reversed(entries[:begun]):
        if (entry.valid_to is None or entry.valid_to >= on_date) and (usable is None or usable(entry, on_date)):
            return entry
    return entries[max(begun - 1, 0)]


def folded(text: str | None) -> str | None:
    """A name as it is compared."""
    return text.strip().casefold() if text is not None else None


_CHANGE_KEYS = {"manufacturer", "device_serial", "on", "what", "by"}
_CHECK_KEYS = {"entry", "on", "reading_mg_cm3", "by"}


def parse_registry(toml_text: str, rules: DriftRules | None = None) -> Registry:
    """Entries, checks and changes from TOML.

    Raises
    ------
    CalibrationEntryError : malformed or implausible, with the table and the reason.
    """
    tables = calibration_tables(toml_text)
    checks = [_parse_check(table, index) for index, table in enumerate(tables["check"])]
    changes = [_parse_change(table, index) for index, table in enumerate(tables["change"])]
    return Registry.of(parse_entries(toml_text), checks, rules, changes)


def _parse_change(table: object, index: int) -> ScannerChange:
    where = f"change {index + 1}"
    if not isinstance(table, Mapping) or not set(table) <= _CHANGE_KEYS or not _CHANGE_KEYS - {"by"} <= set(table):
        raise CalibrationEntryError(
            "a change has unknown or missing keys", where=where, hint=f"known keys: {', '.join(sorted(_CHANGE_KEYS))}"
        )
    try:
        texts = {key: parsed_text(table.get(key, "")) for key in _CHANGE_KEYS - {"on"}}
        return ScannerChange(on=parsed_date(table["on"]), **texts)
    except ValueError as error:
        raise CalibrationEntryError("a value has the wrong type", where=where, hint=str(error)) from error


def _parse_check(table: object, index: int) -> QaCheck:
    where = f"check {index + 1}"
    if not isinstance(table, Mapping) or not set(table) <= _CHECK_KEYS or not _CHECK_KEYS - {"by"} <= set(table):
        raise CalibrationEntryError(
            "a check has unknown or missing keys", where=where, hint=f"known keys: {', '.join(sorted(_CHECK_KEYS))}"
        )
    try:
        return QaCheck(
            entry_id=parsed_text(table["entry"]),
            on=parsed_date(table["on"]),
            reading_mg_cm3=parsed_number(table["reading_mg_cm3"]),
            by=parsed_text(table.get("by", "")),
        )
    except ValueError as error:
        raise CalibrationEntryError("a value has the wrong type", where=where, hint=str(error)) from error


def registry_toml(entries: Iterable[CalibrationEntry], checks: Iterable[QaCheck] = (), changes: Iterable[ScannerChange] = ()) -> str:
    """Entries, checks and changes as TOML; ``parse_registry`` gives them back. Without any entry the list is empty, not missing."""
    parts = [entry_toml(entry) for entry in entries] or ["entry = []\n"]
    for check in checks:
        parts.append(table_toml("check", {"entry": check.entry_id, "on": check.on, "reading_mg_cm3": check.reading_mg_cm3, "by": check.by}))
    for change in changes:
        values = {"manufacturer": change.manufacturer, "device_serial": change.device_serial, "on": change.on, "what": change.what}
        parts.append(table_toml("change", {**values, "by": change.by}))
    return "\n".join(parts)
