"""What the header says about how the images were made."""

import pytest
from pydicom.dataset import Dataset

from builders.series import ct_series
from trabecula_service.dicom.acquisition import acquisition_of, age_years, contrast_of


def header(**tags: object) -> Dataset:
    return ct_series(shape_zyx=(1, 8, 8)).with_tags(**tags).datasets[0]


def test_facts_come_from_the_header() -> None:
    facts = acquisition_of(header(ConvolutionKernel=["Br38f", "3"], SliceThickness="003.000000E+00", KVP="000120"))
    assert (facts.manufacturer, facts.model, facts.device_serial) == ("Builder", "Model 1", "0001")
    assert (facts.kvp, facts.kernel, facts.slice_thickness_mm) == (120.0, "Br38f", 3.0)
    assert (facts.age_years, facts.sex) == (63.0, "F")


def test_what_the_header_lacks_is_none_never_a_stand_in() -> None:
    empty = acquisition_of(Dataset())
    assert empty.model_dump(exclude_none=True) == {"contrast": {"phase": "unknown", "source": "none", "confidence": 0.0}}
    zero = acquisition_of(header(KVP=0, PatientSex="O", PatientAge="", ConvolutionKernel=""))
    assert (zero.kvp, zero.sex, zero.age_years, zero.kernel) == (None, None, None, None)


@pytest.mark.parametrize(
    ("age", "years"),
    [
        ("063Y", 63.0),
        ("006M", 0.5),
        ("010W", 0.19),
        ("003D", 0.01),
        ("095Y", 95.0),
        ("63", None),
        ("000Y", None),
        ("abc", None),
        ("150Y", None),
    ],
)
def test_age_of_any_unit(age: str, years: float | None) -> None:
    assert age_years(header(PatientAge=age)) == years


def test_age_from_dates_where_no_age_is_given() -> None:
    assert age_years(header(PatientAge=None, PatientBirthDate="19640502", StudyDate="20240502")) == pytest.approx(60.0, abs=0.01)
    assert age_years(header(PatientAge=None, PatientBirthDate="1964.05.02", StudyDate="20240502")) == pytest.approx(60.0, abs=0.01)
    assert age_years(header(PatientAge=None, PatientBirthDate="18500101", StudyDate="20240502")) is None


def test_one_stand_in_date_for_birth_and_study_is_no_age() -> None:
    assert age_years(header(PatientAge=None, PatientBirthDate="20240502", StudyDate="20240502")) is None


def test_tube_voltage_does_not_describe_a_monoenergetic_image() -> None:
    assert acquisition_of(header(ImageType=["DERIVED", "PRIMARY", "AXIAL", "VMI"])).kvp is None


@pytest.mark.parametrize(
    ("tags", "phase", "source"),
    [
        ({}, "unknown", "none"),
        ({"ContrastBolusAgent": "APPLIED"}, "unknown", "header"),
        ({"ContrastBolusAgent": "NONE"}, "unenhanced", "header"),
        ({"ContrastBolusAgent": "OMNIPAQUE", "SeriesDescription": "ABD PORTAL VENOUS"}, "portal_venous", "header"),
        ({"ContrastBolusAgent": "OMNIPAQUE", "SeriesDescription": "nativ"}, "unknown", "header"),
        ({"ContrastBolusAgent": "ORAL CONTRAST"}, "unknown", "none"),
        ({"SeriesDescription": "Abdomen without contrast"}, "unenhanced", "header"),
        ({"SeriesDescription": "arterial and venous"}, "unknown", "none"),
    ],
)
def test_contrast_is_a_hint_from_the_header(tags: dict[str, str], phase: str, source: str) -> None:
    contrast = contrast_of(header(**tags))
    assert (contrast.phase, contrast.source) == (phase, source)
