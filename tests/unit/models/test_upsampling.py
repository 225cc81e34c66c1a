"""Maps of the network on the finer lattice of the masks: the same as interpolation voxel by voxel."""

import numpy as np
import pytest
from scipy import ndimage

from trabecula_models.upsampling import nearest, upsample
from trabecula_morphometry.volume import Grid

OFFSETS_MM = [(0.0, 0.0, 0.0), (0.4, -0.7, 1.3), (-2.6, 3.1, -1.9)]


def grid(shape_zyx: tuple[int, int, int], spacing_mm: float, first_lps_mm: tuple[float, float, float]) -> Grid:
    matrix = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    matrix[:3, 3] = first_lps_mm
    return Grid(shape_zyx=shape_zyx, voxel_to_lps=matrix)


@pytest.mark.parametrize("offset_mm", OFFSETS_MM)
@pytest.mark.parametrize("shape_zyx", [(9, 7, 12), (1, 5, 2)])
def test_a_map_is_linear_between_its_voxels_and_goes_on_beyond_them(
    shape_zyx: tuple[int, int, int], offset_mm: tuple[float, float, float]
) -> None:
    field = np.random.default_rng(4).random(shape_zyx, dtype=np.float32)
    source, target = grid(shape_zyx, 1.5, (10.0, -20.0, 5.0)), grid((14, 13, 21), 1.0, tuple(np.add((10.0, -20.0, 5.0), offset_mm)))
    first_zyx = np.array(offset_mm[::-1]) / 1.5
    expected = ndimage.affine_transform(field, np.full(3, 1 / 1.5), first_zyx, output_shape=target.shape_zyx, order=1, mode="nearest")
    assert upsample(field, source, target) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("offset_mm", OFFSETS_MM)
def test_labels_go_to_the_nearest_voxel(offset_mm: tuple[float, float, float]) -> None:
    labels = np.random.default_rng(5).integers(0, 9, (8, 6, 10)).astype(np.int16)
    source, target = grid(labels.shape, 1.5, (0.0, 0.0, 0.0)), grid((12, 9, 16), 1.0, offset_mm)
    places = target.to_lps(np.argwhere(np.ones(target.shape_zyx))[:, ::-1])
    z, y, x = np.clip(np.floor(source.to_voxel(places)[:, ::-1] + 0.5), 0, np.array(labels.shape) - 1).astype(int).T
    assert np.array_equal(nearest(labels, source, target).ravel(), labels[z, y, x])
