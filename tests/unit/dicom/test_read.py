"""What the reader answers to an input, folder by folder."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import JPEGLosslessSV1Decoder
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from builders.series import as_enhanced, body_hu, ct_series
from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import InputError
from trabecula_morphometry.volume import AIR_HU
from trabecula_service.dicom.image import CtImage, NotEvaluableError
from trabecula_service.dicom.read import list_candidates, open_input, read_input


def codes(image: CtImage) -> set[Code]:
    return {flag.code for flag in image.flags}


def text_of(image: CtImage, code: Code) -> str:
    return " ".join(flag.text for flag in image.flags if flag.code is code)


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


def test_damaged_zip_is_unreadable(tmp_path: Path) -> None:
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.dcm", b"x" * 10_000)
    data = bytearray(archive.read_bytes())
    data[45] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(InputError, match="cannot be unpacked"):
        read_input(archive)


# --- nothing readable: exit 2 ---


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


# --- readable, nothing to measure: exit 3 ---


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


def test_intercept_0_alone_is_no_fault(tmp_path: Path) -> None:
    series = ct_series(rescale=(1.0, 0.0))
    series.write(tmp_path)
    np.testing.assert_array_equal(read_input(tmp_path).volume.hu_zyx, series.hu_zyx)


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


# --- values ---


def test_rescale_is_that_of_each_slice(tmp_path: Path) -> None:
    pairs = [(1.0, -1024.0) if k % 2 else (0.5, -1000.0) for k in range(20)]
    series = ct_series(rescale=pairs)
    series.write(tmp_path)
    assert np.abs(read_input(tmp_path).volume.hu_zyx - series.hu_zyx).max() <= 1


def test_big_offset_of_the_extended_ct_scale_gives_the_same_hu(tmp_path: Path) -> None:
    series = ct_series(rescale=(1.0, -8192.0), signed=False)
    series.write(tmp_path)
    np.testing.assert_array_equal(read_input(tmp_path).volume.hu_zyx, series.hu_zyx)


@pytest.mark.parametrize(
    "options",
    [
        {"padding_stored": -2000, "signed": True},
        {"padding_stored": -2000, "signed": True, "padding_tag": False},
        {"padding_stored": 63536, "signed": False},
        {"padding_stored": 63536, "signed": False, "padding_tag": False},
        {"padding_stored": 63536, "signed": False, "bits_stored": 12},
        {"padding_stored": 0, "signed": True, "rescale": (1.0, 0.0)},
    ],
)
def test_padding_is_air_and_counted(tmp_path: Path, options: dict[str, object]) -> None:
    series = ct_series(**options)
    series.write(tmp_path)
    image = read_input(tmp_path)
    corner, middle = image.volume.hu_zyx[:, 0, 0], image.volume.hu_zyx[:, 32, 36]
    assert (corner == AIR_HU).all()
    np.testing.assert_array_equal(middle, series.hu_zyx[:, 32, 36])
    assert image.padding_share == pytest.approx(1 - np.pi / 4, abs=0.02)


def test_padding_written_with_the_wrong_sign_is_found(tmp_path: Path) -> None:
    series = ct_series(padding_stored=-2000)
    for dataset in series.datasets:
        del dataset["PixelPaddingValue"]
        dataset.add_new("PixelPaddingValue", "US", 63536)
    series.write(tmp_path)
    assert (read_input(tmp_path).volume.hu_zyx[:, 0, 0] == AIR_HU).all()


def test_lossy_compression_is_flagged(tmp_path: Path) -> None:
    ct_series().with_tags(LossyImageCompression="01").write(tmp_path)
    assert codes(read_input(tmp_path)) == {Code.LOSSY_COMPRESSION}


def test_clipped_hu_are_flagged(tmp_path: Path) -> None:
    def body(points: np.ndarray) -> np.ndarray:
        hu = body_hu(points)
        hu[np.abs(points[..., 0]) < 4] = 2500.0
        return np.minimum(hu, 1023.0)

    ct_series(body=body).write(tmp_path)
    assert codes(read_input(tmp_path)) == {Code.HU_CLIPPED}


# --- slices ---


def test_missing_slices_are_interpolated_and_flagged(tmp_path: Path) -> None:
    series = ct_series(missing=[7, 12, 13])
    series.write(tmp_path)
    image = read_input(tmp_path)
    assert image.volume.hu_zyx.shape == (20, 64, 72)
    assert (image.even_slices, image.interpolated_slices) == (False, (7, 12, 13))
    assert image.slice_gaps_mm == pytest.approx((5.0, 7.5))
    assert image.scanned_step_mm == pytest.approx(2.5)
    scanned = [k for k in range(20) if k not in (7, 12, 13)]
    np.testing.assert_array_equal(image.volume.hu_zyx[scanned], series.hu_zyx[scanned])
    between = (series.hu_zyx[6].astype(float) + series.hu_zyx[8]) / 2
    assert np.abs(image.volume.hu_zyx[7] - between).max() <= 0.5
    assert "5.0 mm" in text_of(image, Code.SLICES_MISSING)
    assert len(image.headers) == 17


def test_a_wide_gap_stays_empty(tmp_path: Path) -> None:
    ct_series(shape_zyx=(30, 64, 72), missing=range(8, 20)).write(tmp_path)
    image = read_input(tmp_path)
    assert (image.volume.hu_zyx[8:20] == AIR_HU).all()
    assert "12 left empty" in text_of(image, Code.SLICES_MISSING)


def test_uneven_slices_go_onto_a_grid_of_the_smallest_step(tmp_path: Path) -> None:
    series = ct_series(shape_zyx=(14, 64, 72), spacing_mm=(8.0, 1.5, 1.5))
    for dataset in series.datasets[8:]:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, float(z) - 2.0]
    series.write(tmp_path)
    image = read_input(tmp_path)
    assert image.volume.grid.slice_spacing_mm == pytest.approx(6.0)
    assert image.scanned_step_mm == pytest.approx(8.0)
    assert codes(image) == {Code.SLICES_MISSING}


def test_positions_rounded_to_a_tenth_are_even(tmp_path: Path) -> None:
    series = ct_series(shape_zyx=(60, 64, 72), spacing_mm=(0.75, 1.5, 1.5))
    for dataset in series.datasets:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, round(float(z), 1)]
    series.write(tmp_path)
    assert read_input(tmp_path).even_slices


@pytest.mark.parametrize("new_uid", [False, True])
def test_slices_sent_twice_are_used_once(tmp_path: Path, new_uid: bool) -> None:
    series = ct_series(duplicates=[3, 19], duplicates_new_uid=new_uid)
    series.write(tmp_path)
    image = read_input(tmp_path)
    np.testing.assert_array_equal(image.volume.hu_zyx, series.hu_zyx)
    assert codes(image) == {Code.DUPLICATE_SLICES}
    assert "2 left out" in text_of(image, Code.DUPLICATE_SLICES)


def test_other_pixels_under_the_same_uid_do_not_replace_the_first(tmp_path: Path) -> None:
    series = ct_series()
    other = ct_series(hu_zyx=series.hu_zyx + 100)
    (series + other).write(tmp_path)
    image = read_input(tmp_path)
    np.testing.assert_array_equal(image.volume.hu_zyx, series.hu_zyx)
    assert "20 other images had the UID" in text_of(image, Code.DUPLICATE_SLICES)


# --- choosing ---


def test_two_acquisitions_at_the_same_positions_are_split_and_the_longer_is_taken(tmp_path: Path) -> None:
    short = ct_series(shape_zyx=(20, 64, 72), acquisition_number=1)
    below = (0, 0, -25)
    long = ct_series(shape_zyx=(40, 64, 72), acquisition_number=3, center_lps_mm=below, body=lambda p: body_hu(p) + 20, first_instance=21)
    (short + long).write(tmp_path)
    image = read_input(tmp_path)
    np.testing.assert_array_equal(image.volume.hu_zyx, long.hu_zyx)
    assert image.source.acquisition_number == 3
    assert "Acquisition 1, 20 slices: covers less" in text_of(image, Code.OTHER_ACQUISITION)
    np.testing.assert_array_equal(read_input(tmp_path, acquisition_number=1).volume.hu_zyx, short.hu_zyx)
    with pytest.raises(InputError, match="acquisition 2 is not in the input"):
        read_input(tmp_path, acquisition_number=2)


@pytest.mark.parametrize("by", ["time", "instance order", "instance interleaved"])
def test_acquisitions_without_numbers_are_split_by_time_or_order(tmp_path: Path, by: str) -> None:
    first = ct_series(acquisition_number=None)
    second = ct_series(acquisition_number=None, first_instance=21, body=lambda p: body_hu(p) + 20, acquisition_time="101530")
    both = first + second
    if by != "time":
        both = both.with_tags(AcquisitionTime="101500")
    if by == "instance interleaved":
        for k, dataset in enumerate(both.datasets):
            dataset.InstanceNumber = 2 * (k % 20) + k // 20
    both.write(tmp_path)
    with open_input(tmp_path) as found:
        volumes = [image.volume.hu_zyx for image in found.images()]
    assert len(volumes) == 2
    assert {v.tobytes() for v in volumes} == {first.hu_zyx.tobytes(), second.hu_zyx.tobytes()}


def test_rotations_numbered_one_by_one_stay_one_volume(tmp_path: Path) -> None:
    series = ct_series()
    for number, dataset in enumerate(series.datasets):
        dataset.AcquisitionNumber = number // 4
    series.write(tmp_path)
    image = read_input(tmp_path)
    np.testing.assert_array_equal(image.volume.hu_zyx, series.hu_zyx)
    assert image.flags == ()


def test_soft_kernel_is_preferred_to_bone_and_the_other_named(tmp_path: Path) -> None:
    soft = ct_series(series="soft", series_number=4, kernel="B30f")
    bone = ct_series(series="bone", series_number=3, kernel="B70f")
    (bone + soft).write(tmp_path)
    image = read_input(tmp_path)
    assert image.source.series_number == 4
    assert "Series 3, 20 slices: sharper or unknown kernel" in text_of(image, Code.OTHER_SERIES)
    assert read_input(tmp_path, series_uid=bone.series_uid).source.series_number == 3


def test_images_can_be_read_one_after_the_other_best_first(tmp_path: Path) -> None:
    (ct_series(series="a", kernel="BONE") + ct_series(series="b", kernel="SOFT", series_number=7)).write(tmp_path)
    with open_input(tmp_path) as found:
        assert [image.source.series_number for image in found.images()] == [7, 2]
    assert [candidate.series_number for candidate in list_candidates(tmp_path).usable] == [7, 2]


def test_unknown_series_is_unreadable(tmp_path: Path) -> None:
    ct_series().write(tmp_path)
    with pytest.raises(InputError, match="series is not in the input"):
        read_input(tmp_path, series_uid="1.2.3")


def test_screens_and_localizers_beside_the_series_are_ignored_and_counted(tmp_path: Path) -> None:
    screen = ct_series(shape_zyx=(2, 64, 72), series="screen").with_tags(SOPClassUID=SecondaryCaptureImageStorage)
    scout = ct_series(shape_zyx=(1, 64, 72), series="scout", image_type=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (ct_series() + screen + scout).write(tmp_path)
    (tmp_path / "README.txt").write_text("notes")
    assert read_input(tmp_path).flags == ()
    assert dict(list_candidates(tmp_path).ignored) == {"Secondary Capture Image Storage": 2, "a localizer": 1}


# --- multi-frame, NIfTI, broken headers ---


def test_enhanced_ct_is_read_from_its_functional_groups(tmp_path: Path) -> None:
    series = ct_series(rescale=[(1.0, -1024.0 + k) for k in range(20)])
    as_enhanced(series).write(tmp_path)
    image = read_input(tmp_path)
    np.testing.assert_array_equal(image.volume.hu_zyx, series.hu_zyx)
    np.testing.assert_allclose(image.volume.grid.voxel_to_lps, series.voxel_to_lps, atol=1e-6)
    assert (image.source.file_count, len(image.headers)) == (1, 20)


def test_enhanced_perfusion_map_is_refused(tmp_path: Path) -> None:
    as_enhanced(ct_series(), frame_type=["DERIVED", "PRIMARY", "PERFUSION", "RCBF"]).write(tmp_path)
    assert refusal(tmp_path).code is Code.NOT_CT


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


def test_truncated_nifti_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(gzip.compress(b"\0" * 100))
    with pytest.raises(InputError, match="NIfTI file cannot be read"):
        read_input(path)
