"""Every sentence that a flag can carry is known in every language, so that no report is half in English."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import trabecula_calibration
import trabecula_models
import trabecula_morphometry
import trabecula_service
from trabecula_calibration.density import CATEGORY_SOURCE
from trabecula_morphometry.codes import CODE_TABLE, Code
from trabecula_service.choose.kinds import _NO_VOLUME, _NOT_HU_TYPES
from trabecula_service.choose.rules import default_rules
from trabecula_service.render.details import Sentences
from trabecula_service.render.languages import DEFAULT_LANGUAGE, languages
from trabecula_service.render.phrases import code_text, flag_text, table
from trabecula_service.result import flag

SPEAKERS = {
    "trabecula_morphometry.measure": ("_spacing_flags", "_grade"),
    "trabecula_morphometry.deformity": ("deformed_levels",),
    "trabecula_morphometry.plausibility": ("check_geometry", "check_attenuation"),
    "trabecula_calibration.matching": ("match_entry", "_judge"),
    "trabecula_calibration.density": ("_choose_line", "fallback_words"),
    "trabecula_calibration.drift": ("_judge",),
    "trabecula_calibration.tissue": ("tissue_disagreements",),
    "trabecula_calibration.phantom_fit": ("reasons_to_refuse",),
    "trabecula_calibration.phantom_scan": ("read_phantom_scan", "_geometry_reasons"),
    "trabecula_service.choose.kinds": ("why_no_volume",),
    "trabecula_service.choose.rules": ("reasons_against",),
    "trabecula_service.dicom.assemble": ("read_stack", "check_rescale", "_flags", "_said_of_gaps", "_clipped"),
    "trabecula_service.dicom.candidates": ("candidate_of",),
    "trabecula_service.dicom.geometry": ("slice_frame", "plan_slices"),
    "trabecula_service.dicom.nifti": ("read_nifti", "_grid"),
    "trabecula_service.dicom.plausible_hu": ("why_not_hu",),
    "trabecula_service.dicom.read": ("_flag_about", "why_not", "_refuse"),
    "trabecula_service.dicom.stacks": ("_split",),
    "trabecula_service.pipeline.analyze": ("_finish",),
    "trabecula_service.pipeline.conclude": ("numbering_flags", "_numbering_flags"),
    "trabecula_service.pipeline.join_results": ("_said_of_stacks",),
    "trabecula_service.pipeline.measurement": (
        "_gap_flags",
        "_tissue_flags",
        "_style_flags",
        "_of_another_place",
        "_column_flags",
        "_density_flags",
    ),
    "trabecula_service.pipeline.phantom_in_scan": ("with_phantom_in_scan",),
    "trabecula_service.pipeline.segmented_stacks": ("unused_series",),
    "trabecula_service.review.amend": ("rejected", "_flags"),
}
"""Functions whose words become the details of flags. The test below finds those that are missing here."""

SPEAKING_CALLS = {"flag", "NotEvaluableError", "ColumnFlag", "Implausible", "Refusal", "NoMatch", "PhantomNotSeen"}
MUTE_CALLS = {"InputError", "text", "texts", "uid", "integer", "number", "join", "rstrip", "model_copy", "report", "_or_unreadable"}
MUTE_KEYWORDS = {"where", "hint", "by", "entry_id", "kind", "format"}
KEYWORD = re.compile(r"(?:[A-Z][a-z]+){2,}|[a-z]+[_./]\S+")
"""Of DICOM, or of our own files."""
OTHERS = [name for name in languages() if name != DEFAULT_LANGUAGE]


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)]


def sources() -> Iterator[tuple[str, Path]]:
    for package in (trabecula_morphometry, trabecula_calibration, trabecula_models, trabecula_service):
        (root,) = (Path(folder) for folder in package.__path__)
        for path in root.rglob("*.py"):
            yield ".".join([package.__name__, *path.relative_to(root).with_suffix("").parts]), path


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def shown(part: ast.expr) -> str:
    """One piece of an f-string; an explanation inside another is a sentence of its own, looked at where it is made."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    value = part.value if isinstance(part, ast.FormattedValue) else part
    if isinstance(value, ast.IfExp) and isinstance(value.body, ast.Constant):
        return str(value.body.value)
    return "" if ast.unparse(value).endswith("explanation") else "7"


def words_in(node: ast.AST) -> Iterator[str]:
    """Texts of a piece of code, numbers and names in them shown as 7; none of those that only programs read."""
    if isinstance(node, ast.Call):
        arguments = [*node.args, *(word.value for word in node.keywords if word.arg not in MUTE_KEYWORDS)]
        for child in [] if called(node) in MUTE_CALLS else arguments:
            yield from words_in(child)
        if isinstance(node.func, ast.Attribute):
            yield from words_in(node.func.value)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(shown(part) for part in node.values)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from words_in(part.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.FunctionDef):
        for statement in node.body[1:] if ast.get_docstring(node) else node.body:
            yield from words_in(statement)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from words_in(value)
    elif isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "where" for target in node.targets):
        return
    elif not isinstance(node, ast.Compare | ast.Subscript | ast.arguments | ast.AnnAssign):
        for child in ast.iter_child_nodes(node):
            yield from words_in(child)


def sentences() -> Iterator[tuple[str, str]]:
    for module, path in sources():
        for function in functions(path) if module in SPEAKERS else ():
            for text in words_in(function) if function.name in SPEAKERS[module] else ():
                said = text.strip(" ;,")
                if re.search(r"[A-Za-z]{3}", said) and not KEYWORD.fullmatch(said):
                    yield f"{module}.{function.name}", said
    yield "category_source", CATEGORY_SOURCE
    for kind in (*_NO_VOLUME.values(), *_NOT_HU_TYPES.values()):
        yield "kinds of images", kind
    for rule in default_rules().rule:
        yield "rules.toml", rule.said if rule.fact not in ("extent_mm", "slice_step_mm") else f"{rule.said} (7 mm)"


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_of_a_flag_is_known(language: str) -> None:
    known = Sentences(table(language, "details"))
    missing = sorted({f"{place}: {text}" for place, text in sentences() if not known.say(text).known})
    assert missing == [], f"add these to [details] in languages/{language}.toml"


def speaks(function: ast.FunctionDef) -> bool:
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and called(node) in SPEAKING_CALLS]
    return any(re.search(r"[A-Za-z]{3}", text) for call in calls for text in words_in(call))


def test_every_place_that_says_something_is_looked_at() -> None:
    speaking = {(module, function.name) for module, path in sources() for function in functions(path) if speaks(function)}
    overlooked = sorted(f"{module}.{name}" for module, name in speaking if name not in SPEAKERS.get(module, ()))
    assert overlooked == [], "add these to SPEAKERS, and what they say to [details] of each language"


def test_a_detail_keeps_its_numbers_and_what_a_person_wrote() -> None:
    assert flag_text("de", flag(Code.GANTRY_TILT, "Tilt 12.5 degrees.")) == code_text("de", Code.GANTRY_TILT) + " Kippung 12.5 Grad."
    said = flag_text("de", flag(Code.READER_REJECTED, "Reason: moved a lot, see note; Mr. X"))
    assert said.endswith("Grund: moved a lot, see note; Mr. X")
    reasons = "Series 4, 99 slices: slices further apart (5 mm); not axial."
    assert flag_text("de", flag(Code.OTHER_SERIES, reasons)).endswith(
        "Serie 4, 99 Schichten: Schichten weiter auseinander (5 mm); nicht axial."
    )


def test_the_default_language_is_said_as_it_comes() -> None:
    entry = flag(Code.GANTRY_TILT, "Tilt 12.5 degrees.")
    assert flag_text(DEFAULT_LANGUAGE, entry) == entry.text
    assert entry.text.startswith(CODE_TABLE[Code.GANTRY_TILT].text)
