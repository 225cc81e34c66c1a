"""Gas in a broken body belongs to it; gas in a disc, in the lung and in the bowel does not."""

import numpy as np
import pytest

from trabecula_models.clefts import with_clefts
from trabecula_morphometry.volume import Grid, Volume

SHAPE_ZYX = (60, 60, 60)
BONE_HU, SOFT_HU, GAS_HU = 150.0, 40.0, -900.0
Z, Y, X = np.meshgrid(*(np.arange(n) for n in SHAPE_ZYX), indexing="ij")
BODY = (abs(Z - 30) <= 12) & ((Y - 30) ** 2 + (X - 30) ** 2 <= 20**2)
CLEFT = (abs(Z - 30) <= 3) & (abs(Y - 20) <= 2) & (abs(X - 30) <= 10)


def filled(outline: np.ndarray, gas: np.ndarray) -> np.ndarray:
    hu = np.where(BODY, BONE_HU, SOFT_HU)
    hu[gas] = GAS_HU
    grid = Grid(shape_zyx=SHAPE_ZYX, voxel_to_lps=np.eye(4))
    return with_clefts(outline.astype(np.int16), grid, Volume(hu_zyx=hu.astype(np.float32), grid=grid))


def test_a_hole_that_gas_left_in_an_outline_is_filled() -> None:
    assert np.array_equal(filled(BODY & ~CLEFT, CLEFT), BODY)


def test_a_notch_that_gas_left_in_an_outline_is_closed() -> None:
    notch = (abs(Z - 30) <= 3) & (abs(X - 30) <= 10) & (Y <= 22)
    grown = filled(BODY & ~notch, CLEFT) > 0
    assert grown[CLEFT].all()
    assert not grown[~BODY].any()


@pytest.mark.parametrize(
    "gas",
    [
        pytest.param((Z >= 44) & (abs(Y - 30) <= 5) & (abs(X - 30) <= 8), id="disc above the body"),
        pytest.param((abs(Z - 30) <= 12) & (Y < 8), id="bowel before the body"),
        pytest.param((Z == 30) & (Y == 30) & (abs(X - 30) <= 1), id="dark noise"),
    ],
)
def test_other_gas_changes_no_outline(gas: np.ndarray) -> None:
    before = np.where(BODY & ~gas, 2, 0)
    assert np.array_equal(filled(before, gas), before)


def test_gas_in_the_bowl_of_an_endplate_is_disc() -> None:
    bowl = (Z - 30 - 12 - 22) ** 2 + (Y - 30) ** 2 + (X - 30) ** 2 < 27**2
    body = BODY & ~bowl
    gas = bowl & (abs(Y - 30) <= 4) & (abs(X - 30) <= 4) & (Z >= 39) & (Z <= 41)
    assert gas.sum() > 100
    before = np.where(body, 1, 0)
    assert np.array_equal(filled(before, gas), before)
