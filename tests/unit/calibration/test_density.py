from dataclasses import replace
from datetime import date

import pytest

from trabecula_calibration.contrast import ContrastReading, Phase, classify_phase
from trabecula_calibration.density import (
    Basis,
    Category,
    Density,
    DensityAssessment,
    LevelHu,
    assess_density,
    without_fallback_words,
)
from trabecula_calibration.entries import CalibrationEntry, CalibrationEntryError, parse_entries
from trabecula_calibration.matching import AcquisitionFacts, Match, NoMatch, kernel_family, match_entry
from trabecula_calibration.physics import Material, physics_slope
from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import TrabeculaError

TODAY = date(2026, 6, 1)
ENTRY = CalibrationEntry(
    id="ge-120",
    manufacturer="GE MEDICAL SYSTEMS",
    model="Discovery",
    device_serial="17",
    kvp=120,
    kernel_family="STANDARD",
    slope_mg_cm3_per_hu=0.74,
    intercept_mg_cm3=0.0,
    material=Material.K2HPO4,
    residual_sd_mg_cm3=3.0,
    valid_from=date(2026, 1, 1),
    valid_to=date(2026, 12, 31),
)
FACTS = AcquisitionFacts(
    kvp=120, manufacturer="GE Medical Systems", model="Discovery", device_serial="17", kernel="STANDARD", slice_spacing_mm=1
)


def levels(mean_hu: float, names: tuple[str, ...] = ("L1", "L2", "L3")) -> list[LevelHu]:
    return [LevelHu(name=name, mean_hu=mean_hu, sd_hu=30, volume_mm3=2500) for name in names]


def phase(which: Phase = Phase.UNENHANCED) -> ContrastReading:
    return ContrastReading(phase=which, confidence=0.9)


def assess(mean_hu: float = 100, *, facts=FACTS, which=Phase.UNENHANCED, entries=(ENTRY,), age=70, lv=None, **more) -> DensityAssessment:
    return assess_density(levels(mean_hu) if lv is None else lv, facts, phase(which), entries, TODAY, age, **more)


def test_calibrated_mean_is_the_line_of_the_entry() -> None:
    found = assess(100)
    assert found.mean.value_mg_cm3 == pytest.approx(74)
    assert (found.mean.material, found.mean.basis, found.calibration_id) == (Material.K2HPO4, Basis.CALIBRATED, "ge-120")
    assert found.levels_used == ("L1", "L2", "L3")
    assert found.codes == ()
    low, high = found.mean.interval95
    assert low < 74 < high
    assert (high - low) / 2 == pytest.approx(1.96 * found.budget.sd_mg_cm3)


@pytest.mark.parametrize(
    ("density", "category"),
    [(79.9, Category.LOW), (80.0, Category.INTERMEDIATE), (120.0, Category.INTERMEDIATE), (120.1, Category.NORMAL)],
)
def test_80_and_120_belong_to_the_middle_band(density: float, category: Category) -> None:
    entry = replace(ENTRY, slope_mg_cm3_per_hu=0.75)
    assert assess(density / 0.75, entries=(entry,)).category is category


def test_without_age_or_under_50_there_is_no_category() -> None:
    assert (assess(age=None).category, assess(age=None).codes) == (None, (Code.AGE_UNKNOWN,))
    assert (assess(age=49).category, assess(age=49).codes) == (None, (Code.AGE_BELOW_LIMIT,))


def test_without_entry_the_number_is_an_estimate_and_never_has_a_category() -> None:
    found = assess(20, entries=())
    assert found.mean.basis is Basis.ESTIMATE
    assert found.mean.material is Material.HA
    assert found.mean.value_mg_cm3 == pytest.approx(0.77 * 20)
    assert found.category is None
    assert {Code.NO_CALIBRATION, Code.MATERIAL_MISMATCH} <= set(found.codes)


def test_the_estimate_is_wider_than_a_calibrated_number() -> None:
    assert assess(entries=()).budget.sd_mg_cm3 > 2 * assess().budget.sd_mg_cm3


@pytest.mark.parametrize("kvp", [None, 70, 150])
def test_no_number_for_an_unknown_or_unheard_of_tube_voltage(kvp: float | None) -> None:
    found = assess(facts=replace(FACTS, kvp=kvp))
    assert found.mean is None
    assert found.per_level == {}
    assert Code.NO_CALIBRATION in found.codes


def test_the_estimate_can_be_switched_off() -> None:
    assert assess(entries=(), allow_estimate=False).mean is None


def test_another_tube_voltage_never_matches() -> None:
    found = assess(facts=replace(FACTS, kvp=100))
    assert found.mean.basis is Basis.ESTIMATE
    assert Code.KVP_MISMATCH in found.codes


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"device_serial": "18"}, Code.SCANNER_MISMATCH),
        ({"device_serial": "18", "model": "Optima"}, Code.SCANNER_MISMATCH),
        ({"kernel": "BONE"}, Code.KERNEL_MISMATCH),
        ({"kernel": None}, Code.KERNEL_MISMATCH),
    ],
)
def test_a_partial_match_is_flagged_and_wider(change: dict[str, str], code: Code) -> None:
    found = assess(facts=replace(FACTS, **change))
    assert code in found.codes
    assert found.budget.sd_mg_cm3 > assess().budget.sd_mg_cm3


@pytest.mark.parametrize("dates", [(date(2025, 1, 1), date(2025, 12, 31)), (date(2026, 7, 1), None)])
def test_an_entry_outside_its_dates_is_flagged_and_wider(dates: tuple[date, date | None]) -> None:
    found = assess(entries=(replace(ENTRY, valid_from=dates[0], valid_to=dates[1]),))
    assert Code.CALIBRATION_EXPIRED in found.codes
    assert found.budget.sd_mg_cm3 > assess().budget.sd_mg_cm3


def test_the_same_scanner_wins_over_the_same_model_and_the_newer_over_the_older() -> None:
    other = replace(ENTRY, id="a-other", device_serial="99")
    newer = replace(ENTRY, id="newer", valid_from=date(2026, 3, 1))
    found = match_entry(FACTS, [other, ENTRY, newer], TODAY)
    assert isinstance(found, Match)
    assert found.entry.id == "newer"
    assert found.explanation == "same scanner"


def test_another_manufacturer_never_matches() -> None:
    assert isinstance(match_entry(replace(FACTS, manufacturer="SIEMENS"), [ENTRY], TODAY), NoMatch)
    assert isinstance(match_entry(replace(FACTS, manufacturer=None), [ENTRY], TODAY), NoMatch)


@pytest.mark.parametrize(
    ("a", "b", "same"), [("B30f", "B31s", True), ("B30f", "B70f", False), ("STANDARD", "standard", True), ("Br38f\\3", "Br36d", True)]
)
def test_kernel_families(a: str, b: str, same: bool) -> None:
    assert (kernel_family(a) == kernel_family(b)) is same


@pytest.mark.parametrize(("which", "minus"), [(Phase.ARTERIAL, 6), (Phase.PORTAL_VENOUS, 17), (Phase.DELAYED, 17)])
def test_contrast_is_corrected_flagged_and_widens(which: Phase, minus: float) -> None:
    found = assess(100, which=which)
    assert found.mean.value_mg_cm3 == pytest.approx(74 - minus)
    assert found.contrast_correction_mg_cm3 == minus
    assert Code.CONTRAST_PHASE in found.codes
    assert found.budget.sd_mg_cm3 > 9.5


def test_an_unknown_phase_is_not_corrected_but_widens() -> None:
    found = assess(100, which=Phase.UNKNOWN)
    assert found.mean.value_mg_cm3 == pytest.approx(74)
    assert found.contrast_correction_mg_cm3 is None
    assert Code.CONTRAST_UNKNOWN in found.codes
    assert found.budget.sd_mg_cm3 > 12


def test_with_contrast_a_category_needs_the_whole_interval() -> None:
    assert assess(50, which=Phase.PORTAL_VENOUS).category is Category.LOW
    assert assess(110, which=Phase.PORTAL_VENOUS).category is None


def test_with_contrast_normal_needs_20_mg_above_the_limit() -> None:
    narrow = replace(ENTRY, residual_sd_mg_cm3=0.0)
    assert assess((17 + 141 + 5) / 0.74, which=Phase.PORTAL_VENOUS, entries=(narrow,)).category is Category.NORMAL
    assert assess((17 + 139.5) / 0.74, which=Phase.PORTAL_VENOUS, entries=(narrow,)).category is None


def test_an_ha_entry_says_that_its_material_is_not_that_of_the_limits() -> None:
    assert Code.MATERIAL_MISMATCH in assess(entries=(replace(ENTRY, material=Material.HA, slope_mg_cm3_per_hu=0.77),)).codes


def test_fallback_levels_join_only_when_l1_to_l3_are_too_few() -> None:
    both = levels(100, ("T12", "L1", "L2", "L4"))
    assert assess(lv=both).levels_used == ("L1", "L2")
    assert assess(lv=[replace(both[1], usable=False), *both[:1], *both[2:]]).levels_used == ("T12", "L2", "L4")


def test_what_is_said_of_the_line_does_not_depend_on_the_levels_used() -> None:
    usual, fallback = assess(lv=levels(100, ("L1", "L2"))), assess(lv=levels(100, ("T12", "L1", "L4")))
    assert "T12 and L4 joined" in fallback.explanation
    assert without_fallback_words(fallback.explanation) == usual.explanation == without_fallback_words(usual.explanation)


def test_one_usable_level_gives_no_mean_but_keeps_its_own_density() -> None:
    found = assess(lv=levels(100, ("L1", "L5")))
    assert found.mean is None
    assert Code.TOO_FEW_LEVELS in found.codes
    assert set(found.per_level) == {"L1", "L5"}


def test_slices_over_5_mm_widen_the_interval() -> None:
    assert assess(facts=replace(FACTS, slice_spacing_mm=8)).budget.sd_mg_cm3 > assess().budget.sd_mg_cm3


def test_a_density_whose_interval_misses_it_cannot_be_built() -> None:
    with pytest.raises(TrabeculaError):
        Density(value_mg_cm3=50, interval95=(60, 70), material=Material.HA, basis=Basis.CALIBRATED)


def test_physics_interpolates_and_never_extrapolates() -> None:
    assert physics_slope(120, Material.HA) == 0.77
    assert physics_slope(115, Material.HA) == pytest.approx(0.74)
    assert physics_slope(79, Material.HA) is None


TOML = """
[[entry]]
id = "a"
manufacturer = "GE"
kvp = 120
slope = 0.75
intercept = 2.5
material = "K2HPO4"
valid_from = 2026-01-01
"""


def test_entries_are_read_from_toml() -> None:
    (entry,) = parse_entries(TOML)
    assert (entry.id, entry.kvp, entry.slope_mg_cm3_per_hu, entry.material) == ("a", 120.0, 0.75, Material.K2HPO4)
    assert entry.valid_to is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (TOML.replace("0.75", "1.2"), "20 %"),
        (TOML.replace("2.5", "25"), "intercept"),
        (TOML.replace("120", "160"), "80-140"),
        (TOML.replace("120", "true"), "number"),
        (TOML.replace('"K2HPO4"', '"water"'), "not a valid"),
        (TOML.replace("2026-01-01", '"soon"'), "date"),
        (TOML.replace("slope = 0.75\n", ""), "missing keys slope"),
        (TOML + "colour = 1\n", "unknown keys colour"),
        (TOML + "valid_to = 2025-01-01\n", "dates"),
        (TOML + TOML, "same id"),
        (TOML.replace("2.5", "nan"), "finite"),
        (TOML.replace('"GE"', "7"), "text"),
        ("entry = 3", "[[entry]]"),
        ("entry = [3]", "not a table"),
        ("= broken", "not TOML"),
    ],
)
def test_a_malformed_or_implausible_entry_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(CalibrationEntryError) as error:
        parse_entries(text)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("aorta", "cava", "expected"),
    [
        (42, 41, Phase.UNENHANCED),
        (320, 50, Phase.ARTERIAL),
        (223, 115, Phase.ARTERIAL),
        (166, 103, Phase.PORTAL_VENOUS),
        (136, 88, Phase.PORTAL_VENOUS),
        (190, 160, Phase.PORTAL_VENOUS),
        (100, 98, Phase.DELAYED),
        (150, None, Phase.PORTAL_VENOUS),
        (79, 69, Phase.UNKNOWN),
    ],
)
def test_phase_from_aorta_and_cava(aorta: float, cava: float | None, expected: Phase) -> None:
    assert classify_phase(aorta, cava).phase is expected
