"""The report as PDF/A: typst lays out data that this module prepares; no text of the input is ever part of the source."""

import json
from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from statistics import median

import typst
from pydicom.dataset import Dataset

from trabecula_calibration.trend import Change
from trabecula_morphometry.codes import Severity
from trabecula_service.render import wording
from trabecula_service.render.column_picture import sagittal_panel
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.overview import level_cells
from trabecula_service.render.phrases import code_advice, code_text, flag_text, in_language, phrase, table, term
from trabecula_service.render.shared_parts import once_per_input
from trabecula_service.render.trend import trend
from trabecula_service.result import Heights, Level, Result


@once_per_input
def report_pdf(document_input: DocumentInput) -> bytes:
    """``report.pdf``: two pages; one where nothing could be measured. PDF/A-2a and PDF/UA-1: a screen reader can read it.

    The words are those of ``document_input.language``. The text reaches typst as JSON that the template parses, so a name such as
    ``#panic()`` is only a name. Fonts come from the package.
    """
    bundle = {"main": _template(), "data.json": json.dumps(report_data(document_input)).encode()}
    if document_input.result.status != "not_evaluable":
        buffer = BytesIO()
        # JPEG goes into the PDF as it is; a PNG would be unpacked and packed again, four times slower and three times larger.
        sagittal_panel(document_input).save(buffer, format="JPEG", quality=93, subsampling=0)
        # A bundle in memory holds text only, so the picture travels as a list of numbers.
        bundle["sagittal.json"] = json.dumps(list(buffer.getvalue())).encode()
    pdf: bytes = typst.compile(  # type: ignore[call-overload]  # the stub lacks bundles, the function takes them
        bundle, format="pdf", font_paths=_fonts(), pdf_standards=["a-2a", "ua-1"], timestamp=int(document_input.created.timestamp())
    )
    return pdf


@lru_cache(maxsize=1)
def _template() -> bytes:
    return (files("trabecula_service.render") / "templates" / "report.typ").read_bytes()


@lru_cache(maxsize=1)
def _fonts() -> typst.Fonts:
    folder = Path(str(files("trabecula_service.render") / "fonts"))
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(folder)])


def report_data(document_input: DocumentInput) -> dict[str, object]:
    """Everything that the template shows, as plain JSON values."""
    result, language = document_input.result, document_input.language
    return {
        "language": language,
        "labels": {**table(language, "label"), **({"title": phrase(language, "verified_title")} if result.signature else {})},
        "mark": phrase(language, "mark"),
        "unverified": _printable(wording.standing(result, language)),
        "created": f"{document_input.created:%Y-%m-%d %H:%M %Z}",
        "date": [document_input.created.year, document_input.created.month, document_input.created.day],
        "version": document_input.version,
        "evaluable": result.status != "not_evaluable",
        "alert": bool(result.fractures.headline or result.density.category == "low"),
        "patient": _patient(document_input.image.headers, language),
        "headline": wording.headline(result, language),
        "caution": wording.caution(result, language),
        "statements": wording.statements(result, language),
        "density": _density(result, language),
        "losses": [_loss(level, language) for level in result.levels],
        "advice": wording.advice(result, language),
        "limits": phrase(language, "limits"),
        "table": [_row(level, language) for level in result.levels],
        "trend": _trend(result, language),
        "exclusions": _exclusions(result, language),
        "flags": [
            {
                "text": flag_text(language, item),
                "level": item.level or "",
                "severity": term(language, "severity", item.severity.value),
                "quiet": item.severity is Severity.INFO,
            }
            for item in result.flags
        ],
        "facts": _facts(document_input),
    }


def _patient(headers: Sequence[Dataset], language: str) -> list[list[str]]:
    """Identification from the headers, only when there are any."""
    if not headers:
        return []
    header, labels = headers[0], table(language, "label")
    name = header.get("PatientName")
    rows = [
        ("patient", _person(name) if name else ""),
        ("patient_id", str(header.get("PatientID") or "")),
        ("born", _date(str(header.get("PatientBirthDate") or ""))),
        ("sex", str(header.get("PatientSex") or "")),
        ("accession", str(header.get("AccessionNumber") or "")),
        ("study_date", _date(str(header.get("StudyDate") or ""))),
    ]
    return [[labels[key], _printable(value) or labels["not_given"]] for key, value in rows]


def _person(name: object) -> str:
    """All groups of a person's name (alphabetic, ideographic, phonetic), components joined in DICOM order."""
    groups = [" ".join(part for part in group.split("^") if part) for group in str(name).split("=")]
    return " / ".join(group for group in groups if group)


def _date(value: str) -> str:
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}" if len(value) == 8 and value.isdigit() else value


def _printable(text: str) -> str:
    """Text without control signs and lone surrogates, which PDF/A cannot hold."""
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()


def _density(result: Result, language: str) -> dict[str, object] | None:
    density, labels = result.density, table(language, "label")
    if density.mean_mg_cm3 is None or density.interval95 is None:
        return None
    basis, levels = term(language, "basis", density.basis), wording.levels_text(density.levels)
    return {
        "value": density.mean_mg_cm3,
        "interval": list(density.interval95),
        # Rounded here: typst and Python round halves differently, and the same number stands in the findings.
        "shown": [f"{number:.0f}" for number in (density.mean_mg_cm3, *density.interval95)],
        # Without a category (age unknown or below the limit) the bands would say what the result refuses to say.
        "bands": list(wording.DENSITY_LIMITS_MG_CM3) if density.category else [],
        "caption": labels["density_caption"].format(material=density.material, basis=basis, levels=levels),
        "why_no_bands": "" if density.category else labels["why_no_bands"],
    }


def _trend(result: Result, language: str) -> dict[str, object]:
    """Rows of earlier densities, and points in time of those that can be compared with this one (the last point)."""
    rows, day = trend(result), result.source.scanned_on
    basis = [f"{row.prior.material}, {term(language, 'basis_short', row.prior.basis)}" for row in rows]
    cells = [
        [
            row.prior.scanned_on.isoformat(),
            f"{row.prior.mean_mg_cm3:.0f} ({row.prior.interval95[0]:.0f}–{row.prior.interval95[1]:.0f})",
            how,
            wording.change_text(row),
            wording.least_text(row),
            wording.trend_verdict(row, language),
        ]
        for row, how in zip(rows, basis, strict=True)
    ]
    drawn = [row.prior for row in rows if isinstance(row.since, Change)]
    points: list[dict[str, object]] = []
    if drawn and day is not None:
        density = result.density
        span = max((day - drawn[0].scanned_on).days, 1)
        points = [_point(prior.scanned_on, drawn[0].scanned_on, span, prior.mean_mg_cm3, prior.interval95) for prior in drawn]
        points.append(_point(day, drawn[0].scanned_on, span, density.mean_mg_cm3, density.interval95))
    return {"rows": cells, "points": points}


def _point(day: date, first: date, span_days: int, value: float | None, interval: tuple[float, float] | None) -> dict[str, object]:
    return {"at": (day - first).days / span_days, "day": day.isoformat(), "value": value, "interval": list(interval or ())}


def _loss(level: Level, language: str) -> dict[str, object]:
    loss = level.height_loss.max if level.height_loss and level.genant.grade is not None else None
    shown = "" if loss is None else wording.percent(loss)
    return {"name": level.name, "loss": loss, "shown": shown, "grade": level.genant.grade, "text": wording.grade_text(level, language)}


def _row(level: Level, language: str) -> list[str]:
    name, hu, density, loss, grade = level_cells(level, language)
    heights, expected = _heights(level.heights_mm), _heights(level.expected_mm)
    losses = level.height_loss
    each = _three(losses, lambda value: f"{round(value * 100) or 0}") if losses else "–"
    return [name, f"{level.confidence:.2f}", hu, density, heights, expected, each, loss, grade]


def _heights(heights: Heights | None) -> str:
    return _three(heights, lambda value: f"{value:.1f}") if heights else "–"


def _three(values: Heights, show: Callable[[float], str]) -> str:
    return " / ".join("–" if value is None else show(value) for value in (values.anterior, values.middle, values.posterior))


def _exclusions(result: Result, language: str) -> list[list[str]]:
    pairs = [(level.name, code) for level in result.levels for code in level.excluded]
    return [[name, str(code), code_text(language, code), code_advice(language, code)] for name, code in pairs]


def _facts(document_input: DocumentInput) -> list[list[str]]:
    result, language = document_input.result, document_input.language
    labels = table(language, "label")
    rows = (*_acquisition_facts(result, language), *_density_facts(result, language), *_version_facts(document_input))
    return [[labels[key], _printable(value) or labels["not_known"]] for key, value in rows]


def _acquisition_facts(result: Result, language: str) -> list[tuple[str, str]]:
    acquisition, source = result.acquisition, result.source
    phase, origin = term(language, "phase", acquisition.contrast.phase), term(language, "term", acquisition.contrast.source)
    years = table(language, "label")["years"]
    return [
        ("scanner", " ".join(part for part in (acquisition.manufacturer, acquisition.model) if part)),
        ("tube_voltage", f"{acquisition.kvp:.0f} kVp" if acquisition.kvp else ""),
        ("kernel", acquisition.kernel or ""),
        ("slice_thickness", f"{acquisition.slice_thickness_mm:g} mm" if acquisition.slice_thickness_mm else ""),
        ("voxel_spacing", f"{' x '.join(f'{step:.2f}' for step in source.spacing_mm)} mm"),
        ("images", str(source.file_count)),
        ("contrast_phase", phrase(language, "phase_from", phase=phase, source=origin)),
        ("noise", _noise(result, language)),
        ("age", f"{acquisition.age_years:.0f} {years}" if acquisition.age_years is not None else ""),
    ]


def _noise(result: Result, language: str) -> str:
    """Spread of HU in the trabecular volumes: image noise and bone texture together, the one figure of quality that every CT has."""
    spreads = [level.hu.sd for level in result.levels if level.hu]
    return table(language, "label")["noise_value"].format(sd=f"{median(spreads):.0f}") if spreads else ""


def _density_facts(result: Result, language: str) -> list[tuple[str, str]]:
    density, labels = result.density, table(language, "label")
    correction = density.contrast_correction_mg_cm3
    return [
        ("density_basis", term(language, "basis", density.basis)),
        ("base_material", density.material or ""),
        ("calibration", density.calibration_id or ""),
        ("category_limits", in_language(language, density.category_source or "")),
        ("contrast_correction", f"{correction:.0f} mg/cm³" if correction else labels["no_correction"]),
        ("deformity_index", _deformity_index(result, language)),
    ]


def _version_facts(document_input: DocumentInput) -> list[tuple[str, str]]:
    software, source = document_input.result.software, document_input.result.source
    return [
        ("series", source.series_instance_uid or ""),
        ("study", source.study_instance_uid or ""),
        ("input_hash", source.content_sha256 or ""),
        ("software", f"Trabecula {software.version}, {software.backend}"),
        ("model_hash", software.weights_sha256),
        ("result_version_fact", str(document_input.version)),
    ]


def _deformity_index(result: Result, language: str) -> str:
    index = result.fractures.spinal_deformity_index
    if index is None:
        return ""
    complete = result.fractures.spinal_deformity_index_complete
    return f"{index}" if complete else table(language, "label")["deformity_partial"].format(index=index)
