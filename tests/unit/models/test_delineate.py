"""What the fine network is given to see."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from trabecula_models.bodies import BODY_PROBABILITY, ClassMaps
from trabecula_models.delineate import delineate_column, half_a_voxel_back, is_noisy, smoothed
from trabecula_models.fine_masks import INSIDE_MARGIN
from trabecula_models.locate import CLASS_NAMES
from trabecula_morphometry.volume import Grid, Volume

SPACING_MM = 1.5
MUSCLE_HU = 50.0


def muscle(noise_hu: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (MUSCLE_HU + rng.normal(0, noise_hu, (24, 24, 24))).astype(np.float32)


@pytest.mark.parametrize(("noise_hu", "noisy"), [(0.0, False), (8.0, False), (60.0, True)])
def test_only_the_grain_of_a_sharp_kernel_counts_as_noise(noise_hu: float, noisy: bool) -> None:
    assert is_noisy(muscle(noise_hu), SPACING_MM) is noisy


def test_smoothing_halves_the_noise_of_a_sharp_kernel_without_a_shift() -> None:
    hu = muscle(60.0)
    steady = smoothed(hu, SPACING_MM)
    assert steady.std() < 0.5 * hu.std()
    assert steady.mean() == pytest.approx(hu.mean(), abs=1.0)


def test_lung_alone_has_no_grain_to_judge() -> None:
    assert not is_noisy(np.full((8, 8, 8), -850.0, dtype=np.float32), SPACING_MM)


def test_bone_between_pedicle_and_body_belongs_to_one_of_them() -> None:
    along = np.linspace(0, 1, 11, dtype=np.float32).reshape(1, 1, -1)
    nothing = np.zeros_like(along)
    maps = ClassMaps(
        body=0.98 * (1 - along), posterior=0.98 * along, disc=nothing, sacrum=nothing, rib=nothing, pelvis=nothing, heat=nothing
    )
    assert ((maps.body_margin() > INSIDE_MARGIN) | (maps.posterior_bone() > BODY_PROBABILITY)).all()
    assert not ((maps.body_margin() > INSIDE_MARGIN) | (maps.posterior > BODY_PROBABILITY)).all()


BALL_LPS_MM, BALL_RADIUS_MM, BONE_HU = np.array([1.0, -2.0, 3.0]), 12.0, 300.0


class BrightIsBody:
    """Stands for the fine network: body where the HU are those of bone."""

    bundle = SimpleNamespace(spacing_mm=SPACING_MM)

    def __init__(self) -> None:
        self.mirrored: list[bool] = []

    def run(self, hu_zyx: np.ndarray, *, mirrored: bool, **_: Any) -> np.ndarray:
        self.mirrored.append(mirrored)
        out = np.zeros((len(CLASS_NAMES) + 1, *hu_zyx.shape), np.float32)
        out[CLASS_NAMES.index("body")] = (hu_zyx - BONE_HU / 2) / 20.0
        return out


def ball() -> Volume:
    """A ball of bone in air."""
    scan = Grid(shape_zyx=(61, 61, 61), voxel_to_lps=np.eye(4))
    scan.voxel_to_lps[:3, 3] = -30.0
    places = scan.to_lps(np.argwhere(np.ones(scan.shape_zyx))[:, ::-1].astype(float))
    bone = np.clip(BALL_RADIUS_MM + 0.5 - np.linalg.norm(places - BALL_LPS_MM, axis=1), 0, 1).reshape(scan.shape_zyx)
    return Volume(hu_zyx=(BONE_HU * bone).astype(np.int16), grid=scan)


def test_both_looks_and_their_mean_show_a_ball_where_it_lies() -> None:
    volume = ball()
    network = BrightIsBody()

    seen = delineate_column(volume, np.full(3, -24.0), np.full(3, 24.0), network)  # type: ignore[arg-type]

    def middle(field_zyx: np.ndarray, grid: Grid) -> np.ndarray:
        inside = field_zyx > field_zyx.min() + 0.5 * np.ptp(field_zyx)
        return np.asarray(grid.to_lps(np.argwhere(inside)[:, ::-1].astype(float)).mean(0))

    assert network.mirrored == [False, True]
    assert middle(seen.maps.body, seen.grid) == pytest.approx(BALL_LPS_MM, abs=0.3)
    for look in seen.looks:
        assert middle(look.body_margin, look.grid) == pytest.approx(BALL_LPS_MM, abs=0.3)
    assert seen.looks[1].grid.voxel_to_lps[:3, 3] - seen.looks[0].grid.voxel_to_lps[:3, 3] == pytest.approx(np.full(3, SPACING_MM / 2))


def test_a_field_moved_by_half_a_voxel_is_that_of_linear_interpolation() -> None:
    field = np.random.default_rng(4).random((5, 6, 7)).astype(np.float32)
    expected = ndimage.affine_transform(field, np.ones(3), -0.5, order=1, mode="nearest")
    assert np.allclose(half_a_voxel_back(field), expected, atol=1e-6)


class DarkMarrow(BrightIsBody):
    """Takes the marrow of a body for disc, and knows its centre all the same."""

    def run(self, hu_zyx: np.ndarray, *, mirrored: bool, **kwargs: Any) -> np.ndarray:
        out = super().run(hu_zyx, mirrored=mirrored, **kwargs)
        out[CLASS_NAMES.index("disc")] = out[CLASS_NAMES.index("body")] + 1.0
        out[len(CLASS_NAMES)] = hu_zyx > BONE_HU / 2
        return out


def test_both_looks_believe_the_centre_of_a_body_whose_marrow_is_darker_than_its_discs() -> None:
    seen = delineate_column(ball(), np.full(3, -24.0), np.full(3, 24.0), DarkMarrow())  # type: ignore[arg-type]
    at_centre = tuple(np.rint(seen.grid.to_voxel(BALL_LPS_MM)[::-1]).astype(int))
    assert seen.maps.body[at_centre] > 0.9
    assert all(look.body_margin[at_centre] > 0.8 for look in seen.looks)
