"""Columns put together: names, order and spacing of the variants; the last vertebra joined to the sacrum; ribs that hang on levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trabecula_models.synthesis.assembly import assemble, column_ranks
from trabecula_models.synthesis.body_split import BodyFrame
from trabecula_models.synthesis.column_scenes import procedural_spine
from trabecula_models.synthesis.ribs import BEFORE_TIP_MM, RibPlan, draw_ribs, process_tips
from trabecula_models.synthesis.spine_curves import RANKS, SpineCurve
from trabecula_models.synthesis.spines import SACRUM, Spine
from trabecula_models.synthesis.tissues import Tissue
from trabecula_models.synthesis.variants import Variant, join_last_to_sacrum, usual_pieces, vary


def moved(frame: BodyFrame, shift_zyx: tuple[int, int, int]) -> BodyFrame:
    return replace(frame, centre=frame.centre + np.array(shift_zyx))


def built(boxes: Spine, variant: Variant) -> Spine:
    own = [piece for piece in usual_pieces(boxes, boxes) if piece.level >= 19]
    return assemble(vary(own, variant))


@pytest.mark.parametrize(
    ("variant", "levels"),
    [
        (Variant.USUAL, [19, 20, 21, 22, 23, 24]),
        (Variant.L6, [19, 20, 21, 22, 23, 24, 25]),
        (Variant.T13, [19, 28, 20, 21, 22, 23, 24]),
        (Variant.FOUR_LUMBAR, [19, 20, 21, 22, 23]),
    ],
)
def test_a_variant_has_its_levels_in_order_one_step_apart(boxes: Spine, variant: Variant, levels: list[int]) -> None:
    spine = built(boxes, variant)
    frames = sorted(spine.frames.values(), key=lambda frame: -frame.centre[0])
    assert [frame.level for frame in frames] == levels
    assert -np.diff([frame.centre[0] for frame in frames]) == pytest.approx([34.0] * (len(levels) - 1), abs=2.0)
    for frame in frames:
        voxels = np.argwhere((spine.levels_zyx == frame.level) & spine.body_zyx)
        assert len(voxels) == pytest.approx(25 * 30 * 40, rel=0.15)
        assert voxels.mean(axis=0) == pytest.approx(frame.centre, abs=1.0)


def test_a_curve_leans_the_column_as_it_says(boxes: Spine) -> None:
    lean = np.radians(20.0)
    curve = SpineCurve(scan="made", angles_of_rank_rad=np.tile([0.0, lean, 0.0], (len(RANKS), 1)))
    spine = assemble([piece for piece in usual_pieces(boxes, boxes) if piece.level >= 19], curve)
    step = spine.frames[20].centre - spine.frames[24].centre
    assert np.arctan2(step[2], step[0]) == pytest.approx(lean, abs=0.02)
    assert spine.frames[22].up[2] == pytest.approx(np.sin(lean), abs=0.03)


def test_six_lumbar_vertebrae_share_the_places_of_five() -> None:
    assert column_ranks([19, 20, 21, 22, 23, 24, 25])[[1, -1]] == pytest.approx([20, 24])
    assert column_ranks([19, 28, 20, 21]) == pytest.approx([19, 19.5, 20, 21])
    assert column_ranks([20, 21, 22, 23, 24]) == pytest.approx([20, 21, 22, 23, 24])


def test_a_sacralised_vertebra_touches_the_sacrum_and_keeps_its_name(boxes: Spine) -> None:
    levels = np.pad(boxes.levels_zyx, ((40, 0), (0, 0), (0, 0)))
    levels[5:42, 20:60, 10:80] = SACRUM
    frames = {level: moved(frame, (40, 0, 0)) for level, frame in boxes.frames.items()}
    apart = Spine(levels_zyx=levels, body_zyx=np.pad(boxes.body_zyx, ((40, 0), (0, 0), (0, 0))), frames=frames)
    joined = join_last_to_sacrum(apart)

    def touching(spine: Spine) -> int:
        last = spine.levels_zyx == 24
        return int((last[1:] & (spine.levels_zyx[:-1] == SACRUM)).sum())

    assert touching(apart) == 0
    assert touching(joined) > 100
    assert np.array_equal(joined.body_zyx, apart.body_zyx)
    with pytest.raises(ValueError, match="no sacrum"):
        join_last_to_sacrum(boxes)


def test_ribs_hang_on_the_levels_of_the_plan_only(boxes: Spine) -> None:
    tissue = np.zeros((boxes.levels_zyx.shape[0], 200, 300), np.uint8)
    tissue[:, 10:190, 20:280] = Tissue.MUSCLE
    tissue[50:60, 20:30, 40:60] = Tissue.RIB
    frames = [moved(frame, (0, 80, 105)) for frame in boxes.frames.values()]
    draw_ribs(tissue, frames, RibPlan(reach={19: (0.26, 0.0)}), {})
    rib = np.argwhere(tissue == Tissue.RIB)
    twelfth = next(frame for frame in frames if frame.level == 19)
    assert len(rib) > 500
    assert rib[:, 0].max() < twelfth.centre[0] + 15
    assert rib[:, 2].max() < twelfth.centre[2]
    assert tissue[55, 25, 50] == Tissue.MUSCLE


def test_ribs_of_the_upper_chest_run_around_the_lung_and_not_around_the_shoulders(boxes: Spine) -> None:
    tissue = np.zeros((boxes.levels_zyx.shape[0], 200, 300), np.uint8)
    tissue[:, 10:190, 5:295] = Tissue.MUSCLE
    y, x = np.ogrid[:200, :300]
    lungs = ((y - 100) / 60.0) ** 2 + ((x - 150) / 70.0) ** 2 < 1
    tissue[:, lungs] = Tissue.LUNG
    frames = [replace(moved(frame, (0, 100, 105)), level=frame.level - 5) for frame in boxes.frames.values()]
    draw_ribs(tissue, frames, RibPlan.usual([frame.level for frame in frames]), {})
    rib = np.argwhere(tissue == Tissue.RIB)[:, 1:]
    side = rib[(rib[:, 0] < 130) & (rib[:, 0] > 70)]
    assert len(side) > 500
    off_centre = np.hypot((side[:, 0] - 100) / 65.0, (side[:, 1] - 150) / 75.0)
    assert off_centre == pytest.approx(1.0, abs=0.15)


def test_ribs_pass_straight_across_behind_a_lung_that_lies_to_the_side_as_its_tip_does(boxes: Spine) -> None:
    tissue = np.zeros((boxes.levels_zyx.shape[0], 200, 300), np.uint8)
    tissue[:, 10:190, 5:295] = Tissue.MUSCLE
    y, x = np.ogrid[:200, :300]
    for middle in (100, 200):
        tissue[:, ((y - 105) / 35.0) ** 2 + ((x - middle) / 35.0) ** 2 < 1] = Tissue.LUNG
    frames = [replace(moved(frame, (0, 70, 105)), level=frame.level - 10) for frame in boxes.frames.values()]
    draw_ribs(tissue, frames, RibPlan.usual([frame.level for frame in frames]), {})
    ribs = np.argwhere(tissue == Tissue.RIB)
    assert len(ribs) > 2000
    assert ribs[:, 1].max() < 105 + 35 + 20


@pytest.fixture(scope="module")
def chest(boxes: Spine) -> Spine:
    """T1-T6 as boxes with transverse processes, bars that end 37 mm aside and 33 to 43 mm behind the middle of their body."""
    levels = np.where(boxes.levels_zyx > 0, boxes.levels_zyx - 11, 0).astype(np.uint8)
    frames = {level - 11: replace(frame, level=level - 11) for level, frame in boxes.frames.items()}
    for level, frame in frames.items():
        z, y, x = (round(float(v)) for v in frame.centre)
        levels[z : z + 8, y + 33 : y + 43, x - 37 : x + 38] = level
    return Spine(levels_zyx=levels, body_zyx=boxes.body_zyx, frames=frames)


def test_the_tips_of_the_transverse_processes_are_found_where_they_end(chest: Spine) -> None:
    tips = process_tips(chest)
    assert sorted(tips) == [8, 9, 10, 11, 12, 13]
    for level, (right, left) in tips.items():
        off = np.array([right, left]) - chest.frames[level].centre
        assert off[:, 0] == pytest.approx([3.5, 3.5], abs=1.5)
        assert off[:, 1] == pytest.approx([37.5, 37.5], abs=1.5)
        assert off[:, 2] == pytest.approx([-35.5, 35.5], abs=2.5)


def test_a_vertebra_without_processes_has_no_tips(boxes: Spine) -> None:
    bare = np.where(boxes.body_zyx, boxes.levels_zyx - 11, 0).astype(np.uint8)
    frames = {level - 11: replace(frame, level=level - 11) for level, frame in boxes.frames.items()}
    assert process_tips(Spine(levels_zyx=bare, body_zyx=boxes.body_zyx, frames=frames)) == {}


def test_a_rib_passes_in_front_of_its_transverse_process_and_the_first_one_turns_forwards_there(chest: Spine) -> None:
    corner = np.array([0, 60, 105])
    frames = [moved(frame, (0, 60, 105)) for frame in chest.frames.values()]
    tips = {level: (right + corner, left + corner) for level, (right, left) in process_tips(chest).items()}
    tissue = np.zeros((chest.levels_zyx.shape[0], 200, 300), np.uint8)
    tissue[:, 10:190, 5:295] = Tissue.MUSCLE
    first = next(frame for frame in frames if frame.level == 8)
    draw_ribs(tissue, [first], RibPlan.usual([8]), tips)
    ribs = np.argwhere(tissue == Tissue.RIB)
    for tip in tips[8]:
        near = ribs[np.abs(ribs[:, 2] - tip[2]) <= 2]
        assert len(near) > 50
        assert near[:, 1].mean() == pytest.approx(tip[1] - BEFORE_TIP_MM, abs=3.0)
    assert ribs[:, 1].max() <= max(tip[1] for tip in tips[8]) - BEFORE_TIP_MM + 4
    aside = np.abs(ribs[:, 2] - first.centre[2])
    assert ribs[aside > 60][:, 1].max() < min(tip[1] for tip in tips[8]) - 15


def test_a_column_begins_with_the_seventh_cervical_vertebra_where_the_source_has_it(boxes: Spine) -> None:
    upper = replace(boxes, frames={level - 12: replace(frame, level=level - 12) for level, frame in boxes.frames.items()})
    assert [piece.level for piece in usual_pieces(boxes, upper)][:3] == [7, 8, 9]
    assert usual_pieces(boxes, boxes)[0].level == 8


def test_no_vertebra_of_the_procedural_spine_is_cut_by_its_field_as_the_levels_above_are_copies_of_its_highest() -> None:
    spine = procedural_spine()
    assert not spine.levels_zyx[-1].any()
    heights = [int((spine.body_zyx & (spine.levels_zyx == level)).any(axis=(1, 2)).sum()) for level in sorted(spine.frames)]
    assert min(heights) > 0.5 * max(heights)
