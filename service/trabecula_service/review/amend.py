"""A result with a reader's changes: heights from the moved points, losses, grades and density computed anew by the measuring core.

Pure: the page calls it for each move of a point, and the analysis process for the signed version; both say the same.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from trabecula_calibration.chosen_levels import LevelReading, mean_of_chosen
from trabecula_calibration.contrast import Phase
from trabecula_calibration.density import CATEGORY_BARRING_CODES, CATEGORY_SOURCE, Basis, LevelHu
from trabecula_calibration.physics import Material
from trabecula_morphometry.codes import Code
from trabecula_morphometry.deformity import LevelShape, deformed_levels
from trabecula_morphometry.expected import ExpectedHeights, LevelHeights, expected_heights
from trabecula_morphometry.genant import HeightLoss as LossOfHeight
from trabecula_morphometry.genant import certain_enough, genant_grade, height_loss, summarise
from trabecula_morphometry.levels import GRADED_LEVELS
from trabecula_morphometry.measure import ADULT_YEARS, DEFAULT_SETTINGS, SPOILS_DENSITY
from trabecula_morphometry.norms import NORMS
from trabecula_morphometry.vertebra import PointLps
from trabecula_service.pipeline.conclude import fractures_of, status_of
from trabecula_service.result import (
    Density,
    Flag,
    Genant,
    HeightLoss,
    Heights,
    Level,
    LevelDensity,
    Numbering,
    Result,
    SixPoints,
    TrabecularHu,
    flag,
)
from trabecula_service.review.edits import Edits, Exclusion, ExclusionReason
from trabecula_service.review.errors import ReviewError
from trabecula_service.review.names import renamed

READER_RELATIVE_SD = 0.031
"""One sigma of a height between points that a reader set: coefficient of variation 3.1-3.2 % (Guglielmi, clinical-facts 4.2)."""

_PLACES = ("anterior", "middle", "posterior")
_RECOMPUTED = frozenset({Code.FRACTURED, Code.NO_REFERENCE_HEIGHT, Code.DEFORMITY_NOT_FRACTURE, Code.LEVEL_NOT_GRADED})
_MOVED_WORDS = "Height points moved by the reader."


def amended(result: Result, edits: Edits) -> Result:
    """The result as the reader wants it. Without edits it is the result itself.

    Raises
    ------
    ReviewError : a level or point of the edits is not there, a name would run off the column, or two points coincide.
    """
    if edits.is_empty():
        return result
    _check_levels(result, edits)
    names = renamed([level.name for level in result.levels], edits.shift)
    excluded = {names[entry.level]: entry for entry in edits.excluded}
    moved = {names[entry.level] for entry in edits.moved}
    levels = [_with_points(level, edits).model_copy(update={"name": names[level.name]}) for level in result.levels]
    levels, patterns = _graded(levels, result, excluded, moved)
    levels = [_without(level, excluded.get(level.name)) for level in levels]
    density = _density(result, levels)
    summary = summarise({level.name: level.genant.grade for level in levels}, [level.name for level in levels])
    flags = _flags(result, names, edits, excluded, moved, patterns, levels, density)
    return result.model_copy(
        update={
            "status": status_of(levels, density),
            "numbering": _numbering(result, edits),
            "levels": levels,
            "density": density,
            "fractures": fractures_of(summary),
            "flags": flags,
        }
    )


def rejected(result: Result, reason: str) -> Result:
    """The result of a reading that the reader rejects: its numbers are withdrawn, the reason takes their place."""
    return Result.model_validate(
        {
            "schema": "trabecula.result/1",
            "status": "not_evaluable",
            "software": result.software,
            "source": result.source,
            "acquisition": result.acquisition,
            "flags": [flag(Code.READER_REJECTED, f"Reason: {reason}" if reason else "")],
        }
    )


def changes_in_words(result: Result, edits: Edits) -> list[str]:
    """What the edits change, one sentence each, for history, documents and the reader's last look."""
    said = []
    names = renamed([level.name for level in result.levels], edits.shift)
    if edits.shift:
        first = result.levels[0].name
        said.append(f"All level names moved by {edits.shift:+d}: {first} is now {names[first]}.")
    for level in dict.fromkeys(entry.level for entry in edits.moved):
        points = ", ".join(entry.point.replace("_", " ") for entry in edits.moved if entry.level == level)
        said.append(f"{names[level]}: points moved ({points}).")
    for entry in edits.excluded:
        note = f", {entry.note}" if entry.note else ""
        said.append(f"{names[entry.level]}: left out ({entry.reason.value}{note}).")
    return said


def _check_levels(result: Result, edits: Edits) -> None:
    known = {level.name: level for level in result.levels}
    for name in (*(entry.level for entry in edits.moved), *(entry.level for entry in edits.excluded)):
        if name not in known:
            raise ReviewError("there is no such level in this version", where=name, hint="load the page again")
    for move in edits.moved:
        if known[move.level].points_lps_mm is None:
            raise ReviewError("this level has no height points to move", where=move.level)


def _with_points(level: Level, edits: Edits) -> Level:
    """Moved points and the heights between them."""
    moves: dict[str, PointLps] = {entry.point: entry.place() for entry in edits.moved if entry.level == level.name}
    if not moves or level.points_lps_mm is None or level.heights_mm is None or level.heights_sd_mm is None:
        return level
    points = level.points_lps_mm.model_copy(update=moves)
    heights: dict[str, float | None] = level.heights_mm.model_dump()
    sds: dict[str, float | None] = level.heights_sd_mm.model_dump()
    for place in _PLACES:
        if f"{place}_superior" in moves or f"{place}_inferior" in moves:
            height = math.dist(getattr(points, f"{place}_superior"), getattr(points, f"{place}_inferior"))
            if height < 1.0:
                raise ReviewError("the upper and the lower point lie on each other", where=f"{level.name} {place}", hint="move them apart")
            heights[place], sds[place] = round(height, 2), round(READER_RELATIVE_SD * height, 2)
    return level.model_copy(update={"points_lps_mm": points, "heights_mm": Heights(**heights), "heights_sd_mm": Heights(**sds)})


def _graded(
    levels: Sequence[Level], result: Result, excluded: Mapping[str, Exclusion], moved: set[str]
) -> tuple[list[Level], dict[str, str]]:
    """Expected heights, losses and grades of all levels, and the deformities by name."""
    adult = result.acquisition.age_years is None or result.acquisition.age_years >= ADULT_YEARS
    witnesses = [level for level in levels if _is_witness(level, excluded.get(level.name))]
    expected = expected_heights([_level_heights(level) for level in witnesses], result.acquisition.sex)
    losses = {level.name: _loss(level, expected.get(level.name)) for level in witnesses}
    shapes = [
        LevelShape(name=level.name, wedge_angle_deg=_wedge_angle_deg(level.points_lps_mm, level.heights_mm), loss=losses[level.name])
        for level in witnesses
        if level.points_lps_mm is not None and level.heights_mm is not None
    ]
    patterns = deformed_levels(shapes)
    thick = result.source.spacing_mm[2] > DEFAULT_SETTINGS.heights_spacing_mm + 0.05
    graded = []
    for level in levels:
        codes = [code for code in level.excluded if code not in _RECOMPUTED]
        given = expected.get(level.name)
        loss = losses.get(level.name)
        genant, expected_mm, height_losses = Genant(), None, None
        if level.name not in GRADED_LEVELS or not adult or not level.complete:
            codes.append(Code.LEVEL_NOT_GRADED)
        elif level.heights_mm is not None and loss is None:
            codes += [] if level.name in excluded else [Code.NO_REFERENCE_HEIGHT]
        elif loss is not None and given is not None:
            expected_mm = _heights(given.heights_mm.tolist(), 2)
            values = _heights(loss.positions.as_array().tolist(), 4)
            height_losses = HeightLoss(**values.model_dump(), max=round(loss.max, 4))
            grade = genant_grade(loss)
            unsure = thick and level.name not in moved and not certain_enough(grade, DEFAULT_SETTINGS.thick_slice_probability)
            if level.name in patterns:
                codes.append(Code.DEFORMITY_NOT_FRACTURE)
            elif not unsure:
                codes = [code for code in codes if code is not Code.SLICES_TOO_THICK]
                p0, p1, p2, p3 = (round(float(p), 4) for p in grade.probability)
                genant = Genant(grade=grade.grade, type=grade.type.value if grade.type else None, probability=(p0, p1, p2, p3))
                codes += [Code.FRACTURED] if grade.grade >= 1 else []
        graded.append(
            level.model_copy(update={"expected_mm": expected_mm, "height_loss": height_losses, "genant": genant, "excluded": codes})
        )
    return graded, patterns


def _is_witness(level: Level, exclusion: Exclusion | None) -> bool:
    """Whether the heights of a level say something about its neighbours."""
    return level.heights_mm is not None and level.name in NORMS and (exclusion is None or exclusion.reason is ExclusionReason.DEFORMITY)


def _level_heights(level: Level) -> LevelHeights:
    return LevelHeights(name=level.name, heights_mm=_three(level.heights_mm), sd_mm=_three(level.heights_sd_mm))


def _three(heights: Heights | None) -> tuple[float, float, float]:
    values = [getattr(heights, place, None) for place in _PLACES]
    first, second, third = (math.nan if value is None else float(value) for value in values)
    return first, second, third


def _loss(level: Level, expected: ExpectedHeights | None) -> LossOfHeight | None:
    if expected is None:
        return None
    own = _level_heights(level)
    return height_loss(np.array(own.heights_mm), np.array(own.sd_mm), expected.heights_mm, expected.relative_sd)


def _wedge_angle_deg(points: SixPoints, heights: Heights) -> float:
    upper = math.dist(points.anterior_superior, points.posterior_superior)
    lower = math.dist(points.anterior_inferior, points.posterior_inferior)
    return math.degrees(math.atan2((heights.posterior or 0.0) - (heights.anterior or 0.0), 0.5 * (upper + lower)))


def _heights(values: Sequence[float], digits: int) -> Heights:
    anterior, middle, posterior = (round(float(value), digits) for value in values)
    return Heights(anterior=anterior, middle=middle, posterior=posterior)


def _without(level: Level, exclusion: Exclusion | None) -> Level:
    """A level that the reader left out."""
    if exclusion is None:
        return level
    keeps_density = exclusion.reason is ExclusionReason.DEFORMITY
    code = Code.DEFORMITY_NOT_FRACTURE if keeps_density else Code.READER_EXCLUDED
    codes = [entry for entry in level.excluded if entry not in (Code.FRACTURED, code)]
    return level.model_copy(update={"genant": Genant(), "excluded": [*codes, code]})


def _density(result: Result, levels: Sequence[Level]) -> Density:
    """The mean over the levels that are usable now."""
    old = result.density
    barred = bool(CATEGORY_BARRING_CODES & {entry.code for entry in result.flags}) or Code.VOI_STYLE in {
        entry.code for entry in result.flags
    }
    readings = [_reading(level, level.hu, level.density) for level in levels if level.hu is not None and level.density is not None]
    if not readings or old.material is None or old.basis == "none":
        return old
    same = {level.name: level.excluded for level in levels}
    if old.mean_mg_cm3 is not None and _is_unchanged(result, same):
        return old
    chosen = mean_of_chosen(
        readings,
        material=Material(old.material),
        basis=Basis(old.basis),
        phase=Phase(result.acquisition.contrast.phase),
        age_years=result.acquisition.age_years,
        barred=barred,
    )
    if chosen.mean is None:
        # Without a mean there is no density at study level; what the levels carry stays with them.
        return Density()
    low, high = chosen.mean.interval95
    return old.model_copy(
        update={
            "mean_mg_cm3": round(chosen.mean.value_mg_cm3, 1),
            "interval95": (round(low, 1), round(high, 1)),
            "levels": list(chosen.levels_used),
            "category": chosen.category.value if chosen.category else None,
            "category_source": CATEGORY_SOURCE if chosen.category else None,
            "uncertainty": [],
        }
    )


def _is_unchanged(result: Result, excluded: Mapping[str, Sequence[Code]]) -> bool:
    """Whether the usable levels carry the names they had, so that the mean stays to the last digit."""
    before = {level.name: SPOILS_DENSITY.isdisjoint(level.excluded) for level in result.levels if level.hu is not None}
    after = {name: SPOILS_DENSITY.isdisjoint(codes) for name, codes in excluded.items() if name in before}
    return before == after and set(excluded) == {level.name for level in result.levels}


def _reading(level: Level, hu: TrabecularHu, density: LevelDensity) -> LevelReading:
    usable = SPOILS_DENSITY.isdisjoint(level.excluded)
    own = LevelHu(name=level.name, mean_hu=hu.mean, sd_hu=hu.sd, volume_mm3=hu.volume_mm3, usable=usable)
    return LevelReading(hu=own, value_mg_cm3=density.value_mg_cm3, interval95=density.interval95)


def _numbering(result: Result, edits: Edits) -> Numbering:
    if not edits.shift:
        return result.numbering
    return Numbering(certain=True, anchors=["reader"], variants=result.numbering.variants)


def _flags(
    result: Result,
    names: Mapping[str, str],
    edits: Edits,
    excluded: Mapping[str, Exclusion],
    moved: set[str],
    patterns: Mapping[str, str],
    levels: Sequence[Level],
    density: Density,
) -> list[Flag]:
    """The flags that still hold, under the new names, and those that the changes bring."""
    gone = {Code.DEFORMITY_NOT_FRACTURE, Code.TOO_FEW_LEVELS, *([Code.NUMBERING_UNCERTAIN] if edits.shift else [])}
    kept = [
        entry.model_copy(update={"level": names.get(entry.level, entry.level) if entry.level else None})
        for entry in result.flags
        if entry.code not in gone
    ]
    new = [
        flag(Code.DEFORMITY_NOT_FRACTURE, patterns[level.name].capitalize() + ".", level.name)
        for level in levels
        if level.name in patterns and level.name not in excluded
    ]
    if density.mean_mg_cm3 is None and any(level.density is not None for level in levels):
        new.append(flag(Code.TOO_FEW_LEVELS))
    for name, entry in excluded.items():
        code = Code.DEFORMITY_NOT_FRACTURE if entry.reason is ExclusionReason.DEFORMITY else Code.READER_EXCLUDED
        reason = f"The reader's reason: {entry.reason.value}{', ' + entry.note if entry.note else ''}."
        new.append(flag(code, reason, name))
    new += [flag(Code.READER_CORRECTED, _MOVED_WORDS, name) for name in (level.name for level in levels) if name in moved]
    if edits.shift:
        new.append(flag(Code.READER_CORRECTED, f"All level names moved by {edits.shift:+d}."))
    return [*kept, *new]
