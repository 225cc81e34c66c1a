"""The arithmetic of phantoms, against a published vector."""

import pytest

from trabecula_calibration.phantom_definition import PhantomError, parse_phantom, phantom_named, phantom_names
from trabecula_calibration.phantom_fit import InsertReading, fit_phantom_line, insert_hu, reasons_to_refuse
from trabecula_calibration.physics import Material

GOLDEN_HU = {"A": -69.549, "B": -35.378, "C": 176.712, "D": 345.738, "E": 462.936}


def readings(hu: dict[str, float], sd: float = 5.0) -> dict[str, InsertReading]:
    return {name: InsertReading(name=name, mean_hu=value, sd_hu=sd, independent_count=400) for name, value in hu.items()}


def test_mindways_golden_vector() -> None:
    """Ogo (Bonelab), test_mindways_calibration.py: sigma_CT 1.249558, beta_CT -10.150047."""
    line = fit_phantom_line(phantom_named("mindways-model-3"), readings(GOLDEN_HU))
    assert line.slope_mg_cm3_per_hu == pytest.approx(0.800283, abs=2e-6)
    assert line.intercept_mg_cm3 == pytest.approx(8.122907, abs=2e-4)
    assert line.r2**0.5 == pytest.approx(0.999853, abs=1e-6)
    assert line.material is Material.K2HPO4
    assert reasons_to_refuse(line, 120.0) == ()


@pytest.mark.parametrize("name", phantom_names())
def test_every_phantom_gives_back_the_line_it_was_made_with(name: str) -> None:
    phantom = phantom_named(name)
    hu = {insert.name: insert_hu(phantom, insert, 1.0 / 0.77, 5.0) for insert in phantom.inserts}
    line = fit_phantom_line(phantom, readings(hu))
    assert line.slope_mg_cm3_per_hu == pytest.approx(0.77)
    assert line.intercept_mg_cm3 == pytest.approx(-0.77 * 5.0)
    assert max(abs(value) for value in line.residuals_mg_cm3.values()) < 1e-9


def test_the_nine_phantoms_of_the_trade_are_there_with_their_citations() -> None:
    assert len(phantom_names()) == 9
    assert all(len(phantom_named(name).citation) > 40 for name in phantom_names())


@pytest.mark.parametrize(
    ("hu", "sd", "kvp", "said"),
    [
        ({**GOLDEN_HU, "E": 362.0}, 5.0, 120.0, "r2"),
        (GOLDEN_HU, 5.0, 80.0, "wrong kVp"),
        (GOLDEN_HU, 5.0, 70.0, "outside 80-140"),
        ({name: value - 40 for name, value in GOLDEN_HU.items()}, 5.0, 120.0, "intercept"),
        (GOLDEN_HU, 90.0, 120.0, "noise"),
    ],
)
def test_a_bad_fit_is_refused_with_its_reason(hu: dict[str, float], sd: float, kvp: float, said: str) -> None:
    line = fit_phantom_line(phantom_named("mindways-model-3"), readings(hu, sd))
    assert any(said in reason for reason in reasons_to_refuse(line, kvp))


OWN = """
title = "Ours"
material = "HA"
arithmetic = "direct"
geometry = "certified"
length_mm = 100
body_mm = [200, 40]
citation = "certificate 7"
[[insert]]
name = "low"
center_mm = [-30, 0, 0]
radius_mm = 10
density = 0
[[insert]]
name = "high"
center_mm = [30, 0, 0]
radius_mm = 10
density = 200
"""


def test_a_site_adds_its_own_phantom() -> None:
    assert [insert.density_mg_cm3 for insert in parse_phantom(OWN, name="ours").inserts] == [0.0, 200.0]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('material = "HA"', 'material = "lead"', "not known"),
        ("density = 200", "density = 10", "cannot give a line"),
        ("center_mm = [30, 0, 0]", "center_mm = [-25, 0, 0]", "overlap"),
        ("length_mm = 100", "lenght_mm = 100", "unknown keys"),
        ("radius_mm = 10\ndensity = 200", 'radius_mm = "10"\ndensity = 200', "wrong type"),
        ("[[insert]]", "[[insert", "not TOML"),
    ],
)
def test_a_malformed_phantom_is_refused_by_name(before: str, after: str, said: str) -> None:
    with pytest.raises(PhantomError, match=said):
        parse_phantom(OWN.replace(before, after), name="ours")
