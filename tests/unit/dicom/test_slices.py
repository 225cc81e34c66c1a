"""Missing, uneven and doubled slices."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from builders.flags import codes, text_of
from builders.series import CtSeries, ct_series
from trabecula_morphometry.codes import Code
from trabecula_morphometry.volume import AIR_HU
from trabecula_service.dicom.read import read_input


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


def in_frames_of_reference(frames: Sequence[int]) -> CtSeries:
    """A series whose images name these frames of reference, in their order."""
    series = ct_series()
    for dataset, frame in zip(series.datasets, frames, strict=True):
        dataset.FrameOfReferenceUID = f"1.2.3.{frame}"
    return series


def test_a_series_whose_images_each_have_a_frame_of_reference_is_one_volume_and_says_so(tmp_path: Path) -> None:
    series = in_frames_of_reference(range(20))
    series.write(tmp_path)
    image = read_input(tmp_path)
    np.testing.assert_array_equal(image.volume.hu_zyx, series.hu_zyx)
    assert codes(image) == {Code.FRAMES_OF_REFERENCE}
    assert "20 in 20 images" in text_of(image, Code.FRAMES_OF_REFERENCE)


def test_two_halves_of_a_series_with_a_frame_of_reference_each_stay_apart(tmp_path: Path) -> None:
    in_frames_of_reference([0] * 12 + [1] * 8).write(tmp_path)
    image = read_input(tmp_path)
    assert image.volume.hu_zyx.shape[0] == 12
    assert Code.FRAMES_OF_REFERENCE not in codes(image)


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
