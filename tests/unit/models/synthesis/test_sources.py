"""Spines kept back for testing cannot be read by the generator; sources load on the LPS grid."""

from __future__ import annotations

import pytest

from trabecula_models.synthesis.scene_set import LICENCES, NECK_SCENES, SCENES
from trabecula_models.synthesis.sources import FORBIDDEN_SPINES, read_labels, shared_folder


@pytest.mark.parametrize("name", sorted(FORBIDDEN_SPINES))
def test_a_spine_kept_back_for_testing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="kept back"):
        read_labels("spines", name)


def test_every_scene_source_has_a_licence_and_none_is_kept_back() -> None:
    used = {part for scene in (*SCENES, *NECK_SCENES) for part in scene if part}
    assert used <= set(LICENCES)
    assert not used & FORBIDDEN_SPINES


def test_levels_go_down_along_z() -> None:
    if not (shared_folder() / "anatomy").is_dir():
        pytest.skip("no shared source material (set TRABECULA_SHARED)")
    import numpy as np

    source = read_labels("spines", "clouthier_mean_L2_L5")
    heights = [np.argwhere(source.labels_zyx == level)[:, 0].mean() for level in (21, 22, 23, 24)]
    assert heights == sorted(heights, reverse=True)
