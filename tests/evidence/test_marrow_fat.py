"""What fat in the marrow does to every single-energy density: reported here and in `docs/physicist.md`, never scored (ADR 0006).

``python tests/evidence/test_marrow_fat.py`` prints the table: mineral content (mass of hydroxyapatite per volume of trabecular bone) beside
what an error-free scan reads of it with a phantom in water, from tabulated attenuation (xraydb) at the effective energies of ``physics``.
"""

import sys
from pathlib import Path

import pytest

from trabecula_calibration.physics import SLOPES_MG_CM3_PER_HU, TUBE_VOLTAGES_KVP, Material

xraydb = pytest.importorskip("xraydb", reason="xraydb is not installed")

EFFECTIVE_KEV = dict(zip(TUBE_VOLTAGES_KVP, (54.5, 58.5, 62.5, 66.5, 70.0, 73.0, 76.0), strict=True))
HA, HA_G_CM3 = "Ca10P6O26H2", 3.16
YELLOW = ({"H": 0.115, "C": 0.644, "N": 0.007, "O": 0.231, "Na": 0.001, "S": 0.001, "Cl": 0.001}, 0.98)
RED = ({"H": 0.105, "C": 0.414, "N": 0.034, "O": 0.439, "P": 0.001, "S": 0.002, "Cl": 0.002, "K": 0.002, "Fe": 0.001}, 1.03)
"""Marrow, mass fractions and g/cm3 (ICRU Report 44)."""

FAT_SHARES = (0.3, 0.5, 0.65)
"""Volume share of yellow marrow: young, middle-aged, old."""

PAGE = Path(__file__).resolve().parents[2] / "docs" / "physicist.md"


def mu_per_cm(fractions: dict[str, float], density_g_cm3: float, kev: float) -> float:
    return density_g_cm3 * sum(share * float(xraydb.mu_elam(element, kev * 1000.0)) for element, share in fractions.items())


def of_formula(formula: str, density_g_cm3: float, kev: float) -> float:
    masses = {element: count * xraydb.atomic_mass(element) for element, count in xraydb.chemparse(formula).items()}
    return mu_per_cm({element: mass / sum(masses.values()) for element, mass in masses.items()}, density_g_cm3, kev)


def trabecular_hu(mineral_mg_cm3: float, fat_share: float, kev: float) -> float:
    """HU of mineral in marrow that it displaces."""
    water, mineral = of_formula("H2O", 1.0, kev), mineral_mg_cm3 / 1000.0 / HA_G_CM3
    marrow = fat_share * mu_per_cm(*YELLOW, kev) + (1 - fat_share) * mu_per_cm(*RED, kev)
    return 1000.0 * ((mineral * of_formula(HA, HA_G_CM3, kev) + (1 - mineral) * marrow) / water - 1.0)


def reading_mg_cm3(mineral_mg_cm3: float, fat_share: float, kvp: float, material: Material) -> float:
    """What an error-free scan with a phantom of ``material`` in water reads."""
    slope = SLOPES_MG_CM3_PER_HU[material][TUBE_VOLTAGES_KVP.index(kvp)]
    return slope * trabecular_hu(mineral_mg_cm3, fat_share, EFFECTIVE_KEV[kvp])


def table(mineral_mg_cm3: float = 100.0) -> list[list[str]]:
    """Rows by tube voltage: readings of one mineral content on HA and on K2HPO4 for the three shares of fat."""
    return [
        [f"{kvp:.0f}", *(f"{reading_mg_cm3(mineral_mg_cm3, fat, kvp, material):.0f}" for material in Material for fat in FAT_SHARES)]
        for kvp in (80.0, 100.0, 120.0, 140.0)
    ]


def test_fat_lowers_the_reading_by_what_is_published() -> None:
    """About -14 mg/cm3 HA from a fat share of 0.3 to 0.6 at 120 kVp, as the facts file derives it."""
    change = reading_mg_cm3(100.0, 0.6, 120.0, Material.HA) - reading_mg_cm3(100.0, 0.3, 120.0, Material.HA)
    assert change == pytest.approx(-14.0, abs=2.0)


def test_half_fat_reads_14_mg_below_the_mineral_as_the_demonstration_says() -> None:
    assert reading_mg_cm3(100.0, 0.5, 120.0, Material.HA) - 100.0 == pytest.approx(-14.0, abs=2.0)


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for row in table():
        assert f"| {' | '.join(row)} |" in text


if __name__ == "__main__":
    for line in table():
        sys.stdout.write(f"| {' | '.join(line)} |\n")
