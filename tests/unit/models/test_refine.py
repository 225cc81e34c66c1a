"""The third look at a body: what it is shown, that it goes on until the outline is settled, and that it loses none."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.refine import ROOM_VOXELS, VIEW_CHANNELS, VIEW_MULTIPLE, BodyRefiner, FineMaps, Outlines, without_strands
from trabecula_models.training.view_cases import followed_views
from trabecula_morphometry.volume import AIR_HU, Grid, LabelVolume, Volume

INSIDE = 0.15
BONE_HU, FAT_HU = 200, -100


def scan_with_two_bodies() -> tuple[Volume, FineMaps, NDArray[np.bool_]]:
    """Two boxes of bone in fat on a 1 mm grid; the fine network's outlines lie 2 mm inside, instance 1 above instance 2."""
    truth = np.zeros((2, 60, 50, 50), bool)
    truth[0, 34:52, 15:35, 12:38] = True
    truth[1, 12:30, 15:35, 12:38] = True
    matrix = np.eye(4)
    matrix[:3, 3] = (-25.0, 4.0, 100.0)
    grid = Grid(shape_zyx=(60, 50, 50), voxel_to_lps=matrix)
    margin, instance = np.full(grid.shape_zyx, -1.0, np.float32), np.zeros(grid.shape_zyx, np.int16)
    for number, (z0, z1) in enumerate(((36, 50), (14, 28)), start=1):
        margin[z0:z1, 17:33, 14:36] = 0.8
        instance[z0 - 2 : z1 + 2, 15:35, 12:38] = number
    volume = Volume(hu_zyx=np.where(truth.any(axis=0), BONE_HU, FAT_HU).astype(np.int16), grid=grid)
    return volume, FineMaps(margin=margin, instance=instance, posterior=np.zeros(grid.shape_zyx, np.float32), grid=grid), truth


def refiner(answer: Any) -> BodyRefiner:
    """A refiner whose network is a function of the view's channels."""
    made = object.__new__(BodyRefiner)
    made._forward = lambda channels: answer(channels)[None]  # type: ignore[assignment]
    return made


def bright(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bone by its HU alone: both bodies wherever they are in view."""
    return channels[1]


def test_a_view_shows_the_ct_the_fine_networks_word_and_which_body_is_meant() -> None:
    volume, maps, _ = scan_with_two_bodies()
    outlines = Outlines(maps, maps.outlined(INSIDE))
    upper, lower = outlines.view(volume, 1), outlines.view(volume, 2)
    assert upper is not None
    assert lower is not None
    assert (upper.instance, lower.instance) == (1, 2)
    assert upper.channels.shape[0] == VIEW_CHANNELS
    assert all(n % VIEW_MULTIPLE == 0 for n in upper.channels.shape[1:])
    middle = tuple(np.array((43, 25, 25)) - upper.first_zyx)
    wide, narrow, margin, meant, posterior = (channel[middle] for channel in upper.channels)
    assert wide == pytest.approx((BONE_HU + 200) / 600 - 1)
    assert narrow == pytest.approx((BONE_HU + 150) / 300 - 1)
    assert (margin, meant, posterior) == (pytest.approx(0.8), 1.0, 0.0)
    assert (upper.channels[3] == -1).any()  # the lower body reaches into the view
    for axis, (start, stop) in enumerate(((36, 50), (17, 33), (14, 36))):
        assert upper.first_zyx[axis] <= start - ROOM_VOXELS
        assert upper.first_zyx[axis] + upper.channels.shape[1 + axis] >= stop + ROOM_VOXELS


def test_outlines_follow_the_network_out_to_the_bone_and_each_body_keeps_its_own() -> None:
    volume, maps, truth = scan_with_two_bodies()
    outlined = refiner(bright).outline(volume, maps, maps.outlined(INSIDE))
    assert np.array_equal(outlined == 1, truth[0])
    assert np.array_equal(outlined == 2, truth[1])


def test_a_body_that_the_network_denies_keeps_the_outline_it_had() -> None:
    volume, maps, _ = scan_with_two_bodies()
    outlined = refiner(lambda channels: np.full(channels.shape[1:], -5.0, np.float32)).outline(volume, maps, maps.outlined(INSIDE))
    for number in (1, 2):
        assert np.array_equal(outlined == number, maps.outlined(INSIDE) == number)


def with_little_of_the_upper_body(maps: FineMaps) -> FineMaps:
    """The fine network saw its uppermost 4 mm only."""
    margin = maps.margin.copy()
    margin[36:46, 17:33, 14:36] = -0.9
    return replace(maps, margin=margin)


def three_voxels_further(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bone next to the outline that there is."""
    own = (channels[3] > 0) & (channels[2] > 0)
    return np.where(ndimage.binary_dilation(own, iterations=3) & (channels[1] > 0), np.float32(4), np.float32(-4))


def test_an_outline_far_off_is_followed_from_look_to_look_and_a_settled_one_is_left_alone() -> None:
    volume, maps, truth = scan_with_two_bodies()
    maps = with_little_of_the_upper_body(maps)
    before = maps.outlined(INSIDE)
    outlined = refiner(three_voxels_further).outline(volume, maps, before)
    looks = list(refiner(three_voxels_further).looks(volume, once := Outlines(maps, before)))
    assert looks[:2] == [[1, 2], [1, 2]]  # the lower one lay 2 mm inside and is settled after its second look
    assert 1 <= len(looks[2:]) <= 3
    assert all(look == [1] for look in looks[2:])
    assert np.array_equal(once.instance, outlined)
    first = Outlines(maps, before)
    refiner(three_voxels_further).look(volume, first, (1, 2))
    assert (first.instance == 1).sum() < 0.6 * truth[0].sum()
    assert (outlined == 1).sum() > 0.9 * truth[0].sum()
    assert np.array_equal(outlined == 2, first.instance == 2)


def test_training_sees_a_body_at_every_look_that_use_takes_at_it() -> None:
    volume, maps, truth = scan_with_two_bodies()
    maps = with_little_of_the_upper_body(maps)
    labels = LabelVolume(labels_zyx=(truth[0] * 20 + truth[1] * 21).astype(np.uint8), grid=maps.grid)
    cases = list(followed_views(volume, labels, maps, refiner(three_voxels_further)))
    looks = list(refiner(three_voxels_further).looks(volume, Outlines(maps, maps.outlined(INSIDE))))
    assert [case.view.instance for case in cases] == [instance for look in looks for instance in look]
    upper = [case for case in cases if case.view.instance == 1]
    assert upper[-1].truth.sum() == truth[0].sum()
    shown = [int(((case.view.channels[3] > 0) & (case.view.channels[2] > INSIDE)).sum()) for case in upper]
    assert shown == sorted(shown)
    assert shown[-1] > 1.5 * shown[0]


def test_an_outline_that_outgrows_its_neighbours_is_taken_back_and_followed_no_more() -> None:
    labels = np.zeros((90, 60, 40), np.int16)
    for number, first in enumerate((4, 34, 64), start=1):
        labels[first : first + 20, 10:30, 10:30] = number
    grid = Grid(shape_zyx=labels.shape, voxel_to_lps=np.eye(4))
    volume = Volume(hu_zyx=np.where(labels > 0, 300, 40).astype(np.int16), grid=grid)
    margin = np.where(labels > 0, np.float32(0.9), np.float32(-0.9))
    screwed = (labels == 2).astype(np.float32)
    maps = FineMaps(margin=margin, instance=labels, posterior=screwed, grid=grid)

    def backwards_between_screws(channels: NDArray[np.float32]) -> NDArray[np.float32]:
        own = (channels[3] > 0) & (channels[2] > 0)
        grown = own | np.roll(own, 3, axis=1) if channels[4].any() else own
        return np.where(grown, np.float32(4), np.float32(-4))

    outlined = refiner(backwards_between_screws).outline(volume, maps, maps.outlined(INSIDE))
    assert np.array_equal(outlined == 2, (labels == 2) | np.roll(labels == 2, 3, axis=1))  # as the first look left it
    assert np.array_equal(outlined == 1, labels == 1)
    assert np.array_equal(outlined == 3, labels == 3)


def test_a_body_looked_at_again_takes_nothing_that_is_likelier_its_neighbours() -> None:
    volume, maps, truth = scan_with_two_bodies()
    outlines = Outlines(maps, maps.outlined(INSIDE))
    refiner(bright).look(volume, outlines, (1, 2))
    settled = outlines.instance == 2
    outlines.start_from_here((1,))
    refiner(lambda channels: channels[1] * np.float32(0.5)).look(volume, outlines, (1,))  # sees both, less surely
    assert np.array_equal(outlines.instance == 2, settled)
    assert np.array_equal(outlines.instance == 1, truth[0])
    assert outlines.moved() == []


def test_a_number_without_an_outline_is_passed_over() -> None:
    volume, maps, _ = scan_with_two_bodies()
    before = np.where(maps.outlined(INSIDE) == 2, np.int16(3), maps.outlined(INSIDE))
    outlines = Outlines(maps, before)
    everybody = range(1, outlines.count + 1)
    refiner(bright).look(volume, outlines, everybody)
    outlines.start_from_here(everybody)
    assert outlines.view(volume, 2) is None
    assert set(np.unique(outlines.instance)) == {0, 1, 3}


def test_a_tongue_into_the_disc_goes_and_a_thin_body_stays() -> None:
    body = np.zeros((50, 60, 60), bool)
    body[10:34, 10:40, 10:46] = True
    tongue = body.copy()
    tongue[34:46, 10:14, 20:30] = True
    kept = without_strands(tongue)
    assert kept[:34].sum() > 0.99 * body.sum()
    assert kept[38:].sum() == 0
    crushed = body.copy()
    crushed[16:] = False
    assert without_strands(crushed).sum() > 0.99 * crushed.sum()
    assert without_strands(np.zeros_like(body)).sum() == 0


def test_beyond_the_scan_a_view_shows_air_and_no_body() -> None:
    volume, maps, _ = scan_with_two_bodies()
    cut = tuple(slice(a, b) for a, b in ((0, 46), (0, 50), (0, 50)))
    part = Volume(hu_zyx=volume.hu_zyx[cut], grid=volume.grid.crop(cut))
    ends = FineMaps(margin=maps.margin[cut], instance=maps.instance[cut], posterior=maps.posterior[cut], grid=maps.grid.crop(cut))
    upper = Outlines(ends, ends.outlined(INSIDE)).view(part, 1)
    assert upper is not None
    beyond = upper.channels[:, 46 - upper.first_zyx[0] :]
    assert AIR_HU < -200
    assert (beyond[0] == -1).all()
    assert (beyond[2] == -1).all()
    assert (beyond[3] == 0).all()


@settings(deadline=None)
@given(seed=st.integers(0, 1000))
def test_whatever_the_network_says_no_body_vanishes_and_no_voxel_has_two(seed: int) -> None:
    volume, maps, _ = scan_with_two_bodies()
    rng = np.random.default_rng(seed)
    noise = refiner(lambda channels: rng.normal(rng.uniform(-3, 3), 1, channels.shape[1:]).astype(np.float32))
    outlined = noise.outline(volume, maps, maps.outlined(INSIDE))
    assert set(np.unique(outlined)) >= {1, 2}
    assert outlined.shape == maps.grid.shape_zyx


def test_what_the_network_does_on_one_side_only_cancels_out() -> None:
    volume, maps, truth = scan_with_two_bodies()

    def shrinks_to_the_right(channels: NDArray[np.float32]) -> NDArray[np.float32]:
        side = np.linspace(-3, 3, channels.shape[-1], dtype=np.float32)
        return np.where(channels[3] > 0, channels[1], np.float32(-1)) + side

    outlined = refiner(shrinks_to_the_right).outline(volume, maps, maps.outlined(INSIDE)) == 1
    right_to_left = np.argwhere(truth[0])[:, 2]
    middle_mm = (right_to_left.min() + right_to_left.max()) / 2
    assert np.argwhere(outlined)[:, 2].mean() == pytest.approx(middle_mm, abs=0.1)
