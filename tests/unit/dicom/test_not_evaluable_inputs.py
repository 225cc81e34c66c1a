"""What can be read but holds nothing to measure is refused with its code (exit 3)."""

from pathlib import Path

import pytest
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage

from builders.series import as_enhanced, ct_series
from trabecula_morphometry.codes import Code
from trabecula_service.dicom.image import NotEvaluableError
from trabecula_service.dicom.read import read_input


def refusal(path: Path) -> NotEvaluableError:
    with pytest.raises(NotEvaluableError) as caught:
        read_input(path)
    return caught.value


def test_mr_is_not_ct(tmp_path: Path) -> None:
    ct_series().with_tags(SOPClassUID=MRImageStorage, Modality="MR").write(tmp_path)
    error = refusal(tmp_path)
    assert error.code is Code.NOT_CT
    assert "MR Image Storage (20)" in error.detail


def test_secondary_capture_with_modality_ct_is_not_ct(tmp_path: Path) -> None:
    ct_series().with_tags(SOPClassUID=SecondaryCaptureImageStorage).write(tmp_path)
    assert refusal(tmp_path).code is Code.NOT_CT


def test_localizer_is_not_measured(tmp_path: Path) -> None:
    ct_series(image_type=["ORIGINAL", "PRIMARY", "LOCALIZER"]).write(tmp_path)
    error = refusal(tmp_path)
    assert (error.code, "localizer" in error.detail) == (Code.NOT_CT, True)


def test_enhanced_perfusion_map_is_refused(tmp_path: Path) -> None:
    as_enhanced(ct_series(), frame_type=["DERIVED", "PRIMARY", "PERFUSION", "RCBF"]).write(tmp_path)
    assert refusal(tmp_path).code is Code.NOT_CT


@pytest.mark.parametrize("slices", [1, 2, 4])
def test_too_few_slices_for_a_vertebra(tmp_path: Path, slices: int) -> None:
    ct_series(shape_zyx=(slices, 64, 72)).write(tmp_path)
    assert refusal(tmp_path).code is Code.TOO_FEW_SLICES


def test_images_over_time_at_one_place_are_too_few_slices(tmp_path: Path) -> None:
    series = ct_series(shape_zyx=(1, 64, 72))
    for number in range(1, 6):
        series += ct_series(shape_zyx=(1, 64, 72), first_instance=number + 1, acquisition_number=number, center_lps_mm=(number, 0, 0))
    series.write(tmp_path)
    assert refusal(tmp_path).code is Code.TOO_FEW_SLICES


def test_values_shifted_by_1024_are_not_hu(tmp_path: Path) -> None:
    ct_series(rescale=(1.0, -1024.0)).with_tags(RescaleIntercept=0).write(tmp_path)
    assert refusal(tmp_path).code is Code.HU_IMPLAUSIBLE


@pytest.mark.parametrize("tags", [{"RescaleSlope": None}, {"RescaleIntercept": None}, {"RescaleSlope": 0}, {"RescaleType": "MGML"}])
def test_missing_or_foreign_rescale_is_not_hu(tmp_path: Path, tags: dict[str, object]) -> None:
    ct_series().with_tags(**tags).write(tmp_path)
    assert refusal(tmp_path).code is Code.HU_IMPLAUSIBLE


def test_lost_rescale_of_one_slice_is_not_hu(tmp_path: Path) -> None:
    series = ct_series()
    del series.datasets[9].RescaleIntercept
    series.write(tmp_path)
    error = refusal(tmp_path)
    assert (error.code, "1 of 20" in error.detail) == (Code.HU_IMPLAUSIBLE, True)


@pytest.mark.parametrize(
    "tags",
    [
        {"ImagePositionPatient": None},
        {"ImageOrientationPatient": None},
        {"PixelSpacing": None},
        {"PixelSpacing": [0, 0]},
        {"PixelSpacing": [25, 25]},
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
    ],
)
def test_without_geometry_nothing_is_guessed(tmp_path: Path, tags: dict[str, object]) -> None:
    ct_series().with_tags(**tags).write(tmp_path)
    assert refusal(tmp_path).code is Code.GEOMETRY_IMPLAUSIBLE
