"""No path prints mg/cm3 without a base material and a basis, whatever the result."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from builders.calibrations import ENTRY
from builders.results import Column, column_result
from trabecula_calibration.contrast import ContrastReading, Phase
from trabecula_calibration.density import Basis, LevelHu, assess_density
from trabecula_calibration.matching import AcquisitionFacts
from trabecula_calibration.physics import Material
from trabecula_calibration.registry import Registry
from trabecula_service.pipeline.analyze import _summary
from trabecula_service.render import wording
from trabecula_service.result import Density

TODAY = date(2026, 6, 1)


@given(
    hu=st.floats(-50, 400),
    kvp=st.sampled_from([None, 60.0, 80.0, 100.0, 120.0, 140.0]),
    maker=st.sampled_from(["GE MEDICAL SYSTEMS", "other", None]),
    phase=st.sampled_from(list(Phase)),
    age=st.none() | st.floats(0, 100),
    estimate=st.booleans(),
)
def test_every_density_has_a_material_a_basis_and_an_interval(
    hu: float, kvp: float | None, maker: str | None, phase: Phase, age: float | None, estimate: bool
) -> None:
    levels = [LevelHu(name=name, mean_hu=hu, sd_hu=30, volume_mm3=2500) for name in ("L1", "L2", "L3")]
    facts = AcquisitionFacts(kvp=kvp, manufacturer=maker)
    reading = ContrastReading(phase=phase, confidence=0.9)
    found = assess_density(levels, facts, reading, Registry.of([ENTRY]), TODAY, age, allow_estimate=estimate)
    for density in (*found.per_level.values(), *([found.mean] if found.mean else [])):
        assert isinstance(density.material, Material)
        assert isinstance(density.basis, Basis)
        assert density.interval95[0] <= density.value_mg_cm3 <= density.interval95[1]
    if found.mean is None:
        assert found.category is None
        assert found.codes
    if found.category is not None:
        assert found.mean is not None
        assert found.mean.basis in (Basis.CALIBRATED, Basis.SIMULTANEOUS)
        assert age is not None
        assert age >= 50


@given(
    mean=st.floats(1, 300),
    basis=st.sampled_from(["calibrated", "simultaneous", "phantomless", "estimate"]),
    material=st.sampled_from(["HA", "K2HPO4"]),
    category=st.sampled_from([None, "low", "intermediate", "normal"]),
)
def test_every_printed_mean_names_its_material_and_its_basis(mean: float, basis: str, material: str, category: str | None) -> None:
    density = Density(
        mean_mg_cm3=mean, interval95=(mean - 9, mean + 9), levels=["L1", "L2"], basis=basis, material=material, category=category
    )
    result = column_result(Column(names=("L1", "L2", "L3")), density=density)
    statement, summary = wording.density_statement(result), _summary(result)
    assert material in statement
    assert wording.BASIS_WORDS[basis] in statement
    assert f"{material} ({basis})" in summary
