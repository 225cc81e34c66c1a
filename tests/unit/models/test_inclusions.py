"""Gas and cement in a broken body belong to it; gas in a disc, in the lung and in the bowel does not, nor does a screw."""

import numpy as np
import pytest

from trabecula_models.inclusions import with_inclusions
from trabecula_morphometry.volume import Grid, Volume

SHAPE_ZYX = (60, 60, 60)
BONE_HU, SOFT_HU, GAS_HU, CEMENT_HU = 150.0, 40.0, -900.0, 1500.0
Z, Y, X = np.meshgrid(*(np.arange(n) for n in SHAPE_ZYX), indexing="ij")
BODY = (abs(Z - 30) <= 12) & ((Y - 30) ** 2 + (X - 30) ** 2 <= 20**2)
CLEFT = (abs(Z - 30) <= 3) & (abs(Y - 20) <= 2) & (abs(X - 30) <= 10)


def filled(outline: np.ndarray, matter: np.ndarray, matter_hu: float = GAS_HU) -> np.ndarray:
    hu = np.where(BODY, BONE_HU, SOFT_HU)
    hu[matter] = matter_hu
    grid = Grid(shape_zyx=SHAPE_ZYX, voxel_to_lps=np.eye(4))
    return with_inclusions(outline.astype(np.int16), grid, Volume(hu_zyx=hu.astype(np.float32), grid=grid))


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


BLOB = (Z - 30) ** 2 + (Y - 24) ** 2 + (X - 30) ** 2 <= 8**2


def test_a_tunnel_that_cement_left_in_an_outline_is_closed() -> None:
    tunnel = BLOB | ((abs(Z - 30) <= 4) & (abs(X - 30) <= 4) & (Y <= 24))
    grown = filled(BODY & ~tunnel, BLOB, CEMENT_HU) > 0
    assert grown[BLOB].all()
    assert not grown[~BODY].any()


def test_cement_that_leaked_out_of_a_body_is_not_given_to_it() -> None:
    leak = (Z >= 44) & (Z <= 50) & (abs(Y - 30) <= 6) & (abs(X - 30) <= 6)
    assert np.array_equal(filled(np.where(BODY, 3, 0), leak, CEMENT_HU), np.where(BODY, 3, 0))


def test_a_screw_that_leaves_the_body_leaves_the_outline_as_it_is() -> None:
    screw = (abs(Z - 30) <= 3) & (abs(X - 30) <= 3) & (Y >= 20)
    before = np.where(BODY & ~screw, 1, 0)
    assert np.array_equal(filled(before, screw, 3000.0), before)


def test_each_body_is_closed_around_what_lies_in_it() -> None:
    upper = BODY & (Z > 31)
    lower = BODY & (Z < 29)
    hole = (abs(Z - 37) <= 2) & (abs(Y - 30) <= 5) & (abs(X - 30) <= 5)
    assert np.array_equal(
        filled(np.where(upper & ~hole, 1, np.where(lower, 2, 0)), hole, CEMENT_HU), np.where(upper, 1, np.where(lower, 2, 0))
    )
