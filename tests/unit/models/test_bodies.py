"""One instance for each body, also where the network ran two of them together."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.bodies import ClassMaps, part_merged_bodies, recentred, split_bodies
from trabecula_models.column import BodyCandidate

SPACING_MM = 1.5
BODY_VOXELS, STEP_VOXELS = 16, 20


def column(tops: list[int], missing_disc_after: int | None = None) -> ClassMaps:
    """Boxes of 24 mm at these rows of the grid, discs of 6 mm between; the front of one disc may be taken for bone."""
    shape = (max(tops) + BODY_VOXELS + 6, 40, 40)
    body, disc = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for index, top in enumerate(tops):
        body[top : top + BODY_VOXELS, 8:28, 8:32] = 1
        gap = (slice(top + BODY_VOXELS, top + STEP_VOXELS), slice(8, 28), slice(8, 32))
        if index == missing_disc_after:
            body[gap[0], 8:16, 8:32] = 0.9
            disc[gap[0], 16:28, 8:32] = 0.9
        elif index < len(tops) - 1:
            disc[gap] = 1
    nothing = np.zeros(shape, np.float32)
    return ClassMaps(body=body, posterior=nothing, disc=disc, sacrum=nothing, rib=nothing, pelvis=nothing, heat=nothing)


def at(row: float, from_front: int = 18) -> BodyCandidate:
    voxel = (round(row), from_front, 20)
    return BodyCandidate(voxel_zyx=voxel, center_lps_mm=np.array(voxel[::-1]) * SPACING_MM, heat=0.9)


def cranial_to_caudal(tops: list[int]) -> list[BodyCandidate]:
    return [at(top + BODY_VOXELS / 2) for top in sorted(tops, reverse=True)]


def parted(maps: ClassMaps, chain: list[BodyCandidate]) -> tuple[list[BodyCandidate], NDArray[np.int16]]:
    return part_merged_bodies(split_bodies(maps, chain, SPACING_MM), chain, maps, SPACING_MM)


TOPS = [2 + STEP_VOXELS * index for index in range(5)]


def test_a_healthy_column_keeps_its_bodies() -> None:
    maps, chain = column(TOPS), cranial_to_caudal(TOPS)
    assert parted(maps, chain)[0] == chain


def test_two_bodies_under_one_peak_are_parted_at_their_own_centres() -> None:
    maps = column(TOPS, missing_disc_after=2)
    true = cranial_to_caudal(TOPS)
    chain, instances = parted(maps, [*true[:1], at((TOPS[2] + TOPS[3] + BODY_VOXELS) / 2, from_front=12), *true[3:]])
    assert len(chain) == len(true)
    for number, (found, known) in enumerate(zip(chain, true, strict=True), start=1):
        assert np.linalg.norm(found.center_lps_mm - known.center_lps_mm) < 5.0
        assert instances[known.voxel_zyx] == number


def test_a_crushed_body_that_ran_together_with_its_neighbour_gets_its_own_number() -> None:
    maps = column(TOPS, missing_disc_after=2)
    true = cranial_to_caudal(TOPS)
    crushed = slice(TOPS[3] + 7, None)  # the lower 10 mm of the fourth body from below are left, the rest of the column moves down
    for field in (maps.body, maps.disc):
        field[crushed] = np.roll(field, -9, axis=0)[crushed]
    moved = [at(candidate.voxel_zyx[0] - 9) for candidate in true[:1]]
    chain, instances = parted(maps, [*moved, at((TOPS[2] + TOPS[3] + 7) / 2, from_front=12), *true[3:]])
    assert len(chain) == len(true)
    assert (instances[TOPS[3] + 3, 18, 20], instances[TOPS[2] + 8, 18, 20]) == (2, 3)
    sizes = np.bincount(instances.ravel())[1:]
    assert 0.25 < sizes[1] / sizes[2] < 0.6


def test_a_single_body_between_a_crushed_and_a_cut_one_is_not_parted() -> None:
    maps, chain = column(TOPS), cranial_to_caudal(TOPS)
    maps.body[TOPS[4] + 5 :] = 0
    maps.body[TOPS[2] + 5 : TOPS[2] + BODY_VOXELS] = 0
    chain[0], chain[2] = at(TOPS[4] + 2), at(TOPS[2] + 2)
    assert parted(maps, chain)[0] == chain


def test_a_body_cut_by_the_field_does_not_make_its_neighbour_look_merged() -> None:
    maps, chain = column(TOPS), cranial_to_caudal(TOPS)
    maps.body[TOPS[4] + 4 :] = 0
    chain[0] = at(TOPS[4] + 2)
    assert parted(maps, chain)[0] == chain


def test_a_peak_astray_is_moved_to_its_body_and_those_at_the_ends_which_may_be_cut_stay() -> None:
    maps, chain = column(TOPS), cranial_to_caudal(TOPS)
    maps.body[TOPS[4] + 5 :] = 0
    astray = [at(TOPS[4] + 8), chain[1], at(TOPS[2] + BODY_VOXELS - 2), *chain[3:]]
    centred = recentred(split_bodies(maps, astray, SPACING_MM), astray, SPACING_MM)
    assert np.linalg.norm(centred[2].center_lps_mm - chain[2].center_lps_mm) < 3.0
    assert [*centred[:2], *centred[3:]] == [*astray[:2], *astray[3:]]


def with_centres(maps: ClassMaps, tops: list[int], heights: list[int]) -> ClassMaps:
    """The same with the heat of a centre, 6 mm wide, in every body."""
    heat = np.zeros_like(maps.body)
    for top, height in zip(tops, heights, strict=True):
        heat[top + height // 2, 18, 20] = 1
    blurred = ndimage.gaussian_filter(heat, 4)
    return replace(maps, body=maps.body.copy(), disc=maps.disc.copy(), heat=blurred / blurred.max())


def test_a_body_whose_marrow_is_taken_for_disc_is_found_by_its_centre() -> None:
    maps = with_centres(column(TOPS), TOPS, [BODY_VOXELS] * 5)
    dark = (slice(TOPS[2] + 1, TOPS[2] + BODY_VOXELS - 1), slice(9, 27), slice(9, 31))
    maps.body[dark], maps.disc[dark] = 0.2, 0.8
    centre = at(TOPS[2] + BODY_VOXELS / 2).voxel_zyx
    assert maps.with_dark_marrow().body[centre] > 0.5
    assert maps.disc[centre] == 0.0


def test_the_discs_beside_a_crushed_body_stay_discs_where_its_heat_reaches_into_them() -> None:
    maps = with_centres(column(TOPS), TOPS, [BODY_VOXELS] * 5)
    middle = TOPS[2] + BODY_VOXELS // 2
    crushed = slice(middle - 3, middle + 4)
    for beside in (slice(TOPS[2], middle - 3), slice(middle + 4, TOPS[2] + BODY_VOXELS)):
        maps.body[beside], maps.disc[beside] = 0.0, maps.body[crushed].max(axis=0)
    disc = maps.disc.copy()
    assert ((maps.heat > 0.5) & (disc > maps.body)).any()
    np.testing.assert_array_equal(maps.with_dark_marrow().disc, disc)


def test_a_body_that_took_half_of_a_poorly_seen_neighbour_gives_it_back() -> None:
    maps, chain = column(TOPS), cranial_to_caudal(TOPS)
    instances = split_bodies(maps, chain, SPACING_MM)
    rim = np.zeros(instances.shape, bool)
    rim[:, 8:24, 8:32] = True
    taken = (instances == 3) & rim
    instances[taken] = 2  # and what the discs hide of the step between them
    instances[TOPS[2] + BODY_VOXELS : TOPS[3], 8:14, 8:14] = 2
    parted_chain, out = part_merged_bodies(instances, chain, maps, SPACING_MM)
    assert len(parted_chain) == len(chain)
    assert (out[taken] == 3).all()


def test_a_body_whose_halves_both_lie_on_its_neighbours_keeps_one() -> None:
    maps = column(TOPS, missing_disc_after=2)
    first, second, third, fourth, fifth = cranial_to_caudal(TOPS)
    between = at((TOPS[2] + TOPS[3] + BODY_VOXELS) / 2, from_front=12)
    numbers = np.array([0, 1, 3, 5, 6], np.int16)[split_bodies(maps, [first, between, fourth, fifth], SPACING_MM)]
    parted_chain, out = part_merged_bodies(numbers, [first, second, between, third, fourth, fifth], maps, SPACING_MM)
    assert len(parted_chain) == 6
    assert np.unique(out).tolist() == [0, 1, 2, 3, 5, 6]
