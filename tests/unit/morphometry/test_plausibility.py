"""Sizes that no human vertebra has refuse the series by name."""

from builders.digital_column import DigitalColumn, intact
from trabecula_morphometry.codes import Code
from trabecula_morphometry.frame import BodyShape
from trabecula_morphometry.measure import measure_column
from trabecula_morphometry.plausibility import check_geometry


def lumbar_shapes() -> dict[str, BodyShape]:
    volume, bodies, vertebrae = DigitalColumn(bodies=tuple(intact(name) for name in ("L1", "L2", "L3"))).render()
    return dict(measure_column(volume, bodies, None, vertebrae, slice_spacing_mm=volume.grid.slice_spacing_mm).shapes)


def test_lumbar_bodies_are_plausible_as_lumbar_and_too_wide_for_a_neck() -> None:
    shapes = lumbar_shapes()
    assert check_geometry(shapes) is None
    refused = check_geometry({f"C{number}": shape for number, shape in enumerate(shapes.values(), start=3)})
    assert refused is not None
    assert refused.code is Code.GEOMETRY_IMPLAUSIBLE
    assert "mm wide" in refused.detail
