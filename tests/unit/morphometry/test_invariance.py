"""The same spine gives the same numbers however it lies and however it is scanned.

The masks are right here; ``trabecula validate`` does the same with those of the installed networks.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from builders.digital_column import DigitalColumn, intact, squeezed
from trabecula_morphometry.measure import ColumnMeasurement, measure_column

SPINE = DigitalColumn(bodies=(intact("T12"), squeezed("L1", 0.30, 0.15, 0.02), intact("L2")), slope_hu_per_mm=1.4)
"""44 HU between front and back of a body, as bodies have: a VOI that moves reads another mean."""

SCANS = {
    "as it is": SPINE,
    "smooth kernel": replace(SPINE, blur_mm=0.9),
    "noise of 40 HU": replace(SPINE, noise_hu=40.0),
    "2.5 mm slices": replace(SPINE, spacing_mm=(1.0, 1.0, 2.5)),
}


@cache
def measured(column: DigitalColumn) -> ColumnMeasurement:
    volume, bodies, vertebrae = column.render()
    return measure_column(volume, bodies, None, vertebrae, slice_spacing_mm=volume.grid.slice_spacing_mm)


def heights_mm(column: DigitalColumn) -> np.ndarray:
    return np.array([level.heights.heights_mm.as_array() for level in measured(column).levels])


def voi_hu(column: DigitalColumn) -> np.ndarray:
    return np.array([level.voi.mean_hu for level in measured(column).levels])


@pytest.mark.parametrize("degrees", [-20.0, 20.0])
@pytest.mark.parametrize("axis", ["tilt_deg", "lean_deg", "turn_deg"])
def test_a_spine_turned_by_20_degrees_about_any_axis_has_the_same_heights_grades_and_hu(axis: str, degrees: float) -> None:
    turned = replace(SPINE, **{axis: degrees})
    assert np.abs(heights_mm(turned) - heights_mm(SPINE)).max() <= 0.5
    assert [level.genant.grade for level in measured(turned).levels] == [0, 2, 0]
    assert voi_hu(turned) == pytest.approx(voi_hu(SPINE), rel=0.03)


def test_kernel_noise_and_slices_move_the_voi_by_no_more_than_one_and_a_half_percent() -> None:
    readings = np.array([voi_hu(column) for column in SCANS.values()])
    assert readings.shape == (4, 3)
    rms_cv = float(np.sqrt(np.mean((readings.std(axis=0, ddof=1) / readings.mean(axis=0)) ** 2)))
    assert rms_cv <= 0.015
