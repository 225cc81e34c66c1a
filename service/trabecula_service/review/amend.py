"""A result with a reader's changes: heights from the moved points, losses, grades and density computed anew by the measuring core.

Pure: the page calls it for each move of a point, and the analysis process for the signed version; both say the same.
"""

import math
from collections.abc import Mapping, Sequence

from trabecula_calibration.density import CATEGORY_BARRING_CODES
from trabecula_morphometry.codes import Code
from trabecula_morphometry.genant import summarise
from trabecula_morphometry.measure import SPOILS_DENSITY
from trabecula_morphometry.vertebra import PointLps
from trabecula_service.pipeline.conclude import fractures_of, status_of
from trabecula_service.pipeline.regrade import PLACES, density_over, graded_levels
from trabecula_service.result import (
    Density,
    Flag,
    Genant,
    Heights,
    Level,
    Numbering,
    Result,
    flag,
)
from trabecula_service.review.edits import Edits, Exclusion, ExclusionReason
from trabecula_service.review.errors import ReviewError
from trabecula_service.review.names import renamed

READER_RELATIVE_SD = 0.031
"""One sigma of a height between points that a reader set: coefficient of variation 3.1-3.2 % (Guglielmi, clinical-facts 4.2)."""

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
    levels, patterns = graded_levels(
        levels,
        result.acquisition,
        result.source,
        left_out=set(excluded),
        no_witness={name for name, entry in excluded.items() if entry.reason is not ExclusionReason.DEFORMITY},
        sure=moved,
    )
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
    for place in PLACES:
        if f"{place}_superior" in moves or f"{place}_inferior" in moves:
            height = math.dist(getattr(points, f"{place}_superior"), getattr(points, f"{place}_inferior"))
            if height < 1.0:
                raise ReviewError("the upper and the lower point lie on each other", where=f"{level.name} {place}", hint="move them apart")
            heights[place], sds[place] = round(height, 2), round(READER_RELATIVE_SD * height, 2)
    return level.model_copy(update={"points_lps_mm": points, "heights_mm": Heights(**heights), "heights_sd_mm": Heights(**sds)})


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
    if old.material is None or old.basis == "none" or all(level.density is None for level in levels):
        return old
    same = {level.name: level.excluded for level in levels}
    if old.mean_mg_cm3 is not None and _is_unchanged(result, same):
        return old
    return density_over(old, levels, result.acquisition, barred=barred)


def _is_unchanged(result: Result, excluded: Mapping[str, Sequence[Code]]) -> bool:
    """Whether the usable levels carry the names they had, so that the mean stays to the last digit."""
    before = {level.name: SPOILS_DENSITY.isdisjoint(level.excluded) for level in result.levels if level.hu is not None}
    after = {name: SPOILS_DENSITY.isdisjoint(codes) for name, codes in excluded.items() if name in before}
    return before == after and set(excluded) == {level.name for level in result.levels}


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
