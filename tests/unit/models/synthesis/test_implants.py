"""Implants of drawn patients: metal throws streaks over its own slices, whatever the voxel size, and lies where the sample looks."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the generator interpolates with torch (extra: torch)")

from trabecula_models.synthesis import sample as sample_module  # noqa: E402
from trabecula_models.synthesis.body_split import BodyFrame  # noqa: E402
from trabecula_models.synthesis.implants import METAL_HU, Capsule, Implant, add_streaks, draw_implants  # noqa: E402
from trabecula_models.synthesis.sample import SampleConfig, draw_sample  # noqa: E402
from trabecula_models.synthesis.scene import Scene  # noqa: E402

FIELD_MM, SOFT_HU, STRENGTH_HU = 96, 40.0, 200.0


def two_rods(voxel_mm: float) -> np.ndarray:
    """Soft tissue with two rods of 6 mm across the middle third of the slices."""
    count = round(FIELD_MM / voxel_mm)
    middles_mm = (np.arange(count) + 0.5) * voxel_mm
    z, y, x = np.meshgrid(middles_mm, middles_mm, middles_mm, indexing="ij")
    hu = np.full(z.shape, SOFT_HU, np.float32)
    hu[(abs(z - 48) <= 16) & ((y - 48) ** 2 + (abs(x - 48) - 15) ** 2 <= 3**2)] = METAL_HU
    return hu


def test_streaks_stay_in_the_slices_of_the_metal_and_leave_it_as_it_is() -> None:
    before = two_rods(1.0)
    after = before.copy()
    add_streaks(after, STRENGTH_HU, np.random.default_rng(3))
    metal = before == METAL_HU
    assert (after[metal] == METAL_HU).all()
    shown = metal.any(axis=(1, 2))
    assert np.array_equal(after[~shown], before[~shown])
    assert (after[shown].std(axis=(1, 2)) > before[shown].std(axis=(1, 2))).all()


def test_between_two_rods_it_is_dark_as_behind_hips_and_screws() -> None:
    hu = two_rods(1.0)
    add_streaks(hu, STRENGTH_HU, np.random.default_rng(3))
    assert hu[48, 46:50, 42:54].mean() < SOFT_HU - 0.2 * STRENGTH_HU
    assert abs(hu[48, 20:30, 44:52].mean() - SOFT_HU) < 0.2 * STRENGTH_HU


@pytest.mark.parametrize("voxel_mm", [0.5, 0.75])
def test_streaks_have_the_same_place_and_height_on_the_finer_grids_of_training(voxel_mm: float) -> None:
    darkness = []
    for spacing_mm in (1.0, voxel_mm):
        hu = two_rods(spacing_mm)
        add_streaks(hu, STRENGTH_HU, np.random.default_rng(3), spacing_mm)
        z, y, x = (slice(round(low / spacing_mm), round(high / spacing_mm)) for low, high in ((40, 56), (46, 50), (42, 54)))
        darkness.append(SOFT_HU - float(hu[z, y, x].mean()))
    assert darkness[1] == pytest.approx(darkness[0], rel=0.4)


def test_implants_lie_in_vertebrae_that_the_sample_shows(boxy_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SampleConfig(shape_zyx=(40, 48, 48), spacing_mm=2.0, focus_jitter_mm=2.0, implant_share=1.0, supersample=1)
    asked: list[int] = []

    def noting(rng: np.random.Generator, frames: tuple[BodyFrame, ...], kind: Implant) -> tuple[Capsule, ...]:
        heights = [float(frame.centre[0]) for frame in frames]
        assert max(heights) - min(heights) < 80 * 1.3, "a sample of 80 mm cannot show these"
        asked.append(len(frames))
        return draw_implants(rng, frames, kind)

    monkeypatch.setattr(sample_module, "draw_implants", noting)
    for seed in range(6):
        draw_sample(boxy_scene, config, np.random.default_rng(seed))
    assert 2 <= max(asked) < len(boxy_scene.frames)
