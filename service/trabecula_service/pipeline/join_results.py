"""One result from the results of several stacks of one spine (pure): names, levels, grades and density of the whole column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trabecula_calibration.density import CATEGORY_BARRING_CODES, age_codes, fallback_words, without_fallback_words
from trabecula_models.naming import UNLISTED_PROBABILITY
from trabecula_morphometry.codes import Code
from trabecula_morphometry.genant import summarise
from trabecula_morphometry.levels import DENSITY_LEVELS
from trabecula_morphometry.measure import SPOILS_DENSITY, outlier_levels
from trabecula_service.pipeline.conclude import fractures_of, numbering_flags, status_of, unique_flags
from trabecula_service.pipeline.join_names import JoinedNames, NamedStack, StackLevel, join_names
from trabecula_service.pipeline.regrade import density_over, graded_levels
from trabecula_service.result import Alternative, Density, Flag, Level, Numbering, Result, Source, flag

_MADE_ANEW = frozenset({Code.NUMBERING_UNCERTAIN, Code.VARIANT_ANATOMY, Code.TOO_FEW_LEVELS, Code.DEFORMITY_NOT_FRACTURE})
"""Flags about the column as a whole: what a part of it said no longer holds."""

_ABOUT_DENSITY = frozenset(
    {
        *(Code.NO_CALIBRATION, Code.CALIBRATION_EXPIRED, Code.CALIBRATION_DRIFT, Code.KVP_MISMATCH, Code.KERNEL_MISMATCH),
        *(Code.SCANNER_MISMATCH, Code.MATERIAL_MISMATCH, Code.CONTRAST_PHASE, Code.CONTRAST_UNKNOWN, Code.TISSUE_CHECK),
    }
)
"""Flags about the density: of interest where a level of the stack may be part of the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedResult:
    """The whole, and for each stack which of its levels were taken: their old names and the new ones."""

    result: Result
    taken: tuple[Mapping[str, str], ...]


def join_results(stacks: Sequence[Result], source: Source) -> JoinedResult:
    """Join the results of stacks that show parts of one spine; the first gives the acquisition and, where it can, the density.

    Levels are measured in one stack each, so the numbers of a level are never mixed. Expected heights, losses and grades are worked out
    anew over the whole column; the mean density is that of one calibration line in one contrast phase.

    Parameters
    ----------
    stacks : results with levels, each of a series of its own, analysed by the same software. A density without a mean still says the basis
        of the levels' densities: what is too little in one stack may be enough for the whole.
    source : of the whole; its ``stacks`` are in the same order.
    """
    names = join_names([_named(result, is_first=index == 0) for index, result in enumerate(stacks)])
    taken: list[dict[str, str]] = [{} for _ in stacks]
    for entry in names.levels:
        taken[entry.stack][stacks[entry.stack].levels[entry.level].name] = entry.name
    numbering = _numbering(stacks, names)
    levels = [_level(stacks, names, entry.stack, entry.level, entry.name) for entry in names.levels]
    comparable = _comparable(stacks, names)
    acquisition = stacks[0].acquisition
    levels, patterns = graded_levels(levels, acquisition, source)
    levels = _with_outliers(levels, {stacks[index].source.series_instance_uid for index in comparable})
    levels, density = _density(stacks, names, comparable, levels)
    summary = summarise({level.name: level.genant.grade for level in levels}, [level.name for level in levels])
    deformed = [level.name for level in levels if level.name in patterns]
    new = [flag(Code.DEFORMITY_NOT_FRACTURE, f"{patterns[name].capitalize()}.", name) for name in deformed]
    if density.mean_mg_cm3 is None and any(level.density is not None for level in levels):
        new.append(flag(Code.TOO_FEW_LEVELS))
    if density.mean_mg_cm3 is not None:
        new += [flag(code) for code in age_codes(acquisition.age_years)]
    new.append(flag(Code.STACKS_JOINED, _said_of_stacks(stacks, names, taken)))
    result = Result.model_validate(
        {
            "schema": "trabecula.result/1",
            "status": status_of(levels, density),
            "software": stacks[0].software,
            "source": source,
            "acquisition": acquisition,
            "numbering": numbering,
            "levels": levels,
            "density": density,
            "fractures": fractures_of(summary),
            "flags": unique_flags([*_kept_flags(stacks, taken, comparable), *new, *numbering_flags(numbering)]),
            "timing_s": _timing(stacks),
        }
    )
    return JoinedResult(result=result, taken=tuple(taken))


def _named(result: Result, *, is_first: bool) -> NamedStack:
    return NamedStack(
        levels=tuple(
            StackLevel(
                name=level.name,
                center_lps_mm=level.center_lps_mm,
                complete=level.complete,
                quality=_quality(level, is_first=is_first),
            )
            for level in result.levels
        ),
        certain=result.numbering.certain,
        alternatives={entry.shift: entry.probability for entry in result.numbering.alternatives},
    )


def _quality(level: Level, *, is_first: bool) -> tuple[float, ...]:
    """Which of two views of a body is taken: the whole one, the measured one, that of the first stack (one line for all), the surer one."""
    return (float(level.complete), float(level.heights_mm is not None), float(level.hu is not None), float(is_first), level.confidence)


def _level(stacks: Sequence[Result], names: JoinedNames, stack: int, number: int, name: str) -> Level:
    level, series = stacks[stack].levels[number], stacks[stack].source.series_instance_uid
    confidence = level.confidence
    if names.shifts[stack]:
        # Its own confidence was in the name that it had; the new one is no surer than those that it was counted from.
        sure = [own.confidence for index, result in enumerate(stacks) if not names.shifts[index] for own in result.levels]
        confidence = round(min([names.probability, *sure]), 4)
    return level.model_copy(update={"name": name, "confidence": confidence, "series_instance_uid": series})


def _numbering(stacks: Sequence[Result], names: JoinedNames) -> Numbering:
    unmoved = [result.numbering for result, shift in zip(stacks, names.shifts, strict=True) if shift == 0]
    alternatives = sorted(names.alternatives.items(), key=lambda item: -item[1])
    # A stack that is unsure because it shows an L6 or a short last rib is not overruled by one that does not show it.
    open_variant = any(result.numbering.variants and not result.numbering.certain for result in stacks)
    certain = names.certain and not open_variant
    if not certain and not alternatives:
        alternatives = [(-1, UNLISTED_PROBABILITY), (1, UNLISTED_PROBABILITY)]
    return Numbering(
        certain=certain,
        anchors=list(dict.fromkeys(anchor for numbering in unmoved for anchor in numbering.anchors)),
        variants=list(dict.fromkeys(variant for result in stacks for variant in result.numbering.variants)),
        alternatives=[Alternative(shift=shift, probability=round(weight, 4)) for shift, weight in alternatives],
    )


def _line_of(result: Result) -> tuple[object, ...]:
    """What two densities must have in common to enter one mean."""
    density = result.density
    return density.basis, density.material, density.calibration_id, result.acquisition.contrast.phase


def _comparable(stacks: Sequence[Result], names: JoinedNames) -> list[int]:
    """The stack whose calibration line the density of the whole follows, and those that were measured on the same one in the same phase."""

    def wanted(index: int) -> tuple[bool, int, int]:
        mine = [entry.name for entry in names.levels if entry.stack == index and stacks[index].levels[entry.level].density is not None]
        return stacks[index].density.basis != "none", sum(name in DENSITY_LEVELS for name in mine), -index

    lead = max(range(len(stacks)), key=wanted)
    others = [index for index in range(len(stacks)) if index != lead and _line_of(stacks[index]) == _line_of(stacks[lead])]
    return [lead, *others]


def _with_outliers(levels: Sequence[Level], series: set[str | None]) -> list[Level]:
    """Levels that do not fit their neighbours now that they have some; HU of another phase say nothing about it."""
    usable = {
        level.name: level.hu.mean
        for level in levels
        if level.hu is not None and level.series_instance_uid in series and SPOILS_DENSITY.isdisjoint(level.excluded)
    }
    found = outlier_levels(usable)
    return [level.model_copy(update={"excluded": [*level.excluded, Code.OUTLIER]}) if level.name in found else level for level in levels]


def _density(stacks: Sequence[Result], names: JoinedNames, comparable: Sequence[int], levels: list[Level]) -> tuple[list[Level], Density]:
    """The levels, without densities that the basis of the whole does not describe, and the mean."""
    lead = stacks[comparable[0]]
    basis = lead.density.basis, lead.density.material
    alike = {result.source.series_instance_uid for result in stacks if (result.density.basis, result.density.material) == basis}
    levels = [level if level.series_instance_uid in alike else level.model_copy(update={"density": None}) for level in levels]
    on_line = {stacks[index].source.series_instance_uid for index in comparable}
    barred = bool((CATEGORY_BARRING_CODES | {Code.VOI_STYLE}) & {entry.code for index in comparable for entry in stacks[index].flags})
    mean = density_over(lead.density, [level for level in levels if level.series_instance_uid in on_line], lead.acquisition, barred=barred)
    from_lead = {level.name for level in levels if level.series_instance_uid == lead.source.series_instance_uid}
    if not names.shifts[comparable[0]] and mean.levels and mean.levels == lead.density.levels and set(mean.levels) <= from_lead:
        # The same levels of one stack: its own mean, with its budget, to the last digit.
        return levels, lead.density
    # Which levels had to help is another matter for the whole than it was for the part.
    words = without_fallback_words(lead.density.explanation) + fallback_words(mean.levels)
    return levels, mean.model_copy(update={"explanation": words}) if mean.levels else mean


def _kept_flags(stacks: Sequence[Result], taken: Sequence[Mapping[str, str]], comparable: Sequence[int]) -> list[Flag]:
    kept = []
    for index, result in enumerate(stacks):
        for entry in result.flags:
            if entry.code in _MADE_ANEW or (entry.code in _ABOUT_DENSITY and index not in comparable):
                continue
            if entry.level is None:
                kept.append(entry.model_copy(update={"text": without_fallback_words(entry.text)}))
            elif entry.level in taken[index]:
                kept.append(entry.model_copy(update={"level": taken[index][entry.level]}))
    return kept


def _said_of_stacks(stacks: Sequence[Result], names: JoinedNames, taken: Sequence[Mapping[str, str]]) -> str:
    """Which series gave which levels, and what was done to their names."""
    said = []
    for result, shift, levels in zip(stacks, names.shifts, taken, strict=True):
        number = result.source.series_number
        series = "A series without number" if number is None else f"Series {number}"
        given = list(levels.values())
        reach = "no level" if not given else given[0] if len(given) == 1 else f"{given[0]} to {given[-1]}"
        moved = f", its names moved by {shift:+d} to fit the others" if shift else ""
        said.append(f"{series}: {reach}{moved}.")
    if names.left_out:
        said.append(f"Bodies that fit nowhere in the order and were left out: {names.left_out}.")
    return " ".join(said)


def _timing(stacks: Sequence[Result]) -> dict[str, float]:
    stages = dict.fromkeys(stage for result in stacks for stage in result.timing_s)
    return {stage: sum(result.timing_s.get(stage, 0.0) for result in stacks) for stage in stages}
