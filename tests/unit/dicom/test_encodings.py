"""However a series is packed and encoded, its HU, its grid and its headers are read."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import JPEGLosslessSV1Decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from builders.series import as_enhanced, ct_series
from trabecula_morphometry.errors import InputError
from trabecula_service.dicom.read import read_input


def test_plain_series_gives_its_hu_on_its_grid(tmp_path: Path) -> None:
    series = ct_series()
    series.write(tmp_path / "nested" / "deeper")
    image = read_input(tmp_path)
    np.testing.assert_array_equal(image.volume.hu_zyx, series.hu_zyx)
    np.testing.assert_allclose(image.volume.grid.voxel_to_lps, series.voxel_to_lps, atol=1e-6)
    assert image.volume.hu_zyx.dtype == np.int16
    assert (image.flags, image.even_slices, image.slice_gaps_mm, image.interpolated_slices) == ((), True, (), ())
    assert image.source.file_count == 20
    assert image.source.spacing_mm == (1.5, 1.5, 2.5)


def test_headers_are_in_slice_order_and_hold_no_pixels(tmp_path: Path) -> None:
    series = ct_series()
    series.write(tmp_path, order=[*range(10, 20), *range(10)])
    headers = read_input(tmp_path).headers
    assert [h.SOPInstanceUID for h in headers] == [d.SOPInstanceUID for d in series.datasets]
    assert not any("PixelData" in h for h in headers)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless]
)
def test_lossless_transfer_syntaxes_give_the_same_hu(tmp_path: Path, syntax: str) -> None:
    series = ct_series(transfer_syntax=syntax)
    series.write(tmp_path)
    np.testing.assert_array_equal(read_input(tmp_path).volume.hu_zyx, series.hu_zyx)


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1, HTJ2KLossless])
@pytest.mark.parametrize("signed", [True, False])
def test_syntaxes_that_need_other_decoders_give_the_same_hu(tmp_path: Path, syntax: str, signed: bool) -> None:
    series = ct_series(transfer_syntax=syntax, signed=signed)
    files = series.write(tmp_path)
    np.testing.assert_array_equal(read_input(tmp_path).volume.hu_zyx, series.hu_zyx)
    files[3].write_bytes(files[3].read_bytes()[:-1500])
    with pytest.raises(InputError, match="DECODE_FAILED"):
        read_input(tmp_path)


def test_jpeg_lossless_without_its_extra_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ct_series(transfer_syntax=JPEGLosslessSV1).write(tmp_path)
    monkeypatch.setattr("trabecula_service.dicom.jpeg_lossless.register", lambda: None)
    monkeypatch.setattr(JPEGLosslessSV1Decoder, "_available", {})
    with pytest.raises(InputError, match=r"no decoder for transfer syntax JPEG Lossless.*trabecula\[jpeg\]"):
        read_input(tmp_path)


def test_content_hash_does_not_depend_on_transfer_syntax_or_file_order(tmp_path: Path) -> None:
    ct_series().write(tmp_path / "a")
    ct_series(transfer_syntax=JPEGLSLossless).write(tmp_path / "b", order=range(19, -1, -1))
    ct_series(center_lps_mm=(0, 0, 1)).write(tmp_path / "c")
    a, b, c = (read_input(tmp_path / name).source.content_sha256 for name in "abc")
    assert a == b != c


def test_zip_is_read_and_names_inside_cannot_escape(tmp_path: Path) -> None:
    series = ct_series()
    files = series.write(tmp_path / "dicom")
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for number, file in enumerate(files):
            packed.write(file, f"../../escaped/{number}.dcm")
    np.testing.assert_array_equal(read_input(archive).volume.hu_zyx, series.hu_zyx)
    assert not list(tmp_path.parent.rglob("escaped"))


def test_enhanced_ct_is_read_from_its_functional_groups(tmp_path: Path) -> None:
    series = ct_series(rescale=[(1.0, -1024.0 + k) for k in range(20)])
    as_enhanced(series).write(tmp_path)
    image = read_input(tmp_path)
    np.testing.assert_array_equal(image.volume.hu_zyx, series.hu_zyx)
    np.testing.assert_allclose(image.volume.grid.voxel_to_lps, series.voxel_to_lps, atol=1e-6)
    assert (image.source.file_count, len(image.headers)) == (1, 20)


def test_uids_lost_in_the_data_set_come_from_the_file_meta_information(tmp_path: Path) -> None:
    series = ct_series().with_tags(StudyInstanceUID="", SeriesInstanceUID="")
    wanted = [str(dataset.SOPInstanceUID) for dataset in series.datasets]
    for dataset, path in zip(series.datasets, series.write(tmp_path), strict=True):
        dataset.SOPInstanceUID = dataset.SOPClassUID = ""
        dataset.save_as(path, enforce_file_format=False)
    image = read_input(tmp_path)
    assert [header.SOPInstanceUID for header in image.headers] == wanted
    assert (image.source.study_instance_uid, image.source.series_instance_uid) == (None, None)


def test_bare_data_set_without_preamble_is_read(tmp_path: Path) -> None:
    series = ct_series()
    for number, dataset in enumerate(series.datasets):
        bare = Dataset({tag: dataset[tag] for tag in dataset.keys()})  # noqa: SIM118 - a Dataset iterates over elements
        bare.save_as(tmp_path / str(number), implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_input(tmp_path).volume.hu_zyx, series.hu_zyx)
