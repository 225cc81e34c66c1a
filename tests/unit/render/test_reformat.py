"""Reformatted pictures: places stay true millimetres, sides are right."""

import numpy as np
import pytest

from builders.results import Column
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_service.render.reformat import View, reformat

COLUMN = Column(names=("T12", "L1", "L2"))


@pytest.mark.parametrize("view", ["sagittal", "coronal"])
def test_a_point_is_drawn_on_the_label_that_holds_it(view: View) -> None:
    volume, bodies, _ = COLUMN.volumes()
    plane = reformat(volume, bodies, [COLUMN.center(name) for name in COLUMN.names], view, 400)
    for name in COLUMN.names:
        column, row = plane.to_pixel(COLUMN.center(name))
        assert plane.labels[round(row), round(column)] == LABEL_OF_LEVEL[name]


def test_rows_go_down_and_columns_go_from_front_to_back_and_from_right_to_left() -> None:
    volume, bodies, _ = COLUMN.volumes()
    centers = [COLUMN.center(name) for name in COLUMN.names]
    sagittal, coronal = (reformat(volume, bodies, centers, view, 300) for view in ("sagittal", "coronal"))
    x, y, z = COLUMN.center("L1")
    assert sagittal.to_pixel((x, y, z + 10))[1] < sagittal.to_pixel((x, y, z))[1]
    assert sagittal.to_pixel((x, y - 10, z))[0] < sagittal.to_pixel((x, y, z))[0]
    assert coronal.to_pixel((x - 10, y, z))[0] < coronal.to_pixel((x, y, z))[0]


def test_an_outline_has_the_height_of_the_body() -> None:
    volume, bodies, _ = COLUMN.volumes()
    plane = reformat(volume, bodies, [COLUMN.center(name) for name in COLUMN.names], "sagittal", 500)
    (outline,) = plane.outlines(LABEL_OF_LEVEL["L1"])
    height_mm = np.ptp(outline[:, 1]) * plane.pixel_mm
    slices = np.unique(np.nonzero(bodies.labels_zyx == LABEL_OF_LEVEL["L1"])[0]).size
    assert height_mm == pytest.approx(slices * bodies.grid.slice_spacing_mm, abs=0.7)


def test_a_scoliotic_column_stays_in_the_sagittal_plane() -> None:
    volume, bodies, _ = COLUMN.volumes()
    centers = [(x + 8 * i, y, z) for i, (x, y, z) in enumerate(COLUMN.center(name) for name in COLUMN.names)]
    plane = reformat(volume, bodies, centers, "sagittal", 300)
    for center, name in zip(centers, COLUMN.names, strict=True):
        column, row = plane.to_pixel(center)
        assert plane.labels[round(row), round(column)] == LABEL_OF_LEVEL[name]


def test_without_levels_the_middle_of_the_volume_is_shown() -> None:
    volume, bodies, _ = COLUMN.volumes()
    plane = reformat(volume, bodies, [], "coronal", 200)
    assert plane.hu.shape[0] == 200
    assert plane.hu.max() > 0
