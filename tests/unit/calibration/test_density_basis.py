"""What a density rests on where no entry fits, and when its band is left open."""

from datetime import date

from builders.calibrations import ENTRY
from trabecula_calibration.contrast import ContrastReading, Phase
from trabecula_calibration.density import PHANTOMLESS_MATERIAL, Basis, Category, DensityAssessment, LevelHu, assess_density
from trabecula_calibration.matching import AcquisitionFacts
from trabecula_calibration.tissue import PhantomlessLine

FACTS = AcquisitionFacts(kvp=120, manufacturer=ENTRY.manufacturer, model=ENTRY.model, device_serial=ENTRY.device_serial, kernel="STANDARD")


def assess(mean_hu: float, *, sd_hu: float = 30.0, volume_mm3: float = 2500.0, **more) -> DensityAssessment:
    levels = [LevelHu(name=name, mean_hu=mean_hu, sd_hu=sd_hu, volume_mm3=volume_mm3) for name in ("L1", "L2", "L3")]
    unenhanced = ContrastReading(phase=Phase.UNENHANCED, confidence=0.9)
    return assess_density(levels, more.pop("facts", FACTS), unenhanced, more.pop("entries", (ENTRY,)), date(2026, 6, 1), 70, **more)


def test_without_an_entry_the_patients_own_tissue_gives_a_number_without_a_band() -> None:
    line = PhantomlessLine(slope_mg_cm3_per_hu=0.8, intercept_mg_cm3=-2.0, material=PHANTOMLESS_MATERIAL)
    found = assess(100, entries=(), phantomless=line)
    assert found.mean is not None
    assert found.mean.value_mg_cm3 == 78.0
    assert (found.mean.basis, found.mean.material, found.category) == (Basis.PHANTOMLESS, PHANTOMLESS_MATERIAL, None)


def test_an_entry_that_fits_goes_before_the_patients_own_tissue() -> None:
    line = PhantomlessLine(slope_mg_cm3_per_hu=0.8, intercept_mg_cm3=-2.0, material=PHANTOMLESS_MATERIAL)
    found = assess(100, phantomless=line)
    assert found.mean is not None
    assert found.mean.basis is Basis.CALIBRATED


def test_an_interval_over_all_three_bands_names_none_of_them() -> None:
    sharp, blunt = assess(135), assess(135, sd_hu=400.0, volume_mm3=27.0)
    assert sharp.category is Category.INTERMEDIATE
    assert blunt.mean is not None
    assert blunt.mean.interval95[0] < 80 < 120 < blunt.mean.interval95[1]
    assert blunt.category is None
