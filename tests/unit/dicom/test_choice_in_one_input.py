"""Which of several series and acquisitions in one input is read, and what is said of the others."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from builders.flags import text_of
from builders.series import body_hu, ct_series
from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import InputError
from trabecula_service.dicom.read import list_candidates, open_input, read_input


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


def test_screens_and_localizers_beside_the_series_are_ignored_and_counted(tmp_path: Path) -> None:
    screen = ct_series(shape_zyx=(2, 64, 72), series="screen").with_tags(SOPClassUID=SecondaryCaptureImageStorage)
    scout = ct_series(shape_zyx=(1, 64, 72), series="scout", image_type=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (ct_series() + screen + scout).write(tmp_path)
    (tmp_path / "README.txt").write_text("notes")
    assert read_input(tmp_path).flags == ()
    assert dict(list_candidates(tmp_path).ignored) == {"Secondary Capture Image Storage": 2, "a localizer": 1}
