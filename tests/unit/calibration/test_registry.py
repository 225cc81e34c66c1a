"""The registry: append-only in the ledger, explained matching, quick among ten thousand, drift and expiry."""

import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import DatabaseError

from builders.calibrations import ENTRY
from trabecula_calibration.changes import ScannerChange
from trabecula_calibration.drift import DriftRules, DriftStatus, QaCheck, judge_drift, qa_reading
from trabecula_calibration.entries import CalibrationEntry, CalibrationEntryError
from trabecula_calibration.matching import AcquisitionFacts, Match, NoMatch, match_entry
from trabecula_calibration.physics import physics_slope
from trabecula_calibration.registry import Registry, parse_registry, registry_toml
from trabecula_morphometry.codes import Code
from trabecula_service.ledger.calibrations import add_changes, add_checks, add_entries, load_registry
from trabecula_service.ledger.database import open_ledger
from trabecula_service.ledger.schema import calibration_changes, calibration_checks, calibration_entries

TODAY = date(2026, 6, 1)
FACTS = AcquisitionFacts(kvp=120, manufacturer="GE Medical Systems", model="Discovery", device_serial="17", kernel="STANDARD")


def checks_of(readings: list[float], entry_id: str = ENTRY.id, first: date = date(2026, 1, 8)) -> list[QaCheck]:
    return [QaCheck(entry_id=entry_id, on=first + timedelta(days=7 * i), reading_mg_cm3=value) for i, value in enumerate(readings)]


STEADY = [120.0, 120.3, 119.8, 120.1, 119.9, 120.2, 119.7, 120.0, 120.1, 119.9]


@pytest.mark.parametrize("same", [False, True])
def test_a_match_among_ten_thousand_takes_under_5_ms(same: bool) -> None:
    kvps = (80, 100, 120, 140)
    entries = [
        replace(
            ENTRY,
            id=f"e{i}",
            manufacturer="GE" if same else f"maker {i % 5}",
            model="X" if same else f"model {i % 40}",
            device_serial=str(i if same else i % 400),
            kvp=120 if same else kvps[i % 4],
            slope_mg_cm3_per_hu=physics_slope(120 if same else kvps[i % 4], ENTRY.material) or 0.0,
            valid_from=date(2020, 1, 1) + timedelta(days=i % 2000),
            valid_to=None,
        )
        for i in range(10_000)
    ]
    registry = Registry.of(entries)
    facts = AcquisitionFacts(kvp=120, manufacturer="ge" if same else "maker 2", model="x" if same else "model 22", device_serial="77")
    times = []
    for _ in range(15):
        started = time.perf_counter()
        found = match_entry(facts, registry, TODAY)
        times.append(time.perf_counter() - started)
    assert isinstance(found, Match)
    assert sorted(times)[7] < 0.005


def test_a_registry_goes_through_toml_unchanged() -> None:
    full = replace(ENTRY, id='odd "id"', phantom="esp", phantom_serial="7", entered_by="Ann\nB", entered_on=TODAY, r2=0.9991, source="x\\y")
    registry = Registry.of([ENTRY, full], checks_of(STEADY))
    text = registry_toml(registry.entries, registry.checks)
    again = parse_registry(text)
    assert (again.entries, again.checks) == (registry.entries, registry.checks)
    assert [entry.content_sha256 for entry in again.entries] == [entry.content_sha256 for entry in registry.entries]


def test_a_superseded_entry_never_matches_and_stays_listed() -> None:
    corrected = replace(ENTRY, id="b", intercept_mg_cm3=3.0, supersedes=ENTRY.id, valid_from=date(2025, 1, 1))
    registry = Registry.of([ENTRY, corrected])
    found = match_entry(FACTS, registry, TODAY)
    assert isinstance(found, Match)
    assert found.entry.id == "b"
    assert len(registry.entries) == 2


def test_a_phantom_under_the_patient_outranks_every_entry_but_holds_for_its_series_alone() -> None:
    own = replace(ENTRY, id="own", series_instance_uid="1.2.3", intercept_mg_cm3=2.0)
    registry = Registry.of([ENTRY, own])
    found = match_entry(replace(FACTS, series_instance_uid="1.2.3"), registry, TODAY)
    assert isinstance(found, Match)
    assert (found.entry.id, found.simultaneous, found.relative_sd) == ("own", True, 0.0)
    other = match_entry(replace(FACTS, series_instance_uid="9.9"), registry, TODAY)
    assert isinstance(other, Match)
    assert other.entry.id == ENTRY.id


def test_steady_checks_are_in_control_and_renew_the_evidence() -> None:
    registry = Registry.of([replace(ENTRY, valid_to=None)], checks_of(STEADY))
    assert registry.drift_of(ENTRY.id, TODAY).status is DriftStatus.IN_CONTROL
    late = date(2026, 3, 1) + timedelta(days=200)
    found = match_entry(FACTS, Registry.of([replace(ENTRY, valid_to=None)], checks_of([120.0], first=late - timedelta(days=10))), late)
    assert isinstance(found, Match)
    assert Code.CALIBRATION_EXPIRED not in found.codes
    assert found.age_days == 10


def test_an_entry_without_a_phantom_scan_for_180_days_counts_as_expired() -> None:
    found = match_entry(FACTS, Registry.of([replace(ENTRY, valid_to=None)]), ENTRY.valid_from + timedelta(days=181))
    assert isinstance(found, Match)
    assert Code.CALIBRATION_EXPIRED in found.codes
    assert "181 days" in found.explanation


@pytest.mark.parametrize(
    ("after", "status", "said"),
    [
        ([122.1], DriftStatus.WARN, "1.5%"),
        ([122.1, 122.2], DriftStatus.BLOCK, "two readings in a row"),
        ([124.0], DriftStatus.BLOCK, "3.0%"),
        ([120.7] * 12, DriftStatus.BLOCK, "CUSUM"),
        ([120.7] * 7, DriftStatus.WARN, "CUSUM"),
        ([118.4, 120.1], DriftStatus.IN_CONTROL, ""),
    ],
)
def test_shewhart_and_cusum_limits_warn_and_block(after: list[float], status: DriftStatus, said: str) -> None:
    state = judge_drift(checks_of(STEADY + after), DriftRules())
    assert state.status is status
    assert said in " ".join(state.reasons)


def test_a_drifted_entry_is_flagged_and_a_blocked_one_never_used() -> None:
    warned = match_entry(FACTS, Registry.of([ENTRY], checks_of([*STEADY, 122.1])), TODAY)
    assert isinstance(warned, Match)
    assert Code.CALIBRATION_DRIFT in warned.codes
    blocked = match_entry(FACTS, Registry.of([ENTRY], checks_of([*STEADY, 125.0])), TODAY)
    assert isinstance(blocked, NoMatch)
    assert set(blocked.codes) == {Code.NO_CALIBRATION, Code.CALIBRATION_DRIFT}


def test_a_new_entry_after_a_tube_change_starts_its_own_series() -> None:
    after = replace(ENTRY, id="new tube", valid_from=date(2026, 4, 1), intercept_mg_cm3=-4.0)
    found = match_entry(FACTS, Registry.of([ENTRY, after], checks_of([*STEADY, 125.0])), TODAY)
    assert isinstance(found, Match)
    assert found.entry.id == "new tube"


def test_a_qa_reading_is_what_the_old_line_reads_of_120() -> None:
    assert qa_reading(ENTRY, 0.74, 0.0) == pytest.approx(120.0)
    # 2 HU more on every insert: the entry reads 1.5 mg/cm3 too much.
    assert qa_reading(ENTRY, 0.74, -0.74 * 2) == pytest.approx(120.0 + 1.48)


def test_the_ledger_only_ever_adds(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.sqlite")
    with ledger.write() as connection:
        assert add_entries(connection, (ENTRY,), by="ann", now=1.0) == (ENTRY,)
        assert add_entries(connection, (ENTRY,), by="bob", now=2.0) == ()
        assert add_checks(connection, tuple(checks_of(STEADY)), by="ann", now=3.0) == 10
        assert add_checks(connection, tuple(checks_of(STEADY)), by="ann", now=4.0) == 0
    for statement in (update(calibration_entries).values(toml=""), delete(calibration_entries), delete(calibration_checks)):
        with pytest.raises(DatabaseError, match="append-only"), ledger.write() as connection:
            connection.execute(statement)
    with ledger.read() as connection:
        registry = load_registry(connection)
    assert registry.entries == (ENTRY,)
    assert len(registry.checks) == 10
    ledger.close()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (replace(ENTRY, intercept_mg_cm3=9.0), "supersedes"),
        (replace(ENTRY, id="c", supersedes="absent"), "not there"),
    ],
)
def test_the_ledger_refuses_a_changed_or_orphaned_entry(tmp_path: Path, entry: CalibrationEntry, said: str) -> None:
    ledger = open_ledger(tmp_path / "ledger.sqlite")
    with ledger.write() as connection:
        add_entries(connection, (ENTRY,), by="ann", now=1.0)
    with pytest.raises(CalibrationEntryError, match=said), ledger.write() as connection:
        add_entries(connection, (entry,), by="ann", now=2.0)
    ledger.close()


@pytest.mark.parametrize("factor", [0.79, 1.21])
def test_a_slope_20_percent_off_the_physics_row_is_refused_on_import(factor: float) -> None:
    text = registry_toml([ENTRY]).replace("slope = 0.74", f"slope = {0.74 * factor:.4f}")
    with pytest.raises(CalibrationEntryError, match="more than 20 %"):
        parse_registry(text)


NEW_TUBE = ScannerChange(manufacturer="ge medical systems", device_serial="17", on=date(2026, 3, 1), what="new tube")


def test_an_entry_from_before_a_change_of_its_scanner_counts_as_expired() -> None:
    registry = Registry.of([ENTRY], changes=[NEW_TUBE])
    before, after = (match_entry(FACTS, registry, day) for day in (date(2026, 2, 28), date(2026, 3, 1)))
    assert isinstance(before, Match)
    assert isinstance(after, Match)
    assert Code.CALIBRATION_EXPIRED not in before.codes
    assert Code.CALIBRATION_EXPIRED in after.codes
    assert "changed on 2026-03-01 (new tube)" in after.explanation


def test_a_phantom_scan_after_the_change_stands() -> None:
    fresh = replace(ENTRY, id="fresh", valid_from=date(2026, 3, 1))
    found = match_entry(FACTS, Registry.of([ENTRY, fresh], changes=[NEW_TUBE]), date(2026, 3, 2))
    assert isinstance(found, Match)
    assert (found.entry.id, found.codes) == ("fresh", ())


def test_a_change_of_another_scanner_says_nothing() -> None:
    other = replace(NEW_TUBE, device_serial="18")
    found = match_entry(FACTS, Registry.of([ENTRY], changes=[other]), date(2026, 4, 1))
    assert isinstance(found, Match)
    assert Code.CALIBRATION_EXPIRED not in found.codes


def test_changes_go_through_toml_and_the_ledger_unchanged_and_stay(tmp_path: Path) -> None:
    text = registry_toml([ENTRY], (), [NEW_TUBE])
    assert parse_registry(text).changes == (NEW_TUBE,)
    ledger = open_ledger(tmp_path / "ledger.sqlite")
    try:
        with ledger.write() as connection:
            assert [add_changes(connection, (NEW_TUBE,), by="A", now=1.0) for _ in range(2)] == [1, 0]
        with ledger.read() as connection:
            assert load_registry(connection).changes == (replace(NEW_TUBE, by="A"),)
        with pytest.raises(DatabaseError, match="append-only"), ledger.write() as connection:
            connection.execute(delete(calibration_changes))
    finally:
        ledger.close()


def test_a_change_without_its_reason_is_refused() -> None:
    with pytest.raises(CalibrationEntryError, match="without scanner or reason"):
        replace(NEW_TUBE, what=" ")
