"""The first look at a whole series."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trabecula_models.locate import CLASS_NAMES, LEAST_SHOWN_ZYX, locate_column
from trabecula_morphometry.volume import Grid, Volume


class BlindNetwork:
    """Sees nothing, and remembers how it was asked."""

    bundle = SimpleNamespace(spacing_mm=4.0)

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def run(self, hu_zyx: np.ndarray, **asked: Any) -> np.ndarray:
        self.asked = asked
        out = np.zeros((len(CLASS_NAMES) + 1, *hu_zyx.shape), np.float32)
        out[0] = 10.0
        return out


@pytest.mark.parametrize(("field_mm", "with_air"), [(141, True), (240, True), (260, False), (400, False)])
def test_a_small_field_is_shown_with_air_around_it_as_the_network_has_learnt_to_see_them(field_mm: int, with_air: bool) -> None:
    grid = Grid(shape_zyx=(60, field_mm, field_mm), voxel_to_lps=np.diag([1.0, 1.0, 2.0, 1.0]))
    network = BlindNetwork()
    assert locate_column(Volume(hu_zyx=np.zeros(grid.shape_zyx, np.float32), grid=grid), network) is None  # type: ignore[arg-type]
    assert (network.asked["least_zyx"] == LEAST_SHOWN_ZYX) == with_air
