"""Masks on another grid: nothing moves, nothing thin is lost, no gap opens, and it does not matter which way the grid runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from trabecula_morphometry.mask_sampling import resample_masks
from trabecula_morphometry.volume import Grid, LabelVolume

COUNT = 48
MIDDLE_MM, RADIUS_MM = np.array([23.3, 23.6, 23.1]), 13.0


def grid(spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0), first_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Grid:
    matrix = np.diag([*spacing_mm, 1.0])
    matrix[:3, 3] = first_mm
    nx, ny, nz = (int(COUNT / step) for step in spacing_mm)
    return Grid(shape_zyx=(nz, ny, nx), voxel_to_lps=matrix)


def points_of(where: Grid) -> np.ndarray:
    return where.to_lps(np.stack(np.meshgrid(*[np.arange(n) for n in where.shape_zyx], indexing="ij"), axis=-1)[..., ::-1])


def ball(where: Grid, label: int = 20) -> LabelVolume:
    inside = np.linalg.norm(points_of(where) - MIDDLE_MM, axis=-1) < RADIUS_MM
    return LabelVolume(labels_zyx=np.where(inside, label, 0).astype(np.uint8), grid=where)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * int((one & other).sum()) / int(one.sum() + other.sum())


def test_masks_stay_as_they_are_on_their_own_grid() -> None:
    mask = ball(grid())
    assert resample_masks((mask,), grid())[0] is mask


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.floats(-0.5, 0.5)] * 3), st.sampled_from([0.6, 0.8, 1.0]), st.sampled_from([0.7, 1.0, 2.5]))
def test_a_ball_stays_where_it_is_and_as_large_on_any_lattice(
    first_mm: tuple[float, float, float], pixel_mm: float, step_mm: float
) -> None:
    there = grid((pixel_mm, pixel_mm, step_mm), first_mm)
    (found,) = resample_masks((ball(grid()),), there)
    true = ball(there)
    # The ball is so near to the truth but for slices of 2.5 mm that just touch its poles, in the one mask and not in the other.
    assert np.count_nonzero(found.labels_zyx) == pytest.approx(np.count_nonzero(true.labels_zyx), rel=0.06)
    assert dice(found.labels_zyx == 20, true.labels_zyx == 20) > 0.975
    points = points_of(there)
    assert points[found.labels_zyx > 0].mean(axis=0) == pytest.approx(points[true.labels_zyx > 0].mean(axis=0), abs=0.35)


def test_it_is_nearer_to_the_truth_than_the_nearest_voxel() -> None:
    there = grid((0.7, 0.7, 1.25), (0.4, 0.45, 0.4))
    true = ball(there).labels_zyx == 20
    (found,) = resample_masks((ball(grid()),), there)
    nearest = ball(grid()).resample(there)
    assert dice(found.labels_zyx == 20, true) > dice(nearest.labels_zyx == 20, true) + 0.005


def test_a_lamina_of_two_voxels_and_the_seam_between_body_and_arch_stay_whole() -> None:
    body, arch = np.zeros((COUNT,) * 3, np.uint8), np.zeros((COUNT,) * 3, np.uint8)
    body[10:30, 10:25, 10:38], arch[10:30, 25:40, 22:24] = 20, 20
    masks = tuple(LabelVolume(labels_zyx=labels, grid=grid()) for labels in (body, arch))
    found_body, found_arch = resample_masks(masks, grid((0.5, 0.5, 1.0), (0.25, 0.25, 0.5)))
    assert not ((found_body.labels_zyx > 0) & (found_arch.labels_zyx > 0)).any()
    # The lamina lies at x 21.5 to 23.5 mm and the seam at y 24.5 mm: every row through its middle is bone from the body's front to its end.
    row = (found_body.labels_zyx | found_arch.labels_zyx)[19, :, 44]
    assert (row[22:76] > 0).all()
    assert np.count_nonzero(found_arch.labels_zyx) == pytest.approx(4 * np.count_nonzero(arch), rel=0.1)


def test_metal_and_the_arch_beneath_it_both_keep_their_voxels() -> None:
    arch, metal = np.zeros((COUNT,) * 3, np.uint8), np.zeros((COUNT,) * 3, np.uint8)
    arch[10:30, 10:40, 10:30], metal[15:25, 20:30, 5:35] = 21, 40
    there = grid((0.7, 0.7, 1.25), (0.3, 0.3, 0.3))
    found_metal, found_arch = resample_masks((LabelVolume(labels_zyx=metal, grid=grid()), LabelVolume(labels_zyx=arch, grid=grid())), there)
    alone = resample_masks((LabelVolume(labels_zyx=arch, grid=grid()),), there)[0]
    assert np.count_nonzero(found_arch.labels_zyx != alone.labels_zyx) < 0.02 * np.count_nonzero(alone.labels_zyx)
    both = (found_metal.labels_zyx == 40) & (found_arch.labels_zyx == 21)
    assert both.sum() * there.voxel_volume_mm3 == pytest.approx(10 * 10 * 20, rel=0.1)


def test_neighbours_keep_their_labels_and_nothing_is_invented() -> None:
    labels = np.zeros((COUNT,) * 3, np.uint8)
    labels[5:20, 10:30, 10:30], labels[20:35, 10:30, 10:30] = 21, 20
    (found,) = resample_masks((LabelVolume(labels_zyx=labels, grid=grid()),), grid((0.7, 0.7, 0.7)))
    assert set(np.unique(found.labels_zyx)) == {0, 20, 21}
    column = found.labels_zyx[:, 28, 28]
    assert (np.diff(column[column > 0].astype(int)) <= 0).all()
    (nothing,) = resample_masks((LabelVolume(labels_zyx=np.zeros((COUNT,) * 3, np.uint8), grid=grid()),), grid((0.7, 0.7, 0.7)))
    assert not nothing.labels_zyx.any()


def test_flipped_turned_and_oblique_grids_show_the_same_ball() -> None:
    flipped = np.array([[0.0, 0, 0.8, 2], [0.8, 0, 0, 3], [0, -0.8, 0, 44], [0, 0, 0, 1]])
    oblique = np.eye(4)
    oblique[:3, :3] = Rotation.from_euler("xyz", [8, 5, -6], degrees=True).as_matrix() * 0.8
    oblique[:3, 3] = 3.0
    for matrix in (flipped, oblique):
        there = Grid(shape_zyx=(56, 56, 56), voxel_to_lps=matrix)
        (found,) = resample_masks((ball(grid()),), there)
        assert dice(found.labels_zyx == 20, ball(there).labels_zyx == 20) > 0.985


def test_what_lies_beyond_the_other_grid_is_left_out() -> None:
    far = grid(first_mm=(200.0, 0.0, 0.0))
    assert not resample_masks((ball(grid()),), far)[0].labels_zyx.any()
    half = grid(first_mm=(23.5, 0.0, 0.0))
    (found,) = resample_masks((ball(grid()),), half)
    assert np.count_nonzero(found.labels_zyx) == pytest.approx(np.count_nonzero(ball(grid()).labels_zyx) / 2, rel=0.06)
