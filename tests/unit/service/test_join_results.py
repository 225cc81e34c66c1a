"""Joining results of stacks: what may enter one mean, which flags go on, what stays unsure."""

from itertools import pairwise

import pytest

from builders.results import Column, column_result
from trabecula_morphometry.codes import Code
from trabecula_service.pipeline.join_results import join_results
from trabecula_service.result import Alternative, Density, Flag, Level, Numbering, Result, Source, SourceStack, flag

UPPER, LOWER = ("T10", "T11", "T12", "L1"), ("L2", "L3", "L4")
COLUMN = Column(names=(*UPPER, *LOWER))


def part(names: tuple[str, ...], series: str, **changes: object) -> Result:
    """The result of a series that shows some levels of the column."""
    whole = column_result(COLUMN, losses={})
    levels = [level for level in whole.levels if level.name in names]
    source = whole.source.model_copy(update={"series_instance_uid": series, "series_number": len(series)})
    return whole.model_copy(update={"levels": levels, "source": source, "flags": [], **changes})


def joined(*parts: Result) -> Result:
    return join_results(parts, whole_source(parts)).result


def whole_source(parts: tuple[Result, ...]) -> Source:
    return parts[0].source.model_copy(update={"series_instance_uid": parts[0].source.series_instance_uid})


def without_mean(result: Result) -> Result:
    kept = {"mean_mg_cm3": None, "interval95": None, "levels": [], "category": None, "category_source": None, "uncertainty": []}
    return result.model_copy(update={"density": result.density.model_copy(update=kept)})


def with_phase(result: Result, phase: str) -> Result:
    acquisition = result.acquisition
    contrast = acquisition.contrast.model_copy(update={"phase": phase})
    return result.model_copy(update={"acquisition": acquisition.model_copy(update={"contrast": contrast})})


def by_name(result: Result) -> dict[str, Level]:
    return {level.name: level for level in result.levels}


def test_the_mean_is_over_levels_of_both_stacks_on_one_line() -> None:
    whole = joined(without_mean(part(LOWER, "1.2")), without_mean(part(UPPER, "1.3")))
    levels = by_name(whole)
    used = whole.density.levels
    assert {levels[name].series_instance_uid for name in used} == {"1.2", "1.3"}
    values = [levels[name].density.value_mg_cm3 for name in used]  # type: ignore[union-attr]
    assert whole.density.mean_mg_cm3 == pytest.approx(sum(values) / len(values), abs=0.06)


def test_a_stack_in_another_contrast_phase_gives_no_level_to_the_mean() -> None:
    lower, upper = part(LOWER, "1.2"), part(UPPER, "1.3")
    whole = joined(with_phase(lower, "portal_venous"), with_phase(upper, "unenhanced"))
    levels = by_name(whole)
    assert {levels[name].series_instance_uid for name in whole.density.levels} == {"1.2"}


def test_a_density_on_another_basis_is_not_shown_beside_the_one_of_the_whole() -> None:
    upper = part(UPPER, "1.3", density=Density(basis="phantomless", material="HA"))
    whole = joined(part(LOWER, "1.2"), upper)
    assert {name for name, level in by_name(whole).items() if level.density is None} == set(UPPER)
    assert all(level.hu is not None for level in whole.levels)


def test_a_mean_that_one_stack_gives_alone_is_kept_to_the_last_digit() -> None:
    lower = part(("L1", "L2", "L3", "L4"), "1.2")
    lower = lower.model_copy(update={"density": lower.density.model_copy(update={"levels": ["L1", "L2", "L3"]})})
    assert joined(lower, part(("T10", "T11", "T12"), "1.3")).density == lower.density


FLAGS: list[tuple[Flag, Flag | None]] = [
    (flag(Code.CUT_BY_FIELD, "", "T12"), flag(Code.CUT_BY_FIELD, "", "T12")),
    (flag(Code.TOO_FEW_LEVELS), None),
    (flag(Code.GANTRY_TILT, "Tilt 3.0 degrees."), flag(Code.GANTRY_TILT, "Tilt 3.0 degrees.")),
]


@pytest.mark.parametrize(("said", "kept"), FLAGS, ids=[str(said.code) for said, _ in FLAGS])
def test_flags_go_on_where_they_still_hold(said: Flag, kept: Flag | None) -> None:
    whole = joined(part(LOWER, "1.2"), part(UPPER, "1.3", flags=[said]))
    assert (said in whole.flags) == (kept is not None)


def test_a_flag_of_a_view_that_was_not_taken_goes_with_it() -> None:
    cut_level = [
        level.model_copy(update={"complete": False, "heights_mm": None, "hu": None}) if level.name == "L2" else level
        for level in part((*UPPER, "L2"), "1.3").levels
    ]
    upper = part(UPPER, "1.3", levels=cut_level, flags=[flag(Code.CUT_BY_FIELD, "", "L2")])
    whole = joined(part(LOWER, "1.2"), upper)
    assert by_name(whole)["L2"].complete
    assert Code.CUT_BY_FIELD not in {entry.code for entry in whole.flags}


def test_levels_that_were_renamed_take_their_flags_along() -> None:
    upper = part(UPPER, "1.3")
    order = ["T9", *UPPER]
    misnamed = [level.model_copy(update={"name": order[order.index(level.name) - 1], "confidence": 0.5}) for level in upper.levels]
    numbering = Numbering(certain=False, alternatives=[Alternative(shift=1, probability=0.4)])
    upper = upper.model_copy(update={"levels": misnamed, "numbering": numbering, "flags": [flag(Code.METAL, "", "T11")]})
    whole = joined(part(LOWER, "1.2"), upper)
    assert [level.name for level in whole.levels] == [*UPPER, *LOWER]
    assert [entry.level for entry in whole.flags if entry.code is Code.METAL] == ["T12"]
    assert by_name(whole)["T12"].confidence <= min(level.confidence for level in part(LOWER, "1.2").levels)


def test_a_variant_that_one_stack_shows_and_is_unsure_of_keeps_the_names_unsure() -> None:
    short_rib = Numbering(certain=False, variants=["short_last_rib"], alternatives=[Alternative(shift=1, probability=0.02)])
    whole = joined(part(LOWER, "1.2"), part(UPPER, "1.3", numbering=short_rib))
    assert not whole.numbering.certain
    assert whole.numbering.variants == ["short_last_rib"]
    assert {Code.NUMBERING_UNCERTAIN, Code.VARIANT_ANATOMY} <= {entry.code for entry in whole.flags}


def test_levels_stand_from_the_head_down() -> None:
    whole = joined(part(LOWER, "1.2"), part(UPPER, "1.3"))
    heights = [level.center_lps_mm[2] for level in whole.levels]
    assert all(upper > lower for upper, lower in pairwise(heights))


def test_which_levels_had_to_help_in_a_part_is_not_said_of_the_whole() -> None:
    words = "same scanner; fewer than two of L1-L3 could be used, so T12 joined"
    upper = part(("T10", "T11", "T12", "L1"), "1.3", flags=[flag(Code.KERNEL_MISMATCH, words)])
    upper = upper.model_copy(update={"density": upper.density.model_copy(update={"levels": ["T12", "L1"], "explanation": words})})
    whole = joined(upper, without_mean(part(("L2",), "1.2")))
    assert whole.density.levels == ["L1", "L2"]
    assert whole.density.explanation == "same scanner"
    assert [entry.text for entry in whole.flags if entry.code is Code.KERNEL_MISMATCH] == [flag(Code.KERNEL_MISMATCH, "same scanner").text]


def sliced(result: Result, spacing_mm: float) -> Result:
    x, y, _ = result.source.spacing_mm
    return result.model_copy(update={"source": result.source.model_copy(update={"spacing_mm": (x, y, spacing_mm)})})


def of_slices(lower_mm: float, upper_mm: float) -> dict[str, Level]:
    """The levels of two stacks with slices so far apart, joined."""
    parts = sliced(part(LOWER, "1.2"), lower_mm), sliced(part(UPPER, "1.3"), upper_mm)
    stacks = [SourceStack(**{name: getattr(one.source, name) for name in SourceStack.model_fields}) for one in parts]
    source = parts[0].source.model_copy(update={"stacks": stacks})
    return by_name(join_results(parts, source).result)


def test_a_grade_that_the_slices_do_not_allow_is_withdrawn_with_its_reason() -> None:
    levels = of_slices(12.0, 12.0)
    assert {level.genant.grade for level in levels.values()} == {None}
    assert all(level.excluded.count(Code.SLICES_TOO_THICK) == 1 for level in levels.values())


def test_thick_slices_of_one_stack_do_not_take_the_grades_of_the_other() -> None:
    levels = of_slices(12.0, 1.0)
    assert {name for name, level in levels.items() if level.genant.grade is None} == set(LOWER)
    assert all((Code.SLICES_TOO_THICK in level.excluded) == (name in LOWER) for name, level in levels.items())
