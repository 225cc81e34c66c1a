"""Posterior elements go to the vertebra they belong to, though neighbours overlap like roof tiles."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.posterior import LARGEST_GAP_MM2, MUSCLE_HU, assign_posterior, edge_hu, small_gaps

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


@pytest.mark.parametrize("bone_hu", [250.0, 500.0, 1000.0])
@pytest.mark.parametrize("blur_mm", [0.5, 1.0])
def test_the_edge_of_a_lamina_lies_where_its_bone_ends_however_dense_it_is(bone_hu: float, blur_mm: float) -> None:
    spacing_mm, wall_mm = 0.5, 6.0
    place_mm = (np.arange(80) - 39.5) * spacing_mm
    lamina = np.where(np.abs(place_mm) < wall_mm / 2, bone_hu, MUSCLE_HU)
    hu = np.tile(ndimage.gaussian_filter1d(lamina, blur_mm / spacing_mm), (12, 12, 1)).astype(np.float32)
    inside = (hu > edge_hu(hu, spacing_mm))[6, 6]
    assert inside.sum() * spacing_mm == pytest.approx(wall_mm, abs=2 * spacing_mm)


def test_muscle_is_never_bone() -> None:
    rng = np.random.default_rng(3)
    hu = rng.normal(MUSCLE_HU, 15.0, (20, 20, 20)).astype(np.float32)
    assert not (hu > edge_hu(hu, 1.0)).any()


def plate_with_hole(hole_mm: float, spacing_mm: float) -> NDArray[np.bool_]:
    """A lamina, open to the front and the back of a square hole."""
    bone = np.zeros((40, 5, 40), dtype=bool)
    bone[2:-2, 1:4, 2:-2] = True
    half = round(hole_mm / spacing_mm / 2)
    bone[20 - half : 20 + half, :, 20 - half : 20 + half] = False
    return bone


def test_marrow_inside_an_arch_belongs_to_it_though_its_wall_is_open_somewhere() -> None:
    bone = plate_with_hole(4.0, 1.0)
    whole = bone | small_gaps(bone, 1.0)
    assert whole[2:-2, 1:4, 2:-2].all()
    assert not whole[:, [0, -1]].any()


@pytest.mark.parametrize("spacing_mm", [1.0, 0.8])
def test_the_canal_is_no_gap(spacing_mm: float) -> None:
    bone = plate_with_hole(LARGEST_GAP_MM2**0.5 + 3.0, spacing_mm)
    assert not small_gaps(bone, spacing_mm).any()
