"""How the images were made, as far as the header says: scanner, tube voltage, kernel, age, sex, contrast."""

import re
from datetime import date, datetime, timedelta
from typing import Literal

from pydicom.dataset import Dataset

from trabecula_service.choose.kinds import is_monoenergetic
from trabecula_service.dicom import header as tags
from trabecula_service.result import Acquisition, Contrast, Phase

MAX_AGE_YEARS = 120

_DAYS_PER_UNIT = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
_AGE = re.compile(r"^(\d{1,3})([DWMY])$")

_HEADER_CONFIDENCE = 0.5
"""A contrast element is often copied from the protocol, so the image has the last word."""

_NONE_GIVEN = re.compile(r"^(no|none|non|nil|without|w/?o|unenhanced|native?|nativ|ohne|sans|sin|-|0)\b", re.IGNORECASE)
_PHASE_WORDS: tuple[tuple[Phase, str], ...] = (
    ("unenhanced", r"without|w/o|unenhanced|non[- ]?contrast|native?|nativ|ohne|sans|plain|pre[- ]?contrast"),
    ("portal_venous", r"portal|porto|venous|venos|pv"),
    ("arterial", r"arterial|arteriell|art|angio|cta"),
    ("delayed", r"delay(ed)?|late|excretory"),
)


def acquisition_of(header: Dataset) -> Acquisition:
    """Facts of one slice; None where the header has none, never a stand-in value."""
    kvp = tags.number(header, "KVP")
    thickness = tags.number(header, "SliceThickness")
    kernels = tags.texts(header, "ConvolutionKernel")
    return Acquisition(
        manufacturer=tags.text(header, "Manufacturer") or None,
        model=tags.text(header, "ManufacturerModelName") or None,
        device_serial=tags.text(header, "DeviceSerialNumber") or None,
        # The HU of a virtual monoenergetic image do not follow the tube voltage, so no calibration by kVp may match.
        kvp=kvp if kvp and kvp > 0 and not is_monoenergetic(header) else None,
        kernel=(kernels[0] if kernels else "") or None,
        slice_thickness_mm=thickness if thickness and thickness > 0 else None,
        age_years=age_years(header),
        sex=_sex(header),
        contrast=contrast_of(header),
    )


def age_years(header: Dataset) -> float | None:
    """Age from PatientAge ("063Y", "006M", "010W", "003D") or else from birth date and study date; None where neither can be read."""
    match = _AGE.match(tags.text(header, "PatientAge").upper())
    if match:
        # Less than a year is written in months, weeks or days; "000Y" stands for unknown.
        is_stand_in = match[2] == "Y" and int(match[1]) == 0
        age = -1.0 if is_stand_in else int(match[1]) * _DAYS_PER_UNIT[match[2]] / _DAYS_PER_UNIT["Y"]
    else:
        born = _date(tags.text(header, "PatientBirthDate"))
        dates = [_date(tags.text(header, keyword)) for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")]
        taken = next((found for found in dates if found is not None), None)
        if born is None or taken is None:
            return None
        # De-identified headers often hold one stand-in date for everything.
        age = (taken - born) / timedelta(days=_DAYS_PER_UNIT["Y"]) if taken != born else -1.0
    return round(age, 2) if 0 <= age <= MAX_AGE_YEARS else None


def _date(value: str) -> date | None:
    digits = value.replace(".", "")  # ACR-NEMA wrote dots
    try:
        return datetime.strptime(digits, "%Y%m%d").date()  # noqa: DTZ007 - a DICOM date has no zone
    except ValueError:
        return None


def _sex(header: Dataset) -> Literal["F", "M"] | None:
    value = tags.text(header, "PatientSex").upper()
    return "F" if value == "F" else "M" if value == "M" else None


def contrast_given(header: Dataset) -> bool | None:
    """Whether intravenous contrast was given, as far as the header says; a missing element says nothing."""
    agent = tags.text(header, "ContrastBolusAgent")
    if _NONE_GIVEN.match(agent):
        return False
    if "ORAL" in tags.text(header, "ContrastBolusRoute").upper() or "oral" in agent.lower():
        return None
    volume = tags.number(header, "ContrastBolusVolume")
    return True if agent or (volume is not None and volume > 0) else None


def contrast_of(header: Dataset) -> Contrast:
    """A hint from the header: ``source`` "header" with phase "unknown" means that contrast was given but not when it was scanned."""
    given = contrast_given(header)
    words = f"{tags.text(header, 'SeriesDescription')} {tags.text(header, 'ContrastBolusAgent')}"
    phases = {phase for phase, pattern in _PHASE_WORDS if re.search(rf"\b({pattern})\b", words, re.IGNORECASE)}
    if given is False:
        phases.add("unenhanced")
    phase = phases.pop() if len(phases) == 1 else "unknown"
    if given and phase == "unenhanced":
        phase = "unknown"
    if phase == "unknown" and not given:
        return Contrast()
    return Contrast(phase=phase, source="header", confidence=_HEADER_CONFIDENCE)
