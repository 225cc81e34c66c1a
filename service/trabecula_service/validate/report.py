"""The validation's figures as text for the terminal and as a PDF with plots."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import typst

from trabecula_service.validate.agreement import Agreement, Proportion
from trabecula_service.validate.figures import Criterion, RescanFigures, SpacingFigures, criteria, figures_by_spacing, rescans
from trabecula_service.validate.plots import density_plot, height_plot, loss_plot, rescan_plot
from trabecula_service.validate.trial import LevelRow

HEADER = (
    "slices mm",
    "levels",
    "names right",
    "heights: bias (95 %), limits mm",
    "within 1 mm",
    "within 2 SD",
    "sensitivity G>=2",
    "specificity G>=2",
    "type right",
    "not graded / found",
    "density: bias (95 %), limits mg/cm3",
    "in its interval",
)


RESCAN_HEADER = (
    "scan",
    "against",
    "levels",
    "VOI: bias (95 %), limits %",
    "VOI: RMS CV",
    "heights: bias (95 %), limits mm",
    "95 % within mm",
)

SCAN_WORDS = {
    "2.5mm": "2.5 mm slices",
    "smooth": "smooth kernel",
    "sharp": "sharp kernel",
    "low-noise": "noise of 6 HU",
    "high-noise": "noise of 40 HU",
    "nod": "turned about the left axis",
    "lean": "turned about the posterior axis",
    "turn": "turned about the superior axis",
}
"""What the short names of the plan's scans stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What was validated, for the head of the report."""

    version: str
    backend: str
    weights_sha256: str
    machine: str
    plan: str
    trials: int
    seconds: float
    made: datetime


def table(rows: Sequence[LevelRow]) -> list[tuple[str, ...]]:
    """One line of texts per slice spacing, in the order of ``HEADER``."""
    return [_line(figures) for figures in figures_by_spacing(rows)]


def _line(f: SpacingFigures) -> tuple[str, ...]:
    return (
        f"{f.slice_spacing_mm:g}",
        str(f.levels),
        _count(f.named_right),
        _agreement(f.heights, 2),
        _share(f.within_1_mm),
        _share(f.within_2_sd),
        _interval(f.sensitivity),
        _interval(f.specificity),
        _count(f.type_right),
        f"{f.not_graded} / {f.not_found}",
        _agreement(f.density, 1),
        _share(f.density_interval_holds),
    )


def rescan_table(rows: Sequence[LevelRow]) -> list[tuple[str, ...]]:
    """One line of texts per way of scanning the same person otherwise, in the order of ``RESCAN_HEADER``."""
    return [_rescan_line(figures) for figures in rescans(rows)]


def _rescan_line(f: RescanFigures) -> tuple[str, ...]:
    return (
        SCAN_WORDS.get(f.what, f.what),
        f.against,
        str(f.levels),
        _agreement(f.hu_percent, 1),
        "-" if f.hu_rms_cv is None else f"{f.hu_rms_cv:.2%}",
        _agreement(f.heights, 2),
        "-" if f.heights_95_mm is None else f"{f.heights_95_mm:.2f}",
    )


def _count(p: Proportion) -> str:
    return f"{p.hits}/{p.count}" if p.count else "-"


def _share(p: Proportion) -> str:
    return f"{p.share:.0%}" if p.count else "-"


def _interval(p: Proportion) -> str:
    return f"{p.share:.2f} ({p.low:.2f}-{p.high:.2f}, {p.hits}/{p.count})" if p.count else "-"


def _agreement(a: Agreement | None, digits: int) -> str:
    if a is None:
        return "-"
    bias, low, high, least, most = (f"{v:+.{digits}f}" for v in (a.bias, a.bias_low, a.bias_high, a.limit_low, a.limit_high))
    return f"{bias} ({low} to {high}), {least} to {most}"


def verdict(criterion: Criterion) -> str:
    """ "met", "not met" or "not tested"."""
    return {None: "not tested", True: "met", False: "not met"}[criterion.met]


def as_text(rows: Sequence[LevelRow]) -> str:
    """All tables for the terminal: one block per slice spacing, one per scan made otherwise, then the criteria."""
    blocks = []
    for line in table(rows):
        blocks.append("\n".join(f"  {title:<36} {cell}" for title, cell in zip(HEADER, line, strict=True)))
    for line in rescan_table(rows):
        blocks.append("\n".join(f"  {title:<36} {cell}" for title, cell in zip(RESCAN_HEADER, line, strict=True)))
    found = criteria(rows)
    width = max(len(c.what) for c in found)
    lines = [f"{c.what:<{width}}  {c.wanted:<15}  {c.reached:<34}  {verdict(c)}" for c in found]
    return "\n\n".join([*blocks, "\n".join(lines)])


def report_pdf(rows: Sequence[LevelRow], setup: Setup) -> bytes:
    """The report, PDF/A-2b."""
    data = {
        "made": f"{setup.made:%Y-%m-%d %H:%M %Z}",
        "date": [setup.made.year, setup.made.month, setup.made.day],
        "setup": [
            ["Software", f"Trabecula {setup.version}, {setup.backend}"],
            ["Weights", setup.weights_sha256],
            ["Machine", setup.machine],
            ["Plan", f"{setup.plan}, {setup.trials} scans of digital patients"],
            ["Analysis time", f"{setup.seconds:.0f} s, {setup.seconds / max(setup.trials, 1):.1f} s per scan"],
        ],
        "criteria": [[c.what, c.wanted, c.reached, verdict(c)] for c in criteria(rows)],
        "header": HEADER,
        "table": table(rows),
        "rescan_header": RESCAN_HEADER,
        "rescans": rescan_table(rows),
    }
    bundle = {
        "main": (files("trabecula_service.validate") / "validation.typ").read_bytes(),
        "data.json": json.dumps(data).encode(),
        "heights.svg": height_plot(rows).encode(),
        "rescans.svg": rescan_plot(rows).encode(),
        "losses.svg": loss_plot(rows).encode(),
        "densities.svg": density_plot(rows).encode(),
    }
    folder = Path(str(files("trabecula_service.render") / "fonts"))
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(folder)])
    pdf: bytes = typst.compile(  # type: ignore[call-overload]  # the stub lacks bundles, the function takes them
        bundle, format="pdf", font_paths=fonts, pdf_standards=["a-2b"], timestamp=int(setup.made.timestamp())
    )
    return pdf
