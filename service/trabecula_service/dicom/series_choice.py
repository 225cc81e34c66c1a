"""Explains which series of an input is measured: every rule's points, the reason of each loser, what is split. Nothing is decoded or kept.

``explain_choice`` is the entry point for files, used by the command and by the administrator's page; ``choice_table`` is its pure core.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from trabecula_morphometry.errors import InputError
from trabecula_service.choose.rules import ChoiceRules
from trabecula_service.dicom import header as tags
from trabecula_service.dicom.candidates import Candidate
from trabecula_service.dicom.files import input_files, kind_of_file
from trabecula_service.dicom.image import NotEvaluableError
from trabecula_service.dicom.read import CandidateList, quiet, require_usable, survey, why_not

Verdict = Literal["chosen", "joined", "not chosen", "refused"]
"""Joined: measured beside the chosen one, because it shows another part of the spine."""


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RuleScore(_Shown):
    """What one rule gave."""

    rule: str
    earned: float
    points: float


class SeriesRow(_Shown):
    """One series, or one acquisition of it, as the rules see it. Nothing of the patient but, where asked for, the description."""

    series_number: int | None
    series_instance_uid: str
    acquisition_number: int | None
    description: str | None
    slice_count: int
    extent_mm: float | None
    slice_step_mm: float | None
    kernel: str | None
    is_axial: bool | None
    scores: tuple[RuleScore, ...]
    points: float
    verdict: Verdict
    reason: str
    """Why it was not chosen, or is refused; empty for what is measured."""

    @property
    def name(self) -> str:
        """How people call it: series number, and the acquisition where the series is split."""
        series = "series without number" if self.series_number is None else f"series {self.series_number}"
        return series if self.acquisition_number is None else f"{series}, acquisition {self.acquisition_number}"


class IgnoredObjects(_Shown):
    """Objects that are no CT images, by what they are."""

    kind: str
    count: int


class ChoiceTable(_Shown):
    """The decision over one input, best first. ``refusal`` says why nothing of it would be measured; empty where something would."""

    most_points: float
    series: tuple[SeriesRow, ...]
    split: tuple[str, ...]
    """Series of which several acquisitions are told apart, in words."""
    ignored: tuple[IgnoredObjects, ...]
    refusal: str


def explain_choice(paths: Sequence[Path], rules: ChoiceRules, *, descriptions: bool = False) -> ChoiceTable:
    """The decision over files, folders and zips that together are one study.

    Parameters
    ----------
    descriptions : whether the description of each series is shown; people write names into it at times.

    Raises
    ------
    InputError : a path is missing or a zip is damaged, or no DICOM file is among them.
    """
    if not paths:
        raise InputError("nothing was given to look at", hint="give a DICOM file, a folder or a zip")
    with ExitStack() as stack, quiet():
        files = [file for path in paths for file in stack.enter_context(input_files(path))]
        dicoms = [file for file in files if kind_of_file(file.path) == "dicom"]
        if not dicoms:
            raise InputError("no DICOM file", where=paths[0].name, hint="give a DICOM file, a folder or a zip of them")
        return choice_table(survey(dicoms, "the input", rules=rules), rules, descriptions=descriptions)


def choice_table(found: CandidateList, rules: ChoiceRules, *, descriptions: bool = False) -> ChoiceTable:
    """The table of a surveyed input (pure)."""
    try:
        require_usable(found, "the input")
        refusal, measured = "", (found.usable[0], *found.companions(found.usable[0]))
    except (InputError, NotEvaluableError) as error:
        refusal, measured = " ".join(str(error).split()), ()
    rows = [_row(candidate, measured, rules, descriptions) for candidate in (*found.usable, *found.refused)]
    return ChoiceTable(
        most_points=rules.most_points,
        series=tuple(rows),
        split=_split(found),
        ignored=tuple(IgnoredObjects(kind=kind, count=count) for kind, count in found.ignored),
        refusal=refusal,
    )


def _row(candidate: Candidate, measured: Sequence[Candidate], rules: ChoiceRules, descriptions: bool) -> SeriesRow:
    facts, header = candidate.facts, candidate.stack.slices[0].header
    return SeriesRow(
        series_number=candidate.series_number,
        series_instance_uid=candidate.series_instance_uid,
        acquisition_number=candidate.acquisition_number,
        description=tags.text(header, "SeriesDescription") if descriptions else None,
        slice_count=len(candidate.stack.slices),
        extent_mm=round(facts.extent_mm, 1) if facts else None,
        slice_step_mm=round(facts.slice_step_mm, 3) if facts else None,
        kernel=facts.kernel if facts else None,
        is_axial=facts.is_axial if facts else None,
        scores=tuple(RuleScore(rule=rule.name, earned=round(rule.earned(facts), 2), points=rule.points) for rule in rules.rule)
        if facts
        else (),
        points=round(candidate.points, 2),
        verdict=_verdict(candidate, measured),
        reason=_reason(candidate, measured, rules),
    )


def _verdict(candidate: Candidate, measured: Sequence[Candidate]) -> Verdict:
    if candidate.refusal is not None:
        return "refused"
    if candidate not in measured:
        return "not chosen"
    return "chosen" if candidate is measured[0] else "joined"


def _reason(candidate: Candidate, measured: Sequence[Candidate], rules: ChoiceRules) -> str:
    if candidate in measured:
        return ""
    if candidate.refusal is not None:
        return f"{candidate.refusal.code}: {candidate.refusal.detail.rstrip('.')}"
    return why_not(candidate, measured[0], rules) if measured else "nothing of the input is measured"


def _split(found: CandidateList) -> tuple[str, ...]:
    """Series that are several volumes: two phases in one, or a localizer's plane beside the slices."""
    parts: dict[str, list[Candidate]] = {}
    for candidate in (*found.usable, *found.refused):
        parts.setdefault(candidate.series_instance_uid, []).append(candidate)
    said = []
    for candidates in parts.values():
        if len(candidates) > 1:
            number = candidates[0].series_number
            counts = " and ".join(str(len(candidate.stack.slices)) for candidate in candidates)
            name = "a series without number" if number is None else f"series {number}"
            said.append(f"{name} is taken apart into {len(candidates)} acquisitions of {counts} slices")
    return tuple(sorted(said))
