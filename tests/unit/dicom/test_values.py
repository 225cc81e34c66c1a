"""Stored values become HU; what is no tissue or was cut off is said."""

from pathlib import Path

import numpy as np
import pytest

from builders.flags import codes
from builders.series import body_hu, ct_series
from trabecula_morphometry.codes import Code
from trabecula_morphometry.volume import AIR_HU
from trabecula_service.dicom.read import read_input


def test_rescale_is_that_of_each_slice(tmp_path: Path) -> None:
    pairs = [(1.0, -1024.0) if k % 2 else (0.5, -1000.0) for k in range(20)]
    series = ct_series(rescale=pairs)
    series.write(tmp_path)
    assert np.abs(read_input(tmp_path).volume.hu_zyx - series.hu_zyx).max() <= 1


def test_intercept_0_alone_is_no_fault(tmp_path: Path) -> None:
    series = ct_series(rescale=(1.0, 0.0))
    series.write(tmp_path)
    np.testing.assert_array_equal(read_input(tmp_path).volume.hu_zyx, series.hu_zyx)


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
