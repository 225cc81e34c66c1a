"""The patient's own tissue flags a scanner that is off; changes are told only where they can be."""

from dataclasses import replace
from datetime import date

import pytest

from builders.calibrations import ENTRY
from trabecula_calibration.contrast import ContrastReading, Phase
from trabecula_calibration.contrast_correction import ContrastCorrections
from trabecula_calibration.density import Basis, Density, LevelHu, assess_density
from trabecula_calibration.matching import AcquisitionFacts
from trabecula_calibration.physics import Material
from trabecula_calibration.registry import Registry
from trabecula_calibration.tissue import TissueReading, phantomless_line, tissue_disagreements
from trabecula_calibration.trend import Change, Differences, NotComparable, Obstacle, change_between
from trabecula_morphometry.codes import Code

LEVELS = [LevelHu(name=name, mean_hu=110.0, sd_hu=30, volume_mm3=2500) for name in ("L1", "L2", "L3")]
FACTS = AcquisitionFacts(kvp=120, manufacturer="GE MEDICAL SYSTEMS", model="Discovery", device_serial="17", kernel="STANDARD")
PLAIN = ContrastReading(phase=Phase.UNENHANCED, confidence=0.9)
DAY = date(2026, 2, 1)


def test_the_tissues_of_real_patients_agree() -> None:
    # Fat and muscle as read on the real cases, leanest to fattest.
    for fat, muscle in ((-116.0, 24.0), (-85.0, 62.0), (-102.0, 48.0)):
        assert tissue_disagreements(TissueReading(air_hu=-995.0, fat_hu=fat, muscle_hu=muscle), 120.0, enhanced=False) == ()


def test_hu_that_are_40_too_high_are_flagged_with_the_tissue() -> None:
    words = tissue_disagreements(TissueReading(air_hu=-998.0, fat_hu=-62.0, muscle_hu=92.0), 120.0, enhanced=False)
    assert [word.split()[0] for word in words] == ["fat", "muscle"]


def test_blood_is_looked_at_where_there_is_no_contrast_in_it() -> None:
    reading = TissueReading(fat_hu=-102.0, muscle_hu=50.0)
    assert tissue_disagreements(reading, 120.0, enhanced=False, blood_hu=63.0) == ()
    (word,) = tissue_disagreements(reading, 120.0, enhanced=False, blood_hu=5.0)
    assert word == "blood 5 HU, expected 43 +- 30"
    assert tissue_disagreements(reading, 120.0, enhanced=True, blood_hu=180.0) == ()


def test_fat_is_darker_at_a_lower_tube_voltage() -> None:
    reading = TissueReading(fat_hu=-128.0, muscle_hu=55.0)
    assert tissue_disagreements(reading, 80.0, enhanced=False) == ()


def test_a_phantomless_line_takes_a_shift_back_and_has_its_own_basis() -> None:
    true = phantomless_line(TissueReading(air_hu=-1000.0, fat_hu=-102.0, muscle_hu=52.0), 120.0, Material.HA, enhanced=False)
    shifted = phantomless_line(TissueReading(air_hu=-980.0, fat_hu=-82.0, muscle_hu=72.0), 120.0, Material.HA, enhanced=False)
    assert true is not None
    assert shifted is not None
    assert true.slope_mg_cm3_per_hu == pytest.approx(0.77, rel=0.01)
    assert shifted.slope_mg_cm3_per_hu * 120 + shifted.intercept_mg_cm3 == pytest.approx(true.slope_mg_cm3_per_hu * 100, abs=0.6)
    found = assess_density(LEVELS, FACTS, PLAIN, (), DAY, 70, phantomless=true)
    assert found.mean is not None
    assert (found.mean.basis, found.category) == (Basis.PHANTOMLESS, None)


def test_the_budget_names_its_parts_and_a_phantom_in_the_scan_drops_three_of_them() -> None:
    later = assess_density(LEVELS, FACTS, PLAIN, Registry.of([ENTRY]), date(2026, 6, 1), 70)
    own = replace(ENTRY, id="own", series_instance_uid="1.2")
    within = assess_density(LEVELS, replace(FACTS, series_instance_uid="1.2"), PLAIN, Registry.of([ENTRY, own]), date(2026, 6, 1), 70)
    names = {part.name for part in later.budget.parts}
    assert names >= {"calibration line", "volume of interest", "drift since the last phantom scan", "patient size"}
    assert {part.name for part in within.budget.parts} == {"calibration line", "volume of interest"}
    assert within.mean is not None
    assert within.mean.basis is Basis.SIMULTANEOUS


def test_an_expired_entry_gives_a_number_and_no_category() -> None:
    found = assess_density(LEVELS, FACTS, PLAIN, Registry.of([ENTRY]), date(2027, 3, 1), 70)
    assert Code.CALIBRATION_EXPIRED in found.codes
    assert found.mean is not None
    assert found.category is None


def test_contrast_corrections_are_the_sites_own_data() -> None:
    venous = ContrastReading(phase=Phase.PORTAL_VENOUS, confidence=0.9)
    own = assess_density(LEVELS, FACTS, venous, (ENTRY,), DAY, 70, corrections=ContrastCorrections(portal_venous_mg_cm3=12.0))
    off = assess_density(LEVELS, FACTS, venous, (ENTRY,), DAY, 70, corrections=ContrastCorrections(apply=False))
    assert own.mean is not None
    assert off.mean is not None
    assert own.mean.value_mg_cm3 == pytest.approx(0.74 * 110 - 12.0)
    assert off.mean.value_mg_cm3 == pytest.approx(0.74 * 110)
    assert off.budget.sd_mg_cm3 > own.budget.sd_mg_cm3


def density(value: float, material: Material = Material.K2HPO4, basis: Basis = Basis.CALIBRATED) -> Density:
    return Density(value_mg_cm3=value, interval95=(value - 9, value + 9), material=material, basis=basis)


def test_a_change_below_the_least_significant_one_is_not_significant() -> None:
    found = change_between(density(100), density(90), Differences())
    assert isinstance(found, Change)
    assert found.least_significant_mg_cm3 == pytest.approx(2.77 * 0.047 * 95)
    assert not found.significant
    assert isinstance(change_between(density(100), density(80), Differences()), Change)


@pytest.mark.parametrize("other", [density(90, Material.HA), density(90, basis=Basis.ESTIMATE)])
def test_other_materials_and_bases_are_never_subtracted(other: Density) -> None:
    assert isinstance(change_between(density(100), other, Differences()), NotComparable)


def test_two_estimates_are_compared_on_one_scanner_at_one_tube_voltage_only() -> None:
    first, second = density(100, Material.HA, Basis.ESTIMATE), density(90, Material.HA, Basis.ESTIMATE)
    assert isinstance(change_between(first, second, Differences()), Change)
    for differences in (Differences(other_scanner=True), Differences(other_kvp=True)):
        found = change_between(first, second, differences)
        assert isinstance(found, NotComparable)
        assert found.obstacle is Obstacle.SCANNER


def test_a_phantom_ties_scans_of_different_kinds_together() -> None:
    found = change_between(
        density(100), density(80, basis=Basis.SIMULTANEOUS), Differences(other_scanner=True, other_kernel=True, other_phase=True)
    )
    assert isinstance(found, Change)
    assert found.least_significant_mg_cm3 == pytest.approx(2.77 * (0.049**2 + 0.013**2 + 0.029**2) ** 0.5 * 90)


def test_other_rules_for_the_volume_of_interest_are_never_subtracted() -> None:
    assert isinstance(change_between(density(100), density(90), Differences(other_voi=True)), NotComparable)
