"""A last lumbar vertebra that is joined to the sacrum is told by its processes, not by its facet joints."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trabecula_models.bodies import ClassMaps
from trabecula_models.column_pose import upright_axes
from trabecula_models.transitional import likeliest_arches_and_sacrum, sacral_contact_mm2

SPACING_MM = 1.5
SHAPE_ZYX = (80, 70, 80)
CENTERS_ZYX = np.array([[60.0, 25.0, 40.0], [36.0, 25.0, 40.0]])
Masks = tuple[NDArray[np.int16], NDArray[np.bool_], NDArray[np.bool_]]


def last_vertebra(*, wing_reached: tuple[bool, bool] = (False, False), facets: bool = True, crumbs: bool = False) -> Masks:
    """Two bodies 48 mm wide and 30 mm deep over a sacrum; processes of the lower one that may go down to its wings."""
    bodies = np.zeros(SHAPE_ZYX, np.int16)
    for label, (z, y, x) in enumerate(CENTERS_ZYX.astype(int), start=1):
        bodies[z - 8 : z + 9, y - 10 : y + 11, x - 16 : x + 17] = label
    sacrum = np.zeros(SHAPE_ZYX, bool)
    sacrum[5:23, 15:50, 10:71] = True
    arch = np.zeros(SHAPE_ZYX, bool)
    for reached, columns in zip(wing_reached, (slice(13, 22), slice(59, 68)), strict=True):
        arch[36:42, 33:39, slice(columns.start, 24) if columns.start < 40 else slice(57, columns.stop)] = True
        if reached:
            arch[23:42, 30:38, columns] = True
    if facets:
        arch[23:44, 46:50, 24:57] = True
    if crumbs:
        arch[23:25, 25:36, 11:20] = True
    return bodies, arch, sacrum


def contact_mm2(masks: Masks) -> float:
    bodies, arch, sacrum = masks
    axes = upright_axes(CENTERS_ZYX[:, ::-1] * SPACING_MM)
    return sacral_contact_mm2(CENTERS_ZYX, axes, bodies, arch, sacrum, SPACING_MM)


def test_a_process_that_goes_down_to_the_wing_touches_it_over_its_section() -> None:
    for sides in ((True, False), (False, True), (True, True)):
        assert contact_mm2(last_vertebra(wing_reached=sides)) == pytest.approx(8 * 9 * SPACING_MM**2, rel=0.15)


def test_facet_joints_and_crumbs_on_the_wing_are_no_contact() -> None:
    assert contact_mm2(last_vertebra()) == 0
    assert contact_mm2(last_vertebra(crumbs=True)) == 0
    assert last_vertebra(crumbs=True)[1].sum() > last_vertebra()[1].sum()


def test_without_a_body_nothing_is_said() -> None:
    bodies, arch, sacrum = last_vertebra(wing_reached=(True, True))
    assert contact_mm2((np.zeros_like(bodies), arch, sacrum)) == 0


def test_where_arch_and_sacrum_meet_the_likelier_of_the_two_is_taken_though_neither_reaches_one_half() -> None:
    nothing = np.zeros((1, 1, 4), np.float32)
    posterior = np.array([[[0.8, 0.45, 0.4, 0.1]]], np.float32)
    sacrum = np.array([[[0.1, 0.4, 0.45, 0.2]]], np.float32)
    maps = ClassMaps(body=nothing, posterior=posterior, disc=nothing, sacrum=sacrum, rib=nothing, pelvis=nothing, heat=nothing)
    arches, wings = likeliest_arches_and_sacrum(maps)
    assert arches.ravel().tolist() == [True, True, False, False]
    assert wings.ravel().tolist() == [False, False, True, False]
