"""Posterior elements go to the vertebra they belong to, though neighbours overlap like roof tiles."""

import numpy as np
from numpy.typing import NDArray

from trabecula_models.posterior import assign_posterior

SPACING_MM = 2.0
STEP_VOXELS = 17
NAMES = ("T12", "L1", "L2", "L3")


def tiled_column() -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Box-shaped bodies one step apart, each with an arch whose spinous process hangs a third of a step below the body's middle."""
    shape = (STEP_VOXELS * len(NAMES) + 20, 50, 30)
    bodies, arches = np.zeros(shape, dtype=np.int16), np.zeros(shape, dtype=np.int16)
    for index in range(len(NAMES)):
        middle = shape[0] - 15 - index * STEP_VOXELS
        number = index + 1
        bodies[middle - 6 : middle + 7, 5:20, 5:25] = number
        arches[middle : middle + 5, 20:24, 7:23] = number
        arches[middle - 9 : middle + 3, 24:30, 7:23] = number
        arches[middle - 9 : middle, 30:45, 12:18] = number
    return bodies, arches


def test_arches_that_hang_below_their_bodies_keep_their_level() -> None:
    bodies, arches = tiled_column()
    given = assign_posterior(arches > 0, bodies, NAMES, SPACING_MM)
    right = given[arches > 0] == arches[arches > 0]
    assert right.mean() > 0.97
    nothing_else = given[arches == 0]
    assert not nothing_else.any()


def test_every_posterior_voxel_gets_a_level_even_a_loose_one() -> None:
    bodies, arches = tiled_column()
    arches[20:23, 47:49, 2:4] = 1
    given = assign_posterior(arches > 0, bodies, NAMES, SPACING_MM)
    assert (given[arches > 0] > 0).all()


def test_a_lone_vertebra_takes_all_of_its_arch() -> None:
    bodies, arches = tiled_column()
    given = assign_posterior(arches == 2, np.where(bodies == 2, 1, 0).astype(np.int16), ("L1",), SPACING_MM)
    assert np.array_equal(given > 0, arches == 2)


def test_a_column_without_arches_gives_none() -> None:
    bodies, _ = tiled_column()
    assert not assign_posterior(np.zeros(bodies.shape, dtype=bool), bodies, NAMES, SPACING_MM).any()
