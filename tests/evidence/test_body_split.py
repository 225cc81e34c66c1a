"""Bodies split from whole vertebrae are those that real spines' readers set apart. Figures: ADR 0035."""

from pathlib import Path

import pytest

from evidence.spine_masks import SET_APART, split_dice

pytestmark = pytest.mark.real_ct


@pytest.mark.parametrize("name", SET_APART)
def test_split_bodies_are_those_that_readers_set_apart(name: str, shared: Path) -> None:
    if not (shared / "anatomy" / "spines").is_dir():
        pytest.skip("no spines beside the real CT cases")
    scores = split_dice(name)
    assert len(scores) >= 5
    assert min(scores.values()) >= 0.955
    assert sum(scores.values()) / len(scores) >= 0.97
