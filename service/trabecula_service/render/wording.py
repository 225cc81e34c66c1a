"""The sentences of the documents, in one place: what a report must say and must never say.

Wording: clinical-facts section 8 (FDA SAO and QFM definitions). A document says "no height loss >= 20 % detected in levels ..." and never
"no fracture"; it names no diagnosis, no T-score, no age or cause of a fracture, no treatment and no risk. The words themselves are in
``languages/``; which sentence is said when is decided here, for every language alike.
"""

from trabecula_calibration.trend import Change, NotComparable
from trabecula_morphometry.codes import Severity
from trabecula_morphometry.levels import level_position
from trabecula_service.render.languages import DEFAULT_LANGUAGE
from trabecula_service.render.phrases import code_advice, flag_text, phrase, table, term
from trabecula_service.render.trend import TrendRow, trend
from trabecula_service.result import Level, Result

NOT_FOR_PRIMARY_DIAGNOSIS = phrase(DEFAULT_LANGUAGE, "mark")
UNVERIFIED = phrase(DEFAULT_LANGUAGE, "unverified")
LIMITS = phrase(DEFAULT_LANGUAGE, "limits")

LOSS_LIMITS = (0.20, 0.25, 0.40)
"""Fractions of height loss at which Genant's grades 1, 2 and 3 begin (Loeffler 2020, Radiol AI)."""

DENSITY_LIMITS_MG_CM3 = (80.0, 120.0)
"""Bands of the mean trabecular density; both limits belong to the middle band (ACR 2018 QCT practice parameter)."""

_BORDERLINE = 0.02
"""Within 2 points of a limit the grade is called borderline: two readers differ by more."""

CATEGORY_WORDS = table(DEFAULT_LANGUAGE, "category")
BASIS_WORDS = table(DEFAULT_LANGUAGE, "basis")
PHASE_WORDS = table(DEFAULT_LANGUAGE, "phase")


def typeset(text: str) -> str:
    """With the signs of print, where a page or a picture shows them; DICOM and HL7 keep to signs that every receiver has."""
    return text.replace(">=", "≥")


def standing(result: Result, language: str = DEFAULT_LANGUAGE) -> str:
    """Whether somebody has looked at this version, and who."""
    signed = result.signature
    if signed is None:
        return phrase(language, "unverified")
    return phrase(language, f"verified_{signed.verdict}", reader=signed.reader, at=f"{signed.at:%Y-%m-%d %H:%M} UTC")


def graded_levels(result: Result) -> list[Level]:
    """Levels that carry a grade, cranial to caudal."""
    return [level for level in result.levels if level.genant.grade is not None]


def levels_text(names: list[str]) -> str:
    """Level names as runs, from the order in which they are given: "T11-L2, L4"."""
    runs: list[list[str]] = []
    for name in names:
        follows = runs and level_position(name) - level_position(runs[-1][-1]) in _step_to(name)
        if follows:
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _step_to(name: str) -> tuple[int, ...]:
    # T13 stands between T12 and L1 in the order but is absent in nearly everyone.
    return (1, 2) if name == "L1" else (1,)


def percent(fraction: float) -> str:
    """A fraction as whole percent; never "-0 %"."""
    return f"{round(fraction * 100) or 0} %"


def is_borderline(level: Level) -> bool:
    """Whether the largest height loss lies within 2 points of a limit between grades."""
    loss = level.height_loss.max if level.height_loss else None
    return loss is not None and level.genant.grade is not None and any(abs(loss - limit) <= _BORDERLINE for limit in LOSS_LIMITS)


def grade_text(level: Level, language: str = DEFAULT_LANGUAGE) -> str:
    """Grade and type of one level, as "2 wedge, borderline"; a dash where it was not graded."""
    if level.genant.grade is None:
        return "–"
    shape = f" {term(language, 'shape', level.genant.type)}" if level.genant.type and level.genant.grade > 0 else ""
    return f"{level.genant.grade}{shape}" + (phrase(language, "borderline") if is_borderline(level) else "")


def loss_finding(level: Level, language: str = DEFAULT_LANGUAGE) -> str:
    """One level with height loss in words: "L1: height loss 48 % (Genant grade 3, wedge)"."""
    loss = level.height_loss.max if level.height_loss else None
    return phrase(
        language,
        "finding",
        level=level.name,
        size=f" {percent(loss)}" if loss is not None else "",
        grade=level.genant.grade,
        kind=f", {term(language, 'shape', level.genant.type)}" if level.genant.type else "",
        borderline=phrase(language, "borderline") if is_borderline(level) else "",
    )


def statements(result: Result, language: str = DEFAULT_LANGUAGE) -> list[str]:
    """The findings in sentences: heights, density, names; none where nothing could be measured."""
    if result.status == "not_evaluable":
        return []
    said = [fracture_statement(result, language), density_statement(result, language), numbering_statement(result, language)]
    return [*said, *([change] if (change := trend_statement(result, language)) else [])]


def fracture_statement(result: Result, language: str = DEFAULT_LANGUAGE) -> str:
    """What was seen of vertebral heights."""
    graded = graded_levels(result)
    if not graded:
        return phrase(language, "not_graded")
    lost = [level for level in graded if (level.genant.grade or 0) >= 1]
    sound = [level.name for level in graded if level.genant.grade == 0]
    parts = [loss_finding(level, language) for level in lost]
    if sound:
        parts.append(phrase(language, "no_loss_besides" if lost else "no_loss", levels=levels_text(sound)))
    return "; ".join(parts) + "."


def density_statement(result: Result, language: str = DEFAULT_LANGUAGE) -> str:
    """The mean density with interval, material and basis, or why there is none."""
    density = result.density
    if density.mean_mg_cm3 is None or density.interval95 is None:
        return f"{phrase(language, 'no_mean_density')} {density_reasons(result, language)}".strip()
    low, high = density.interval95
    basis, levels = term(language, "basis", density.basis), levels_text(density.levels)
    how = phrase(language, "how_measured", material=density.material, basis=basis, levels=levels)
    band = phrase(language, "band", category=term(language, "category", density.category)) if density.category else ""
    return phrase(language, "mean_density", value=f"{density.mean_mg_cm3:.0f}", low=f"{low:.0f}", high=f"{high:.0f}", how=how, band=band)


def trend_statement(result: Result, language: str = DEFAULT_LANGUAGE) -> str:
    """The change since the latest earlier density that can be compared; why none can; empty where there is no earlier one."""
    rows = trend(result)
    if not rows:
        return ""
    comparable = [row for row in rows if isinstance(row.since, Change)]
    if not comparable:
        return phrase(language, "not_comparable", date=rows[-1].prior.scanned_on.isoformat(), reason=trend_verdict(rows[-1], language))
    row = comparable[-1]
    return phrase(
        language,
        "change",
        date=row.prior.scanned_on.isoformat(),
        material=result.density.material,
        basis=term(language, "basis_short", result.density.basis),
        change=change_text(row),
        least=least_text(row),
        verdict=trend_verdict(row, language),
    )


def change_text(row: TrendRow) -> str:
    """ "-12", "+3"; a dash where there is no change to tell."""
    return f"{round(row.since.change_mg_cm3) or 0:+d}" if isinstance(row.since, Change) else "–"


def least_text(row: TrendRow) -> str:
    """The least significant change, mg/cm3."""
    return f"{row.since.least_significant_mg_cm3:.0f}" if isinstance(row.since, Change) else "–"


def trend_verdict(row: TrendRow, language: str = DEFAULT_LANGUAGE) -> str:
    """Whether the change is more than repeating the scan may give, or why it cannot be told."""
    if isinstance(row.since, NotComparable):
        return phrase(language, f"other_{row.since.obstacle.value}")
    if not row.since.significant:
        return phrase(language, "no_significant_change")
    return phrase(language, "significant_decrease" if row.since.change_mg_cm3 < 0 else "significant_increase")


def density_reasons(result: Result, language: str = DEFAULT_LANGUAGE) -> str:
    """The warnings that stand at study level, as sentences."""
    seen = [flag_text(language, flag) for flag in result.flags if flag.level is None and flag.severity is not Severity.INFO]
    return " ".join(dict.fromkeys(seen))


def numbering_statement(result: Result, language: str = DEFAULT_LANGUAGE) -> str:
    """How sure the level names are."""
    numbering = result.numbering
    anchors = ", ".join(term(language, "term", anchor) for anchor in numbering.anchors)
    counted = phrase(language, "counted_from", anchors=anchors) if anchors else phrase(language, "counted_by_shape")
    named = ", ".join(term(language, "variant", variant) for variant in numbering.variants)
    variants = phrase(language, "variants", variants=named) if named else ""
    if numbering.certain:
        return phrase(language, "names_certain", counted=counted, variants=variants)
    readings = ", ".join(
        phrase(language, "reading", shift=shift_words(other.shift, language), probability=other.chance) for other in numbering.alternatives
    )
    others = phrase(language, "other_readings", readings=readings) if readings else ""
    return phrase(language, "names_uncertain", counted=counted, others=others, variants=variants)


def shift_words(shift: int, language: str = DEFAULT_LANGUAGE) -> str:
    """Words for a shift of all names; -1 is one level up."""
    count = abs(shift)
    return phrase(language, f"{'more' if count > 1 else 'one'}_{'higher' if shift < 0 else 'lower'}", count=count)


def headline(result: Result, language: str = DEFAULT_LANGUAGE) -> str:
    """The one line that a reader sees first: heights outrank density (a moderate height loss counts whatever the density)."""
    if result.status == "not_evaluable":
        seen = [flag_text(language, flag) for flag in result.flags if flag.severity is not Severity.INFO]
        return phrase(language, "not_evaluable", reasons=" ".join(dict.fromkeys(seen))).strip()
    lost = [level for level in graded_levels(result) if (level.genant.grade or 0) >= 1]
    serious = [level for level in lost if (level.genant.grade or 0) >= 2]
    parts = []
    if serious:
        parts.append(phrase(language, "height_loss", findings=_short_findings(serious, language)))
    if result.density.category == "low":
        parts.append(phrase(language, "low_density"))
    if not parts and lost:
        parts.append(phrase(language, "mild_height_loss", findings=_short_findings(lost, language)))
    if parts:
        return "; ".join(parts)
    sound = [level.name for level in graded_levels(result)]
    return phrase(language, "no_loss", levels=levels_text(sound)) if sound else phrase(language, "not_graded_headline")


def caution(result: Result, language: str = DEFAULT_LANGUAGE) -> str:
    """What must be read together with the headline: it names levels, so doubt about names belongs beside it."""
    return phrase(language, "caution") if result.levels and not result.numbering.certain else ""


def _short_findings(levels: list[Level], language: str) -> str:
    return ", ".join(_short_finding(level, language) for level in levels)


def _short_finding(level: Level, language: str) -> str:
    loss = level.height_loss.max if level.height_loss else None
    return (
        f"{level.name} {percent(loss)}" if loss is not None else phrase(language, "grade_only", level=level.name, grade=level.genant.grade)
    )


def advice(result: Result, language: str = DEFAULT_LANGUAGE) -> list[str]:
    """What the reader can do next; no treatment, no diagnosis."""
    if result.status == "not_evaluable":
        return list(dict.fromkeys(code_advice(language, flag.code) for flag in result.flags if flag.severity is not Severity.INFO))
    steps = []
    lost = [level.name for level in graded_levels(result) if (level.genant.grade or 0) >= 1]
    if lost:
        steps.append(phrase(language, "look_at", levels=levels_text(lost)))
    if lost or result.density.category in ("low", "intermediate"):
        steps.append(phrase(language, "confirm"))
    if not result.numbering.certain and result.levels:
        steps.append(phrase(language, "check_names"))
    ungraded = [level.name for level in result.levels if level.genant.grade is None]
    if ungraded:
        steps.append(phrase(language, "read_by_eye", levels=levels_text(ungraded)))
    if result.density.mean_mg_cm3 is None:
        steps.append(phrase(language, "no_replacement"))
    return steps or [phrase(language, "nothing_further")]
