"""What the fine network is given to see."""

import numpy as np
import pytest

from trabecula_models.delineate import steadied

SPACING_MM = 1.5
MUSCLE_HU = 50.0


def muscle(noise_hu: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (MUSCLE_HU + rng.normal(0, noise_hu, (24, 24, 24))).astype(np.float32)


@pytest.mark.parametrize("noise_hu", [0.0, 8.0])
def test_quiet_hu_are_left_as_they_are(noise_hu: float) -> None:
    hu = muscle(noise_hu)
    assert steadied(hu, SPACING_MM) is hu


def test_the_noise_of_a_sharp_kernel_is_halved_without_a_shift() -> None:
    hu = muscle(60.0)
    steady = steadied(hu, SPACING_MM)
    assert steady.std() < 0.5 * hu.std()
    assert steady.mean() == pytest.approx(hu.mean(), abs=1.0)


def test_lung_alone_has_no_grain_to_judge() -> None:
    hu = np.full((8, 8, 8), -850.0, dtype=np.float32)
    assert steadied(hu, SPACING_MM) is hu
