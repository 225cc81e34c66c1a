"""Real crushed spines rendered as CT: the points lie on the endplates of their masks, and the collapsed bodies are found.

Figures: docs/researcher.md. Grades of the table that the masks themselves do not show are named beside the test.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from evidence.spine_masks import GRADES, RenderedSpine, mask_losses, measure

pytestmark = pytest.mark.real_ct

measured = cache(measure)


@pytest.fixture(scope="module", params=list(GRADES))
def spine(request: pytest.FixtureRequest, shared: Path) -> tuple[str, RenderedSpine]:
    if not (shared / "anatomy" / "spines").is_dir():
        pytest.skip("no spines beside the real CT cases")
    return request.param, measured(request.param)


def test_the_six_points_lie_on_the_endplates_of_the_mask(spine: tuple[str, RenderedSpine]) -> None:
    away = np.array(spine[1].departures_mm())
    assert away.size >= 30
    assert abs(away.mean()) <= 0.3
    assert np.mean(np.abs(away) <= 1.0) >= 0.95


def test_losses_are_those_of_the_mask(spine: tuple[str, RenderedSpine]) -> None:
    wanted = mask_losses(spine[1].mask_heights_mm())
    found = {level.name: level.loss.max for level in spine[1].measured.levels if level.loss is not None}
    differences = np.array([found[name] - wanted[name] for name in found if name in wanted])
    assert np.median(np.abs(differences)) <= 0.02
    assert np.abs(differences).max() <= 0.06


def test_no_body_that_the_table_calls_intact_is_graded_two_or_more(spine: tuple[str, RenderedSpine]) -> None:
    name, found = spine
    assert all(found.grade(level) in (0, None) for level, grade in GRADES[name].items() if grade == 0)


@pytest.mark.parametrize(
    ("name", "level", "grade", "loss"),
    [
        ("verse004", "L1", 3, 0.63),
        # The table says grade 3; the middle of the mask has lost a third against its three neighbours.
        ("verse010", "L1", 2, 0.34),
        ("healthivert0007", "L1", 3, 0.52),
        ("healthivert0007", "L2", 2, 0.37),
        # The table says grade 2; raw Hm/Hp is 0.76, of which normal bodies of this level have 0.91: a loss of a fifth.
        ("verse004", "T9", 0, 0.19),
        ("verse004", "T10", 0, 0.19),
    ],
)
def test_collapsed_bodies_have_the_grade_of_their_loss(shared: Path, name: str, level: str, grade: int, loss: float) -> None:
    del shared
    found = next(entry for entry in measured(name).measured.levels if entry.name == level)
    assert found.loss is not None
    assert found.loss.max == pytest.approx(loss, abs=0.03)
    assert measured(name).grade(level) == grade
