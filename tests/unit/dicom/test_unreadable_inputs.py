"""What cannot be read is refused by name (exit 2)."""

import gzip
import zipfile
from pathlib import Path

import pytest
from pydicom.uid import MPEG2MPML, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from builders.series import ct_series
from trabecula_morphometry.errors import InputError
from trabecula_service.dicom.image import NotEvaluableError
from trabecula_service.dicom.read import read_input


def test_damaged_zip_is_unreadable(tmp_path: Path) -> None:
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.dcm", b"x" * 10_000)
    data = bytearray(archive.read_bytes())
    data[45] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(InputError, match="cannot be unpacked"):
        read_input(archive)


def test_empty_folder_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder is empty") as caught:
        read_input(tmp_path)
    assert not isinstance(caught.value, NotEvaluableError)


def test_missing_input_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_input(tmp_path / "nothing")


@pytest.mark.parametrize("content", [b"", b"just text\n" * 100, b"<html></html>" + b" " * 200, bytes(128) + b"DICM"])
def test_other_files_named_dcm_are_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.dcm").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_input(tmp_path)
    assert not isinstance(caught.value, NotEvaluableError)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("lost_bytes", [40, 2000])
def test_truncated_pixel_data_is_unreadable_and_names_the_file(tmp_path: Path, syntax: str, lost_bytes: int) -> None:
    files = ct_series(transfer_syntax=syntax).write(tmp_path)
    files[7].write_bytes(files[7].read_bytes()[:-lost_bytes])
    with pytest.raises(InputError, match="DECODE_FAILED") as caught:
        read_input(tmp_path)
    assert caught.value.where == files[7].name
    assert not isinstance(caught.value, NotEvaluableError)


def test_unsupported_transfer_syntax_is_unreadable_by_name(tmp_path: Path) -> None:
    series = ct_series(transfer_syntax=RLELossless)
    for dataset in series.datasets:
        dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    series.write(tmp_path)
    with pytest.raises(InputError, match=r"DECODE_FAILED.*MPEG2"):
        read_input(tmp_path)


def test_messages_hold_no_patient_data(tmp_path: Path) -> None:
    ct_series(patient="P9").with_tags(RescaleSlope=None).write(tmp_path)
    with pytest.raises(InputError) as caught:
        read_input(tmp_path)
    assert "Marked" not in str(caught.value)
    assert "P9" not in str(caught.value)


def test_images_of_two_patients_are_not_mixed(tmp_path: Path) -> None:
    (ct_series() + ct_series(patient="P2", series="other")).write(tmp_path)
    with pytest.raises(InputError, match="more than one patient"):
        read_input(tmp_path)


def test_unknown_series_is_unreadable(tmp_path: Path) -> None:
    ct_series().write(tmp_path)
    with pytest.raises(InputError, match="series is not in the input"):
        read_input(tmp_path, series_uid="1.2.3")


def test_truncated_nifti_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(gzip.compress(b"\0" * 100))
    with pytest.raises(InputError, match="NIfTI file cannot be read"):
        read_input(path)
