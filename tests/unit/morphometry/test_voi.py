"""The trabecular volume of interest: where it lies, in which style, and what is refused."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from builders.digital_column import DigitalColumn, fitted, intact
from trabecula_morphometry.frame import BodyShape
from trabecula_morphometry.voi import (
    CORTEX_MARGIN_MM,
    ENDPLATE_MARGIN_MM,
    MIN_VOLUME_MM3,
    VoiStyle,
    depth_below_surface,
    foreign_content,
    measure_voi,
    trabecular_points,
)
from trabecula_morphometry.volume import Volume


@cache
def body() -> tuple[Volume, BodyShape]:
    return fitted(DigitalColumn(bodies=(intact("L1"), intact("L2"), intact("L3"))), "L2")


def test_the_voi_lies_in_front_of_the_vein_and_clear_of_all_surfaces() -> None:
    _, shape = body()
    points, point_mm3 = trabecular_points(shape)
    up, back, left = points.T
    assert back.max() <= 3.0
    assert back.min() >= -0.5 * shape.depth_mm + CORTEX_MARGIN_MM - 0.5
    assert np.abs(left).max() <= 0.33 * shape.width_mm
    assert np.abs(up).max() <= 0.5 * shape.height_mm - ENDPLATE_MARGIN_MM
    assert len(points) * point_mm3 > MIN_VOLUME_MM3


@pytest.mark.parametrize("style", list(VoiStyle))
def test_every_style_reads_the_known_bone(style: VoiStyle) -> None:
    volume, shape = body()
    found = measure_voi(volume, shape, style)
    assert found is not None
    assert found.mean_hu == pytest.approx(150, abs=1)


def test_the_styles_of_other_programs_are_theirs() -> None:
    _, shape = body()
    ours, disc, whole = (trabecular_points(shape, style)[0] for style in VoiStyle)
    assert np.ptp(disc[:, 0]) < 7.5 < np.ptp(ours[:, 0]) < np.ptp(whole[:, 0])
    assert whole[:, 1].max() > ours[:, 1].max()
    assert disc[:, 1].max() < 0.25 * shape.depth_mm


def test_thick_slices_keep_further_from_the_endplates() -> None:
    _, shape = body()
    high = [np.abs(trabecular_points(shape, slice_spacing_mm=spacing)[0][:, 0]).max() for spacing in (1.0, 10.0)]
    assert high[1] < high[0]


def test_a_flat_body_has_no_voi() -> None:
    _, shape = body()
    assert len(trabecular_points(shape, slice_spacing_mm=30.0)[0]) == 0


def test_a_voi_that_leaves_the_image_is_refused() -> None:
    volume, shape = body()
    low, high = volume.grid.bounds_lps_mm()
    high[2] = float(shape.frame.origin_lps_mm[2]) - 3
    assert measure_voi(volume.crop(low, high), shape) is None


def test_too_little_bone_is_refused() -> None:
    volume, shape = fitted(DigitalColumn(bodies=(intact("T5", 0.8), intact("T6", 0.8))), "T5")
    assert measure_voi(volume, shape) is None


def test_plain_bone_holds_nothing_foreign_even_where_values_are_clipped() -> None:
    volume, shape = body()
    assert foreign_content(volume, shape).cement_mm3 == 0
    assert foreign_content(volume, shape, hu_clipped_at=1023).metal_mm3 == 0


def test_an_empty_mask_has_no_inside_and_nothing_foreign_in_it() -> None:
    volume, shape = body()
    empty = replace(shape, inside=np.zeros_like(shape.inside))
    assert depth_below_surface(empty).max() == 0
    assert foreign_content(volume, empty).metal_mm3 == 0
    assert len(trabecular_points(empty)[0]) == 0
