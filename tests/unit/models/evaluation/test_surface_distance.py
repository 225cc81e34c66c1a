"""HD95 by hand on blocks, and against SimpleITK and MONAI on ragged shapes."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual short name
import torch
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage

from builders.label_columns import BlockColumn
from trabecula_models.evaluation.overlap import label_overlaps, spine_overlap
from trabecula_models.evaluation.surface_distance import border_points_mm, hd95_mm
from trabecula_morphometry.errors import GeometryError
from trabecula_morphometry.volume import Grid, LabelVolume

SPACING_XYZ = (0.8, 1.1, 2.5)


def straight_grid(shape: tuple[int, int, int]) -> Grid:
    return Grid(shape_zyx=shape, voxel_to_lps=np.diag([*SPACING_XYZ, 1.0]))


def blob(seed: int, shape: tuple[int, int, int] = (24, 40, 44)) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    z, y, x = np.indices(shape)
    near = np.exp(-(((z - 12) / 8) ** 2 + ((y - 20) / 12) ** 2 + ((x - 22) / 13) ** 2))
    return noise / noise.std() + 6 * near > 3.5


def simpleitk_hd95(a: np.ndarray, b: np.ndarray) -> float:
    """Distance maps of SimpleITK read at the other's contour voxels, both directions pooled."""
    images = [sitk.GetImageFromArray(np.pad(one, 3).astype(np.uint8)) for one in (a, b)]
    for image in images:
        image.SetSpacing(SPACING_XYZ)
    contours = [sitk.LabelContour(image, fullyConnected=False) for image in images]
    maps = [np.abs(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True))) for c in contours]
    inside = [sitk.GetArrayFromImage(contour) > 0 for contour in contours]
    return float(np.percentile(np.concatenate([maps[1][inside[0]], maps[0][inside[1]]]), 95))


@pytest.mark.parametrize("seed", range(4))
def test_hd95_agrees_with_simpleitk_on_uneven_voxels(seed: int) -> None:
    a, b = blob(seed), blob(seed + 100)
    grid = straight_grid(a.shape)
    ours = hd95_mm(border_points_mm(a, (0, 0, 0), grid), border_points_mm(b, (0, 0, 0), grid))
    assert ours == pytest.approx(simpleitk_hd95(a, b), abs=1e-3)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning")
@pytest.mark.parametrize("seed", range(4))
def test_hd95_is_at_most_the_larger_directed_percentile_of_monai(seed: int) -> None:
    a, b = blob(seed), blob(seed + 100)
    grid = straight_grid(a.shape)
    ours = hd95_mm(border_points_mm(a, (0, 0, 0), grid), border_points_mm(b, (0, 0, 0), grid))
    pair = [torch.from_numpy(np.pad(one, 3).astype(np.float32))[None, None] for one in (a, b)]
    theirs = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=SPACING_XYZ[::-1])
    assert ours <= float(theirs) + 1e-3
    assert ours >= 0.5 * float(theirs)


def test_a_block_moved_by_two_voxels_is_two_voxels_away() -> None:
    a, b = np.zeros((20, 20, 30), dtype=bool), np.zeros((20, 20, 30), dtype=bool)
    a[5:9, 5:9, 5:9], b[5:9, 5:9, 7:11] = True, True
    grid = straight_grid(a.shape)
    points = border_points_mm(a, (0, 0, 0), grid), border_points_mm(b, (0, 0, 0), grid)
    # 4^3 voxels less the 2^3 inside; 16 of the 56 border voxels have their nearest counterpart two steps of 0.8 mm away.
    assert len(points[0]) == 56
    assert hd95_mm(*points) == pytest.approx(1.6)


def test_a_distance_to_nothing_has_no_value() -> None:
    nothing = np.zeros((0, 3))
    assert hd95_mm(nothing, np.zeros((4, 3))) is None
    assert hd95_mm(np.zeros((4, 3)), nothing) is None


def test_dice_by_hand_and_by_simpleitk() -> None:
    a, b = BlockColumn().labels(), BlockColumn(shift_mm=(4.0, 0.0, 0.0)).labels()
    found = label_overlaps(a, b)
    # Blocks of 20 voxels along x, moved by 2: 18 of 20 are common.
    assert [found[label].dice for label in (19, 20, 21, 22)] == pytest.approx([0.9] * 4)
    measure = sitk.LabelOverlapMeasuresImageFilter()
    measure.Execute(sitk.GetImageFromArray(a.labels_zyx), sitk.GetImageFromArray(b.labels_zyx))
    assert found[20].dice == pytest.approx(measure.GetDiceCoefficient(20))
    assert found[20].hd95_mm == pytest.approx(4.0)
    assert found[20].reference_mm3 == pytest.approx(40 * 28 * 20)


def test_the_spine_as_one_structure_ignores_names_and_leaves_out_sacrum_and_metal() -> None:
    truth = BlockColumn().labels()
    renamed = BlockColumn(levels=("L1", "L2", "L3", "L4")).labels()
    renamed.labels_zyx[0, :, :] = 26
    renamed.labels_zyx[1, :, :] = 40
    assert spine_overlap(truth, renamed).dice == 1.0
    assert spine_overlap(truth, renamed).hd95_mm == 0.0
    assert label_overlaps(truth, renamed).keys() == {19, 20, 21, 22, 23}


def test_two_empty_spines_agree() -> None:
    empty = LabelVolume(labels_zyx=np.zeros((4, 4, 4), dtype=np.uint8), grid=straight_grid((4, 4, 4)))
    assert spine_overlap(empty, empty).dice == 1.0
    assert spine_overlap(empty, empty).hd95_mm is None
    assert label_overlaps(empty, empty) == {}


def test_volumes_on_different_grids_are_refused() -> None:
    with pytest.raises(GeometryError, match="different grids"):
        label_overlaps(BlockColumn().labels(), BlockColumn(spacing_mm=(1.0, 2.0, 2.0)).labels())
