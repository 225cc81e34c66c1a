"""The whole column on digital vertebrae with known heights and HU."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from builders.digital_column import DigitalBody, DigitalColumn, Pit, intact, squeezed
from trabecula_morphometry.codes import Code
from trabecula_morphometry.measure import ColumnMeasurement, measure_column
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

NORMAL = DigitalColumn(bodies=(intact("T12"), intact("L1"), intact("L2"), intact("L3")))
WEDGED = DigitalColumn(bodies=(intact("T12"), squeezed("L1", 0.32, 0.15, 0.02), intact("L2"), intact("L3")))


@cache
def rendered(column: DigitalColumn):
    return column.render()


def measured(column: DigitalColumn, **options) -> ColumnMeasurement:
    volume, bodies, vertebrae = rendered(column)
    return measure_column(volume, bodies, None, vertebrae, slice_spacing_mm=volume.grid.slice_spacing_mm, **options)


def errors_mm(column: DigitalColumn) -> np.ndarray:
    found = measured(column)
    return np.array(
        [level.heights.heights_mm.as_array() - body.heights_mm for level, body in zip(found.levels, column.bodies, strict=True)]
    )


@pytest.mark.parametrize(("tilt_deg", "turn_deg"), [(0, 0), (20, 0), (-12, 15)])
def test_heights_are_right_in_the_vertebras_own_frame(tilt_deg: float, turn_deg: float) -> None:
    errors = errors_mm(replace(WEDGED, tilt_deg=tilt_deg, turn_deg=turn_deg))
    assert abs(errors.mean()) < 0.35
    assert np.abs(errors).max() < 1.1


def test_a_wedge_is_graded_and_its_neighbours_are_not() -> None:
    found = measured(WEDGED)
    assert [level.genant.grade for level in found.levels] == [0, 2, 0, 0]
    assert found.levels[1].genant.type == "wedge"
    assert found.fractures.headline
    assert Code.FRACTURED in found.levels[1].excluded
    assert not found.levels[1].usable_for_density()


def off_centre(anterior: float, middle: float, posterior: float) -> DigitalColumn:
    """A column whose L1 lost these shares in front, at a third of its depth, and at the back."""
    low = replace(squeezed("L1", anterior, middle, posterior), lowest_at_mm=-5.0)
    return DigitalColumn(bodies=(intact("T12"), low, intact("L2"), intact("L3")))


def test_a_collapse_in_front_of_mid_depth_has_the_grade_of_its_lowest_place() -> None:
    level = measured(off_centre(0.10, 0.48, 0.05)).levels[1]
    normal_mm = intact("L1").heights_mm
    at_mid_depth = 0.52 * normal_mm[1] + (0.95 * normal_mm[2] - 0.52 * normal_mm[1]) * 5.0 / 19.5
    assert 1 - at_mid_depth / normal_mm[1] < 0.40, "mid depth alone would make it a moderate fracture"
    assert level.loss.positions.middle == pytest.approx(0.48, abs=0.06)
    assert (level.genant.grade, level.genant.type) == (3, "biconcave")


def test_the_middle_of_an_intact_body_stays_at_mid_depth() -> None:
    level = measured(off_centre(-0.10, 0.10, -0.10)).levels[1]
    assert level.heights.lowest_middle is not None, "a bowl that is deepest in front"
    assert level.genant.grade == 0
    assert level.heights.points_lps_mm.middle_superior[1] == pytest.approx(level.center_lps_mm[1], abs=0.6)


def test_points_lie_at_the_measured_heights() -> None:
    level = measured(NORMAL).levels[1]
    points = level.heights.points_lps_mm
    for place in ("anterior", "middle", "posterior"):
        distance = np.linalg.norm(np.subtract(getattr(points, f"{place}_superior"), getattr(points, f"{place}_inferior")))
        assert distance == pytest.approx(getattr(level.heights.heights_mm, place))
    assert points.anterior_superior[1] < points.middle_superior[1] < points.posterior_superior[1]


def test_voi_reads_the_trabecular_bone_only() -> None:
    for level in measured(replace(NORMAL, noise_hu=40)).levels:
        assert level.voi.mean_hu == pytest.approx(150, abs=2)
        assert level.voi.volume_mm3 >= 1500


def test_voi_mean_is_the_same_at_thick_slices() -> None:
    thin, thick = measured(NORMAL), measured(replace(NORMAL, spacing_mm=(1.0, 1.0, 5.0)))
    assert [level.voi.mean_hu for level in thick.levels] == pytest.approx([level.voi.mean_hu for level in thin.levels], abs=2)


def test_small_body_has_no_hu_but_a_reason() -> None:
    column = DigitalColumn(bodies=(intact("T5", 0.8), intact("T6", 0.8), intact("T7", 0.8)), disc_mm=5.0)
    level = measured(column).levels[0]
    assert level.voi is None
    assert Code.VOI_TOO_SMALL in level.excluded


@pytest.mark.parametrize(("trabecular_hu", "code"), [(500, Code.SCLEROTIC), (1200, Code.CEMENT), (2600, Code.METAL), (250, Code.OUTLIER)])
def test_a_level_with_strange_bone_is_left_out_by_name(trabecular_hu: float, code: Code) -> None:
    odd = DigitalBody(name="L2", heights_mm=NORMAL.bodies[2].heights_mm, trabecular_hu=trabecular_hu)
    column = replace(NORMAL, bodies=(*NORMAL.bodies[:2], odd, NORMAL.bodies[3]))
    level = measured(column).levels[2]
    assert code in level.excluded
    assert not level.usable_for_density()


def test_matter_at_the_clip_counts_as_metal() -> None:
    odd = DigitalBody(name="L2", heights_mm=NORMAL.bodies[2].heights_mm, trabecular_hu=1023)
    column = replace(NORMAL, bodies=(*NORMAL.bodies[:2], odd, NORMAL.bodies[3]))
    assert Code.METAL in measured(column, hu_clipped_at=1023).levels[2].excluded


def test_slices_over_5_mm_give_hu_but_no_heights() -> None:
    found = measured(replace(NORMAL, spacing_mm=(1.0, 1.0, 6.0)))
    assert all(level.heights is None and level.genant is None and level.voi is not None for level in found.levels)
    assert Code.SLICES_TOO_THICK in found.levels[0].excluded
    assert [flag.code for flag in found.flags] == [Code.SLICES_TOO_THICK]


def test_slices_over_10_mm_give_centres_only() -> None:
    found = measured(replace(NORMAL, spacing_mm=(1.0, 1.0, 11.0)))
    assert all(level.heights is None and level.voi is None for level in found.levels)
    assert len(found.levels) == 4


def test_a_borderline_wedge_at_5_mm_is_not_graded() -> None:
    column = DigitalColumn(bodies=(intact("T12"), squeezed("L1", 0.25, 0.1, 0.0), intact("L2"), intact("L3")), spacing_mm=(1.0, 1.0, 5.0))
    level = measured(column).levels[1]
    assert level.genant is None
    assert Code.SLICES_TOO_THICK in level.excluded


def test_low_thoracic_bodies_are_graded_in_5_mm_slices_and_upper_ones_of_less_than_four_slices_are_not() -> None:
    column = DigitalColumn(bodies=tuple(intact(name) for name in ("T4", "T5", "T6", "T7", "T8", "T9")), spacing_mm=(1.0, 1.0, 5.0))
    levels = {level.name: level for level in measured(column).levels}
    for name in ("T4", "T5", "T6"):
        assert levels[name].genant is None
        assert levels[name].heights is not None
        assert Code.SLICES_TOO_THICK in levels[name].excluded
    assert any(levels[name].genant is not None for name in ("T7", "T8", "T9"))


def test_upper_thoracic_bodies_are_graded_in_thin_slices() -> None:
    column = DigitalColumn(bodies=tuple(intact(name) for name in ("T4", "T5", "T6", "T7")))
    assert all(level.genant is not None for level in measured(column).levels)


def test_nothing_is_graded_under_18() -> None:
    found = measured(WEDGED, age_years=17)
    assert all(level.genant is None and Code.LEVEL_NOT_GRADED in level.excluded for level in found.levels)
    assert not found.fractures.headline


def test_a_cut_body_has_a_centre_and_nothing_else() -> None:
    volume, bodies, vertebrae = rendered(NORMAL)
    low, high = volume.grid.bounds_lps_mm()
    high[2] = vertebrae[0].center_lps_mm[2] + 3
    found = measure_column(volume.crop(low, high - 3), bodies, None, vertebrae, slice_spacing_mm=1.0)
    first = found.levels[0]
    assert (first.complete, first.heights, first.voi, first.genant) == (False, None, None, None)
    assert Code.CUT_BY_FIELD in first.excluded


def test_a_body_that_borders_on_padding_inside_the_grid_is_cut() -> None:
    volume, bodies, vertebrae = rendered(NORMAL)
    top = float(vertebrae[0].center_lps_mm[2]) + 0.5 * max(NORMAL.bodies[0].heights_mm) - 1
    hu = volume.hu_zyx.copy()
    hu[int(volume.grid.to_voxel((0.0, 0.0, top))[2]) :] = -1024
    first, second, *_ = measure_column(Volume(hu_zyx=hu, grid=volume.grid), bodies, None, vertebrae, slice_spacing_mm=1.0).levels
    assert (first.complete, first.genant) == (False, None)
    assert second.complete


def test_a_body_taller_than_its_neighbours_allow_is_not_measured() -> None:
    tall = DigitalBody(name="L2", heights_mm=tuple(1.4 * height for height in NORMAL.bodies[2].heights_mm))
    found = measured(replace(NORMAL, bodies=(*NORMAL.bodies[:2], tall, NORMAL.bodies[3])))
    assert (found.levels[2].heights, found.levels[2].genant) == (None, None)
    assert Code.LOW_QUALITY in found.levels[2].excluded
    assert [level.genant.grade for level in found.levels if level.genant] == [0, 0, 0]


def test_a_body_low_only_at_its_back_is_a_notch_in_the_outline_and_is_not_measured() -> None:
    anterior, middle, posterior = NORMAL.bodies[2].heights_mm
    notched = DigitalBody(name="L2", heights_mm=(anterior, middle, 0.7 * posterior))
    found = measured(replace(NORMAL, bodies=(*NORMAL.bodies[:2], notched, NORMAL.bodies[3])))
    assert (found.levels[2].heights, found.levels[2].genant) == (None, None)
    assert Code.LOW_QUALITY in found.levels[2].excluded


def test_a_lone_level_has_heights_but_no_grade() -> None:
    volume, bodies, vertebrae = rendered(NORMAL)
    found = measure_column(volume, bodies, None, vertebrae[1:2], slice_spacing_mm=1.0)
    assert found.levels[0].heights is not None
    assert found.levels[0].genant is None
    assert Code.NO_REFERENCE_HEIGHT in found.levels[0].excluded


def test_a_name_without_a_body_in_the_mask_is_cut() -> None:
    volume, bodies, vertebrae = rendered(NORMAL)
    empty = LabelVolume(
        labels_zyx=np.where(bodies.labels_zyx == vertebrae[0].label, 0, bodies.labels_zyx).astype(np.uint8), grid=bodies.grid
    )
    first = measure_column(volume, empty, None, vertebrae, slice_spacing_mm=1.0).levels[0]
    assert first.center_lps_mm == vertebrae[0].center_lps_mm
    assert Code.CUT_BY_FIELD in first.excluded


@pytest.mark.parametrize("shift_hu", [1024, -1024])
def test_shifted_values_are_refused(shift_hu: int) -> None:
    found = measured(replace(NORMAL, offset_hu=shift_hu))
    assert found.implausible.code is Code.HU_IMPLAUSIBLE
    assert all(level.heights is None and level.voi is None for level in found.levels)


@pytest.mark.parametrize("factors", [(1, 1, 0.5), (1, 1, 1.7), (0.5, 0.5, 1)])
def test_impossible_sizes_are_refused(factors: tuple[float, float, float]) -> None:
    volume, bodies, vertebrae = rendered(NORMAL)
    stretch = np.diag([*factors, 1.0])
    moved = tuple(replace(v, center_lps_mm=tuple(np.multiply(v.center_lps_mm, factors))) for v in vertebrae)
    found = measure_column(
        Volume(hu_zyx=volume.hu_zyx, grid=Grid(shape_zyx=volume.grid.shape_zyx, voxel_to_lps=stretch @ volume.grid.voxel_to_lps)),
        LabelVolume(
            labels_zyx=bodies.labels_zyx, grid=Grid(shape_zyx=bodies.grid.shape_zyx, voxel_to_lps=stretch @ bodies.grid.voxel_to_lps)
        ),
        None,
        moved,
        slice_spacing_mm=1.0,
    )
    assert found.implausible.code is Code.GEOMETRY_IMPLAUSIBLE


def test_a_body_with_a_ragged_outline_has_no_heights_and_says_so() -> None:
    volume, bodies, vertebrae = rendered(NORMAL)
    labels = bodies.labels_zyx.copy()
    own, rng = labels == vertebrae[1].label, np.random.default_rng(5)
    # Every second column of the upper half is eaten away by up to 8 mm, as where a network calls bone disc.
    top = int(np.argwhere(own)[:, 0].max())
    for y, x in np.argwhere(own.any(axis=0)):
        if (x // 3 + y // 3) % 2:
            labels[top - int(rng.integers(5, 9)) : top + 1, y, x] = 0
    found = measure_column(volume, LabelVolume(labels_zyx=labels, grid=bodies.grid), None, vertebrae, slice_spacing_mm=1.0).levels[1]
    assert (found.heights, found.genant) == (None, None)
    assert Code.LOW_QUALITY in found.excluded
    assert found.voi is not None


def test_three_adjacent_mild_wedges_are_named_as_a_pattern_and_not_graded() -> None:
    mild = [squeezed(name, 0.22, 0.1, 0.0) for name in ("T9", "T10", "T11")]
    found = measured(DigitalColumn(bodies=(intact("T7"), intact("T8"), *mild, intact("T12"), intact("L1")), disc_mm=6.0))
    named = [flag.level for flag in found.flags if flag.code is Code.DEFORMITY_NOT_FRACTURE]
    assert named == ["T9", "T10", "T11"]
    assert all(level.genant is None for level in found.levels if level.name in named)
    assert found.fractures.max_grade == 0


SCHMORL = (Pit(posterior_mm=2.0, left_mm=0.0, radius_mm=4.5, depth_mm=7.0),)
CUPID = tuple(Pit(posterior_mm=6.0, left_mm=side, radius_mm=5.0, depth_mm=5.0, upper=False) for side in (-9.0, 9.0))


@pytest.mark.parametrize("pits", [SCHMORL, CUPID], ids=["Schmorl's node", "Cupid's bow"])
def test_a_pit_in_an_endplate_is_no_fracture(pits: tuple[Pit, ...]) -> None:
    pitted = replace(NORMAL.bodies[2], pits=pits)
    found = measured(replace(NORMAL, bodies=(*NORMAL.bodies[:2], pitted, NORMAL.bodies[3])))
    level = found.levels[2]
    assert level.genant is not None
    assert level.genant.grade == 0
    assert level.heights.heights_mm.as_array() == pytest.approx(NORMAL.bodies[2].heights_mm, abs=1.5)
    assert not found.fractures.headline
