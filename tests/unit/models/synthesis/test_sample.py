"""Samples: same seed, same volume; labels in range; wide intensities leave labels alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the generator interpolates with torch (extra: torch)")

from trabecula_models.synthesis.sample import SampleConfig, draw_sample  # noqa: E402
from trabecula_models.synthesis.scene import Scene  # noqa: E402
from trabecula_models.synthesis.tissues import CLASS_NAMES  # noqa: E402

SMALL = SampleConfig(shape_zyx=(32, 32, 32), spacing_mm=2.0, focus_jitter_mm=5.0)


def test_same_seed_gives_the_same_volume(made_scene: Scene) -> None:
    one = draw_sample(made_scene, SMALL, np.random.default_rng(5))
    two = draw_sample(made_scene, SMALL, np.random.default_rng(5))
    other = draw_sample(made_scene, SMALL, np.random.default_rng(6))
    assert np.array_equal(one.hu_zyx, two.hu_zyx)
    assert np.array_equal(one.class_zyx, two.class_zyx)
    assert not np.array_equal(one.hu_zyx, other.hu_zyx)


def test_labels_and_hu_are_in_range(made_scene: Scene) -> None:
    for seed in range(6):
        sample = draw_sample(made_scene, SMALL, np.random.default_rng(seed))
        assert sample.hu_zyx.shape == sample.class_zyx.shape == (32, 32, 32)
        assert sample.class_zyx.max() < len(CLASS_NAMES)
        assert set(np.unique(sample.level_zyx)) <= {0, 20, 21}
        assert sample.hu_zyx.min() >= -1024
        assert sample.hu_zyx.max() <= 3071


def test_bone_is_brighter_than_muscle_in_plausible_styles(made_scene: Scene) -> None:
    config = SampleConfig(shape_zyx=(32, 32, 32), spacing_mm=2.0, focus_jitter_mm=2.0, style_shares=(1.0, 0.0, 0.0))
    differences = []
    for seed in range(8):
        sample = draw_sample(made_scene, config, np.random.default_rng(seed))
        differences.append(np.median(sample.hu_zyx[sample.class_zyx == 2]) - np.median(sample.hu_zyx[sample.class_zyx == 0]))
    assert np.median(differences) > 50


def test_t13_is_taught_as_the_level_above_it(made_scene: Scene) -> None:
    renamed = np.array(made_scene.packed_zyx)
    renamed[(renamed >> np.uint32(24)) == 20] += np.uint32(8 << 24)
    frames = tuple(replace(frame, level=28) if frame.level == 20 else frame for frame in made_scene.frames)
    scene = Scene(name="t13", packed_zyx=renamed, frames=frames)
    sample = draw_sample(scene, SMALL, np.random.default_rng(5))
    assert set(np.unique(sample.level_zyx)) <= {0, 19, 21}


def test_worn_and_implanted_samples_keep_labels_and_grid_together(boxy_scene: Scene) -> None:
    config = SampleConfig(shape_zyx=(48, 48, 48), spacing_mm=2.0, focus_jitter_mm=2.0, wear_share=1.0, implant_share=1.0)
    plain = SampleConfig(shape_zyx=(48, 48, 48), spacing_mm=2.0, focus_jitter_mm=2.0, wear_share=0.0, implant_share=0.0)
    bright = 0
    for seed in range(4):
        worn, usual = (draw_sample(boxy_scene, one, np.random.default_rng(seed)) for one in (config, plain))
        assert worn.hu_zyx.shape == worn.class_zyx.shape
        assert (worn.level_zyx[worn.class_zyx == 1] > 0).all()
        bright = max(bright, int(worn.hu_zyx.max()) - int(usual.hu_zyx.max()))
    assert bright > 500
