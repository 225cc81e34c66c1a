"""A result as the page of a study shows it: texts only, a dash where nothing was measured."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from trabecula_morphometry.codes import CODE_TABLE
from trabecula_service.render.wording import (
    advice,
    density_statement,
    fracture_statement,
    grade_text,
    headline,
    numbering_statement,
    percent,
)
from trabecula_service.result import Level, Result
from trabecula_service.web.charts import DensityBar, LossBar, density_bar, loss_bar

NOT_MEASURED = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelView:
    """One line of the table of levels."""

    name: str
    key: str
    """Its name in the stored version: what edits and masks go by."""

    confidence: str
    heights_mm: tuple[str, str, str]
    loss: str
    grade: str
    grade_class: str
    hu: str
    density: str
    excluded: tuple[str, ...]
    """Codes; the legend has their texts."""

    loss_bar: LossBar | None
    density_bar: DensityBar | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagView:
    """A flag with what the reader should do."""

    code: str
    level: str
    severity: str
    text: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyView:
    """Everything that the page says about a result."""

    status: str
    headline: str
    statements: tuple[str, ...]
    next_steps: tuple[str, ...]
    levels: tuple[LevelView, ...]
    legend: tuple[tuple[str, str], ...]
    """Codes that stand in the table of levels, with their texts."""
    flags: tuple[FlagView, ...]
    software: str
    overlay: str
    """What the pictures draw of the levels, as JSON."""


def view_of(result: Result, keys: Sequence[str] | None = None) -> StudyView:
    """The texts of one result; ``keys`` are the levels' names in the stored version where a reader renamed them."""
    keys = keys or [level.name for level in result.levels]
    evaluable = result.status != "not_evaluable"
    return StudyView(
        status=result.status.replace("_", " "),
        headline=headline(result),
        statements=(fracture_statement(result), density_statement(result), numbering_statement(result)) if evaluable else (),
        next_steps=tuple(advice(result)),
        levels=tuple(_level_view(level, key) for level, key in zip(result.levels, keys, strict=True)),
        legend=tuple(
            (str(code), f"{CODE_TABLE[code].text} {CODE_TABLE[code].advice}")
            for code in dict.fromkeys(code for level in result.levels for code in level.excluded)
        ),
        flags=tuple(
            FlagView(code=flag.code, level=flag.level or "", severity=flag.severity, text=flag.text, advice=CODE_TABLE[flag.code].advice)
            for flag in result.flags
        ),
        software=f"{result.software.version}, backend {result.software.backend}, weights {result.software.weights_sha256[:12]}",
        overlay=json.dumps([_overlay(level, key) for level, key in zip(result.levels, keys, strict=True)]),
    )


def _overlay(level: Level, key: str) -> dict[str, object]:
    return {
        "key": key,
        "name": level.name,
        "grade": level.genant.grade,
        "center": list(level.center_lps_mm),
        "points": level.points_lps_mm.model_dump() if level.points_lps_mm else None,
        "voi": list(level.hu.center_lps_mm) if level.hu and level.hu.center_lps_mm else None,
    }


def _level_view(level: Level, key: str) -> LevelView:
    heights = level.heights_mm
    values = (heights.anterior, heights.middle, heights.posterior) if heights else (None, None, None)
    loss = level.height_loss.max if level.height_loss else None
    return LevelView(
        name=level.name,
        key=key,
        confidence=percent(level.confidence),
        heights_mm=(_millimetres(values[0]), _millimetres(values[1]), _millimetres(values[2])),
        loss=percent(loss) if loss is not None else NOT_MEASURED,
        grade=grade_text(level),
        grade_class=f"grade{level.genant.grade}" if level.genant.grade else "",
        hu=f"{level.hu.mean:.0f}" if level.hu else NOT_MEASURED,
        density=_density(level),
        excluded=tuple(str(code) for code in level.excluded),
        loss_bar=loss_bar(loss) if loss is not None else None,
        density_bar=density_bar(level.density.value_mg_cm3, level.density.interval95) if level.density else None,
    )


def _millimetres(value: float | None) -> str:
    return f"{value:.1f}" if value is not None else NOT_MEASURED


def _density(level: Level) -> str:
    if level.density is None:
        return NOT_MEASURED
    low, high = level.density.interval95
    return f"{level.density.value_mg_cm3:.0f} ({low:.0f}–{high:.0f})"
