"""A small made scene, so that the generator is tested without the shared sources."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trabecula_models.synthesis.body_split import split_vertebrae
from trabecula_models.synthesis.scene import Scene, pack
from trabecula_models.synthesis.scene_build import bone_depth
from trabecula_models.synthesis.spines import Spine
from trabecula_models.synthesis.tissues import Tissue


@pytest.fixture(scope="package")
def made_scene() -> Scene:
    """Two box-like vertebrae in muscle, with a disc between."""
    tissue = np.full((90, 80, 80), Tissue.MUSCLE, np.uint8)
    levels = np.zeros(tissue.shape, np.uint8)
    for level, low in ((20, 50), (21, 15)):
        levels[low : low + 26, 20:50, 22:58] = level
        levels[low + 6 : low + 18, 50:64, 24:30] = level
        levels[low + 6 : low + 18, 50:64, 50:56] = level
        levels[low + 4 : low + 20, 62:76, 24:56] = level
    body, frames = split_vertebrae(levels)
    tissue[levels > 0] = Tissue.POSTERIOR
    tissue[body] = Tissue.BODY
    tissue[41:50, 22:48, 24:56] = Tissue.DISC
    centre = np.full(tissue.shape, 60, np.float32)
    return Scene(name="made", packed_zyx=pack(tissue, bone_depth(levels > 0), centre, levels), frames=tuple(frames))


def boxy_spine(levels: tuple[int, ...] = (19, 20, 21, 22, 23, 24), step_mm: int = 34) -> Spine:
    """A straight column of box-like vertebrae with pedicles and spinous blocks, cranial to caudal, at 1 mm."""
    volume = np.zeros((step_mm * len(levels) + 20, 90, 90), np.uint8)
    for index, level in enumerate(reversed(levels)):
        low = 10 + index * step_mm
        volume[low : low + 25, 15:45, 25:65] = level
        volume[low + 8 : low + 18, 45:62, 29:35] = level
        volume[low + 8 : low + 18, 45:62, 55:61] = level
        volume[low + 4 : low + 20, 60:76, 28:62] = level
    body, frames = split_vertebrae(volume)
    return Spine(levels_zyx=volume, body_zyx=body, frames={frame.level: frame for frame in frames})


@pytest.fixture(scope="package")
def boxes() -> Spine:
    """T12-L5 as boxes."""
    return boxy_spine()


@pytest.fixture(scope="package")
def boxy_scene(boxes: Spine) -> Scene:
    """The boxes in a block of muscle with air around."""
    tissue = np.zeros((boxes.levels_zyx.shape[0], 150, 150), np.uint8)
    tissue[:, 10:140, 10:140] = Tissue.MUSCLE
    levels = np.zeros(tissue.shape, np.uint8)
    place = (slice(None), slice(40, 130), slice(30, 120))
    levels[place] = boxes.levels_zyx
    tissue[levels > 0] = Tissue.POSTERIOR
    tissue[place][boxes.body_zyx] = Tissue.BODY
    frames = tuple(replace(frame, centre=frame.centre + np.array([0, 40, 30])) for frame in boxes.frames.values())
    centre = np.full(tissue.shape, 60, np.float32)
    return Scene(name="boxes", packed_zyx=pack(tissue, bone_depth(levels > 0), centre, levels), frames=frames)
