"""Grids keep points where they are, whatever the orientation, shear or voxel size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from trabecula_morphometry.errors import GeometryError
from trabecula_morphometry.volume import AIR_HU, Grid, LabelVolume, Volume, analysis_grid


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    rotation = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-180, 180)] * 3)), degrees=True).as_matrix()
    spacing = np.array(draw(st.tuples(*[st.floats(0.4, 6.0)] * 3)))
    shear = np.eye(3)
    shear[1, 2] = draw(st.floats(-0.5, 0.5))  # gantry tilt
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ shear @ np.diag(spacing)
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return Grid(shape_zyx=draw(st.tuples(*[st.integers(2, 9)] * 3)), voxel_to_lps=matrix)


@given(grids())
@settings(deadline=None)
def test_along_lps_every_voxel_keeps_its_place_and_axes_run_to_left_posterior_superior(grid: Grid) -> None:
    hu = np.arange(np.prod(grid.shape_zyx), dtype=np.float32).reshape(grid.shape_zyx)
    volume = Volume(hu_zyx=hu, grid=grid)
    turned = volume.along_lps()
    voxels_xyz = np.argwhere(np.ones(turned.grid.shape_zyx))[:, ::-1]
    original = np.rint(grid.to_voxel(turned.grid.to_lps(voxels_xyz))).astype(int)
    assert np.array_equal(turned.hu_zyx.ravel(), hu[original[:, 2], original[:, 1], original[:, 0]])
    assert np.allclose(np.abs(turned.grid.voxel_to_lps[:3, :3]).sum(), np.abs(grid.voxel_to_lps[:3, :3]).sum())
    assert (np.diag(turned.grid.voxel_to_lps)[:3] >= 0).all()
    again = turned.along_lps()
    assert np.array_equal(again.grid.voxel_to_lps, turned.grid.voxel_to_lps)


@given(grids(), st.tuples(*[st.floats(-100, 100)] * 3))
@settings(deadline=None)
def test_voxel_to_lps_and_back_is_the_same_voxel(grid: Grid, voxel: tuple[float, float, float]) -> None:
    assert np.allclose(grid.to_voxel(grid.to_lps(voxel)), voxel, atol=1e-6)


@given(grids())
@settings(deadline=None)
def test_a_linear_field_is_sampled_exactly_inside(grid: Grid) -> None:
    z, y, x = np.meshgrid(*[np.arange(n) for n in grid.shape_zyx], indexing="ij")
    points = grid.to_lps(np.stack([x, y, z], axis=-1))
    slope = np.array([0.3, -0.2, 0.5])
    volume = Volume(hu_zyx=(points @ slope).astype(np.float32), grid=grid)
    middle = grid.to_lps((np.array(grid.shape_zyx[::-1]) - 1) / 2)
    assert float(volume.sample(middle[None])[0]) == pytest.approx(float(middle @ slope), abs=0.05)


@given(grids())
@settings(deadline=None, max_examples=30)
def test_labels_keep_their_place_on_a_finer_grid(grid: Grid) -> None:
    labels = np.zeros(grid.shape_zyx, dtype=np.uint8)
    centre = tuple(n // 2 for n in grid.shape_zyx)
    labels[centre] = 20
    label_volume = LabelVolume(labels_zyx=labels, grid=grid)
    point = grid.to_lps(np.array(centre[::-1]))
    around = analysis_grid(point - 3, point + 3, 0.25)
    fine = label_volume.resample(around)
    assert int(fine.sample(point[None])[0]) == 20
    assert int(label_volume.sample(point[None])[0]) == 20


def test_block_averages_keep_the_mean_and_the_place() -> None:
    hu = np.arange(4 * 6 * 8, dtype=np.int16).reshape(4, 6, 8)
    volume = Volume(hu_zyx=hu, grid=Grid(shape_zyx=hu.shape, voxel_to_lps=np.eye(4)))
    small = volume.reduce((2, 3, 2))
    assert small.hu_zyx.shape == (2, 2, 4)
    assert float(small.hu_zyx.mean()) == pytest.approx(float(hu.mean()))
    first = small.grid.to_lps((0, 0, 0))
    assert first.tolist() == [0.5, 1.0, 0.5]
    assert float(small.hu_zyx[0, 0, 0]) == pytest.approx(float(volume.sample(first[None])[0]), abs=1e-3)


def test_outside_the_volume_there_is_air() -> None:
    volume = Volume(hu_zyx=np.full((3, 3, 3), 40, dtype=np.int16), grid=Grid(shape_zyx=(3, 3, 3), voxel_to_lps=np.eye(4)))
    assert float(volume.sample(np.array([[50.0, 0.0, 0.0]]))[0]) == AIR_HU


def test_a_grid_without_volume_is_refused() -> None:
    with pytest.raises(GeometryError):
        Grid(shape_zyx=(2, 2, 2), voxel_to_lps=np.diag([1.0, 0.0, 1.0, 1.0]))


def test_slice_spacing_of_a_tilted_series_is_the_distance_of_the_planes() -> None:
    matrix = np.eye(4)
    matrix[:3, 2] = [0.0, 1.0, 2.0]
    assert Grid(shape_zyx=(2, 2, 2), voxel_to_lps=matrix).slice_spacing_mm == pytest.approx(2.0)
