"""Densities of real CT: one patient in three contrast phases on one day, and a case with a published density."""

import json
import sys
from datetime import date
from pathlib import Path

import pytest

from builders.real_ct import CASES, load_case
from trabecula_calibration.contrast import ContrastReading, Phase, read_contrast
from trabecula_calibration.density import DensityAssessment, LevelHu, assess_density
from trabecula_calibration.entries import CalibrationEntry
from trabecula_calibration.matching import AcquisitionFacts
from trabecula_calibration.physics import Material
from trabecula_morphometry.measure import measure_column

PLAUSIBLE = CalibrationEntry(
    id="plausible-120",
    manufacturer="M",
    model="X",
    device_serial="1",
    kvp=120,
    slope_mg_cm3_per_hu=0.74,
    intercept_mg_cm3=0.0,
    material=Material.K2HPO4,
    residual_sd_mg_cm3=3.0,
    valid_from=date(2026, 1, 1),
)
VERSE_DENSITY_MG_CM3 = 61.3
"""VerSe'19 appendix E1: lumbar density of this case by the data set's own asynchronous calibration."""


def assessed(levels: list[LevelHu], phase: ContrastReading, spacing_mm: float) -> DensityAssessment:
    facts = AcquisitionFacts(kvp=120, manufacturer="M", model="X", device_serial="1", slice_spacing_mm=spacing_mm)
    return assess_density(levels, facts, phase, (PLAUSIBLE,), date(2026, 3, 1), 70)


@pytest.mark.real_ct
def test_three_phases_of_one_patient_agree_within_the_printed_intervals(shared: Path) -> None:
    """The same trabecular places, read in all three phases by the reader."""
    read = json.loads((shared / "ct" / "hcc-007" / "phases.json").read_text())["level"]
    found = {}
    for phase, key, spacing in ((Phase.UNENHANCED, "pre", 10.0), (Phase.ARTERIAL, "phase1", 2.5), (Phase.PORTAL_VENOUS, "phase3", 2.5)):
        levels = [LevelHu(name=name, mean_hu=read[name][key], sd_hu=25.0, volume_mm3=2500.0) for name in ("T12", "L1", "L2")]
        found[phase] = assessed(levels, ContrastReading(phase=phase, confidence=1.0), spacing).per_level
        row = {name: f"{d.value_mg_cm3:.1f} ({d.interval95[0]:.0f}-{d.interval95[1]:.0f})" for name, d in found[phase].items()}
        sys.stdout.write(f"{phase.value}: {row}\n")
    for name in ("T12", "L1", "L2"):
        values = [by_level[name].value_mg_cm3 for by_level in found.values()]
        for by_level in found.values():
            low, high = by_level[name].interval95
            assert all(low <= value <= high for value in values), name


@pytest.mark.real_ct
def test_the_published_density_lies_in_the_interval_of_a_plausible_line(shared: Path) -> None:
    case = load_case(shared / "ct", "verse012")
    column = measure_column(case.volume, case.bodies, None, case.vertebrae, slice_spacing_mm=1.0)
    phase = read_contrast(case.volume, list(column.shapes.items()))
    assert phase.phase is Phase.UNENHANCED
    levels = [
        LevelHu(
            name=level.name,
            mean_hu=level.voi.mean_hu,
            sd_hu=level.voi.sd_hu,
            volume_mm3=level.voi.volume_mm3,
            usable=level.usable_for_density(),
        )
        for level in column.levels
        if level.voi is not None
    ]
    mean = assessed(levels, phase, 1.0).mean
    assert mean is not None
    sys.stdout.write(f"verse012: {mean.value_mg_cm3:.1f} {mean.interval95}, published {VERSE_DENSITY_MG_CM3}\n")
    assert mean.interval95[0] <= VERSE_DENSITY_MG_CM3 <= mean.interval95[1]


@pytest.mark.real_ct
@pytest.mark.parametrize("name", CASES)
def test_the_phase_is_read_from_the_image(shared: Path, name: str) -> None:
    case = load_case(shared / "ct", name)
    column = measure_column(case.volume, case.bodies, None, case.vertebrae, slice_spacing_mm=case.volume.grid.slice_spacing_mm)
    reading = read_contrast(case.volume, list(column.shapes.items()))
    assert reading.phase.value == case.reader["contrast"]["phase"]
    assert reading.confidence > 0.9
