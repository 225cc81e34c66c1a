"""The typed rows of attenuation are those of tabulated attenuation (xraydb), at the effective energies that ``physics`` names."""

import pytest

from trabecula_calibration.physics import SLOPES_MG_CM3_PER_HU, TUBE_VOLTAGES_KVP, Material
from trabecula_morphometry.digital_patient.attenuation import phantom_line_at, tissues_at

xraydb = pytest.importorskip("xraydb", reason="xraydb is not installed")

EFFECTIVE_KEV = dict(zip(TUBE_VOLTAGES_KVP, (54.5, 58.5, 62.5, 66.5, 70.0, 73.0, 76.0), strict=True))
COMPOUNDS = {Material.HA: ("Ca10P6O26H2", 3.16), Material.K2HPO4: ("K2HPO4", 1 / 0.2174)}
ICRU44 = {
    # Mass fractions and density, g/cm3 (ICRU Report 44).
    "fat": ({"H": 0.114, "C": 0.598, "N": 0.007, "O": 0.278, "Na": 0.001, "S": 0.001, "Cl": 0.001}, 0.95),
    "muscle": (
        {"H": 0.102, "C": 0.143, "N": 0.034, "O": 0.710, "Na": 0.001, "P": 0.002, "S": 0.003, "Cl": 0.001, "K": 0.004},
        1.05,
    ),
    "blood": (
        {"H": 0.102, "C": 0.110, "N": 0.033, "O": 0.745, "Na": 0.001, "P": 0.001, "S": 0.002, "Cl": 0.003, "K": 0.002, "Fe": 0.001},
        1.06,
    ),
}


def mass_attenuation(fractions: dict[str, float], kev: float) -> float:
    return sum(share * float(xraydb.mu_elam(element, kev * 1000.0)) for element, share in fractions.items())


def of_formula(formula: str, kev: float) -> float:
    parsed = xraydb.chemparse(formula)
    masses = {element: count * xraydb.atomic_mass(element) for element, count in parsed.items()}
    return mass_attenuation({element: mass / sum(masses.values()) for element, mass in masses.items()}, kev)


@pytest.mark.parametrize("kvp", TUBE_VOLTAGES_KVP)
@pytest.mark.parametrize("material", list(Material))
def test_the_physics_slope_is_an_ideal_mixture_in_water(kvp: float, material: Material) -> None:
    kev, (formula, density) = EFFECTIVE_KEV[kvp], COMPOUNDS[material]
    water = of_formula("H2O", kev)
    hu_per_mg = (of_formula(formula, kev) - water / density) / water
    listed = SLOPES_MG_CM3_PER_HU[material][TUBE_VOLTAGES_KVP.index(kvp)]
    assert listed == pytest.approx(1.0 / hu_per_mg, rel=0.015)


@pytest.mark.parametrize("kvp", [80, 100, 120, 140])
def test_the_digital_patient_has_tabulated_tissues(kvp: int) -> None:
    kev = EFFECTIVE_KEV[float(kvp)]
    water = of_formula("H2O", kev)
    for name, (fractions, density) in ICRU44.items():
        expected = 1000.0 * (density * mass_attenuation(fractions, kev) / water - 1.0)
        assert getattr(tissues_at(kvp), f"{name}_hu") == pytest.approx(expected, abs=6.0), name
    formula, displaced = COMPOUNDS[Material.K2HPO4]
    assert phantom_line_at(kvp).slope_hu_per_mg_cm3 == pytest.approx((of_formula(formula, kev) - water / displaced) / water, rel=0.015)
