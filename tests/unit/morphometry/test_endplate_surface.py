"""Notches of a mask do not become height loss, and a mask that is mostly notches is not measured."""

from dataclasses import replace

import numpy as np
import pytest

from trabecula_morphometry.endplate_surface import endplates_are_sound, repaired_endplate
from trabecula_morphometry.frame import BodyShape, frame_from_axes


def box(height_mm: float = 28.0, bowl_mm: float = 2.0) -> BodyShape:
    """A body 44 mm wide and 32 mm deep whose upper endplate sinks by ``bowl_mm`` in the middle."""
    back, left = np.arange(-24.0, 24.1, 1.0), np.arange(-30.0, 30.1, 1.0)
    p, side = np.meshgrid(back, left, indexing="ij")
    outside = (np.abs(p) > 16) | (np.abs(side) > 22)
    top = np.where(outside, np.nan, height_mm / 2 - bowl_mm * (1 - (p / 16) ** 2))
    bottom = np.where(outside, np.nan, -height_mm / 2)
    up = np.arange(-24.0, 24.1, 1.0)
    inside = ((up[:, None, None] <= np.nan_to_num(top, nan=-99)) & (up[:, None, None] >= np.nan_to_num(bottom, nan=99))).astype(np.float32)
    return BodyShape(
        frame=frame_from_axes(np.zeros(3), np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])),
        inside=inside,
        superior_mm=up,
        posterior_mm=back,
        left_mm=left,
        top_mm=top,
        bottom_mm=bottom,
        depth_mm=32.0,
        width_mm=44.0,
        height_mm=height_mm - bowl_mm,
        volume_mm3=float(inside.sum()),
    )


def notched(shape: BodyShape, share: float) -> BodyShape:
    """The body with a 6 mm notch over a share of its upper endplate, from the front."""
    top = shape.top_mm.copy()
    rows = np.abs(shape.posterior_mm) <= 0.45 * shape.depth_mm
    cut = np.flatnonzero(rows)[: round(share * rows.sum())]
    top[cut] -= 6.0
    return replace(shape, top_mm=top)


def test_a_bowl_is_kept_as_it_is() -> None:
    shape = box(bowl_mm=6.0)
    surface = repaired_endplate(shape, upper=True)
    assert surface is not None
    assert surface.departed_share == 0.0
    assert np.nanmax(np.abs(surface.surface_mm - shape.top_mm)) < 1e-9


@pytest.mark.parametrize("share", [0.05, 0.12])
def test_a_notch_is_filled_to_the_surface_around_it(share: float) -> None:
    shape = box()
    surface = repaired_endplate(notched(shape, share), upper=True)
    assert surface is not None
    middle = np.abs(shape.left_mm) < 5
    depth = np.abs(shape.posterior_mm) <= 0.45 * shape.depth_mm
    assert np.nanmax(np.abs((surface.surface_mm - shape.top_mm)[np.ix_(depth, middle)])) < 1.6
    assert endplates_are_sound(notched(shape, share))


@pytest.mark.parametrize("steps_mm", [(-5.0, 0.0, 5.0), (-6.0, 6.0)])
def test_a_mask_that_is_ragged_all_over_is_not_measured(steps_mm: tuple[float, ...]) -> None:
    shape = box()
    rng = np.random.default_rng(1)
    ragged = replace(shape, top_mm=shape.top_mm + rng.choice(steps_mm, size=shape.top_mm.shape))
    assert endplates_are_sound(shape)
    assert not endplates_are_sound(ragged)


def test_a_mask_with_too_little_of_an_endplate_is_not_measured() -> None:
    shape = box()
    top = np.where(np.abs(shape.left_mm) < 1, shape.top_mm, np.nan)
    assert repaired_endplate(replace(shape, top_mm=top), upper=True) is None
    assert not endplates_are_sound(replace(shape, top_mm=top))
