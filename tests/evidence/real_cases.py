"""The real CT cases with a reading, analysed and scored: ``./run evidence`` prints the table.

The scorer is the one that lies beside the cases, not ours. Figures reached so far stand in ``reached.json``: no later version may be
worse. Targets stand beside them. ``--write`` also renews the table in the README.
"""

import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_service.pipeline.analyze import analyze_input
from trabecula_service.pipeline.request import AnalyzeRequest


@dataclass(frozen=True)
class RealCase:
    """One acquisition with its reading; ``use``: "learnt from" (its bodies trained the networks), "validation" or "test"."""

    name: str
    image: str
    reader: str
    reference: str | None = None
    bodies_only: bool = True
    acquisition_number: int | None = None
    use: str = "test"


CASES: tuple[RealCase, ...] = (
    RealCase(
        "petct-abdopelvis", "petct-abdopelvis/dicom", "petct-abdopelvis/reader.json", "petct-abdopelvis/bodies.nii.gz", use="learnt from"
    ),
    RealCase("colon-sens64", "colon-sens64/dicom", "colon-sens64/reader.json", "colon-sens64/bodies.nii.gz", use="learnt from"),
    RealCase("ircadb1-01", "ircadb1-01/dicom", "ircadb1-01/reader.json", "ircadb1-01/bodies.nii.gz", use="validation"),
    RealCase(
        "hcc-007-acq3",
        "hcc-007/two-phases/dicom",
        "hcc-007/two-phases/reader.json",
        "hcc-007/two-phases/bodies.nii.gz",
        acquisition_number=3,
    ),
    RealCase("hcc-007-acq1", "hcc-007/two-phases/dicom", "hcc-007/two-phases/reader_acquisition1.json", acquisition_number=1),
    RealCase(
        "verse012",
        "verse012/sub-verse012_ct.nii.gz",
        "verse012/reader.json",
        "verse012/sub-verse012_seg-vert_msk.nii.gz",
        bodies_only=False,
    ),
    RealCase("totalseg-example", "totalseg-example/example_ct.nii.gz", "totalseg-example/reader.json", "totalseg-example/bodies.nii.gz"),
    RealCase("hcc-007-pre10mm", "hcc-007/pre10mm/dicom", "hcc-007/pre10mm/reader.json"),
    RealCase("liver-8mm", "liver-8mm/dicom", "liver-8mm/reader.json"),
)


def scorer(shared: Path) -> ModuleType:
    """The scoring script that lies beside the cases, as a module."""
    specification = importlib.util.spec_from_file_location("trabecula_score", shared / "ct" / "score.py")
    if specification is None or specification.loader is None:
        raise FileNotFoundError("score.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def score_case(case: RealCase, shared: Path, out: Path) -> dict[str, Any]:
    """Analyse one case and compare it with its reading: the scorer's summary, the exit code and the seconds it took."""
    folder = shared / "ct"
    image = folder / case.image
    outcome = analyze_input(
        AnalyzeRequest(input=image, out=out, created=datetime(2026, 1, 1, tzinfo=UTC), acquisition_number=case.acquisition_number)
    )
    if outcome.result is None:
        return {"exit_code": outcome.exit_code, "message": outcome.message}
    score = scorer(shared)
    result = json.loads((out / "result.json").read_text())
    rows, summary = score.compare(result, json.loads((folder / case.reader).read_text()))
    if case.reference is not None and (out / "segmentation.nii.gz").exists():
        summary["dice"] = score.dice(str(out / "segmentation.nii.gz"), str(folder / case.reference), case.bodies_only)
    summary["exit_code"] = outcome.exit_code
    summary["phase"] = result["acquisition"]["contrast"]["phase"]
    summary["alternatives"] = [entry["shift"] for entry in result["numbering"]["alternatives"]]
    summary["seconds"] = round(sum(result["timing_s"].values()), 1)
    summary["rows"] = rows
    return dict(summary)


def score_all(shared: Path, only: tuple[str, ...] = ()) -> Iterator[tuple[RealCase, dict[str, Any], Path]]:
    """Every case (or the named ones) with its summary and the folder of its results."""
    for case in CASES:
        if only and case.name not in only:
            continue
        out = Path(tempfile.mkdtemp(prefix="trabecula-evidence-")) / case.name
        yield case, score_case(case, shared, out), out


REACHED = Path(__file__).with_name("reached.json")
"""Figures reached by the version in the repository; ``--write`` replaces them."""

TARGETS = {"named_right": "all", "centre_max_mm": 8.0, "hu_abs_max_l1_l3": 15.0, "dice_mean": 0.90, "false_grade2": []}
"""What the cases with T12-L5 in slices up to 5 mm should reach; the table shows how far each is."""


def _right_or_offered(summary: dict[str, Any]) -> bool:
    """Whether all names are right, or the result doubts them and offers the one shift that makes them right."""
    called = [row for row in summary["rows"] if row["called"] is not None]
    shifts = {LABEL_OF_LEVEL[row["level"]] - LABEL_OF_LEVEL[row["called"]] for row in called}
    if shifts <= {0}:
        return True
    return not summary["numbering_certain"] and len(shifts) == 1 and shifts <= set(summary["alternatives"])


def figures(summary: dict[str, Any]) -> dict[str, Any]:
    """What of a summary is held by the tests."""
    dice = list((summary.get("dice") or {}).values())
    return {
        "exit_code": summary["exit_code"],
        "levels": summary["levels"],
        "named_right": summary["named_right"],
        "certain": summary["numbering_certain"],
        "names_wrong_and_certain": summary["named_right"] < summary["levels"] - len(summary["missing"]) and summary["numbering_certain"],
        "right_or_offered": _right_or_offered(summary),
        "centre_median_mm": summary["centre_median_mm"],
        "centre_max_mm": summary["centre_max_mm"],
        "dice_mean": round(sum(dice) / len(dice), 3) if dice else None,
        "hu_abs_max_l1_l3": summary["hu_abs_max_l1_l3"],
        "height_abs_median_mm": summary["height_abs_median_mm"],
        "false_grade2": summary["false_grade2"],
        "missed_grade2": summary["missed_grade2"],
        "phase": summary["phase"],
    }


README = Path(__file__).parents[2] / "README.md"
README_START, README_END = "<!-- evidence -->\n", "<!-- /evidence -->"


def readme_table(reached: dict[str, dict[str, Any]]) -> str:
    """The table of the README: one row per case."""
    lines = [
        "| case | names right | certain | centre, median / max | mask Dice | HU L1-L3, largest error | heights, median error |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        got = reached[case.name]

        def shown(key: str, unit: str, row: dict[str, Any] = got) -> str:
            return "not measured" if row[key] is None else f"{row[key]} {unit}".strip()

        dice = "no reference" if case.reference is None else f"{got['dice_mean']:.3f}" + ("" if case.bodies_only else " (whole vertebra)")
        centre = f"{got['centre_median_mm']:.1f} / {got['centre_max_mm']:.1f} mm"
        certain = "yes" if got["certain"] else "no"
        name = case.name + (" (learnt from)" if case.use == "learnt from" else "")
        lines.append(
            f"| {name} | {got['named_right']} of {got['levels']} | {certain} | {centre} | {dice} "
            f"| {shown('hu_abs_max_l1_l3', 'HU')} | {shown('height_abs_median_mm', 'mm')} |"
        )
    return "\n".join(lines) + "\n"


def _renew_readme(reached: dict[str, dict[str, Any]]) -> None:
    before, rest = README.read_text().split(README_START)
    README.write_text(before + README_START + readme_table(reached) + README_END + rest.split(README_END)[1])


def main(arguments: list[str]) -> None:
    """Print one line per case; ``--write`` stores the figures as reached, ``--keep`` names the folders of the results."""
    from conftest import shared_folder

    shared = shared_folder()
    if shared is None:
        sys.stdout.write("real CT cases are not here (set TRABECULA_SHARED)\n")
        return
    sys.stdout.write(
        "case               names     certain  centre mm med/max  dice mean/min  HU max L1-L3  height mm med/max  false/missed G2  s\n"
    )
    reached = {}
    for case, summary, out in score_all(shared, tuple(a for a in arguments if not a.startswith("-"))):
        dice = list((summary.get("dice") or {}).values())
        mean = f"{sum(dice) / len(dice):.3f}/{min(dice):.3f}" if dice else "-"
        if "levels" not in summary:
            sys.stdout.write(f"{case.name:<18} exit {summary['exit_code']}: {summary.get('message')}\n")
            continue
        reached[case.name] = figures(summary)
        cells = (
            f"{case.name:<18}",
            f"{summary['named_right']}/{summary['levels']}".ljust(9),
            str(summary["numbering_certain"]).ljust(8),
            f"{summary['centre_median_mm']}/{summary['centre_max_mm']}".ljust(18),
            mean.ljust(14),
            str(summary["hu_abs_max_l1_l3"]).ljust(13),
            f"{summary['height_abs_median_mm']}/{summary['height_abs_max_mm']}".ljust(18),
            f"{summary['false_grade2']}/{summary['missed_grade2']}".ljust(16),
            f"{summary['seconds']} {summary['phase']} other shifts {summary['alternatives']}",
        )
        sys.stdout.write(" ".join(cells) + "\n")
        if "--keep" in arguments:
            sys.stdout.write(f"  {out}\n")
        sys.stdout.flush()
    if "--write" in arguments:
        reached = {case.name: reached.get(case.name) or json.loads(REACHED.read_text())[case.name] for case in CASES}
        REACHED.write_text(json.dumps(reached, indent=1) + "\n")
        _renew_readme(reached)


if __name__ == "__main__":
    main(sys.argv[1:])
