"""The body / posterior split on made vertebrae (no files)."""

from __future__ import annotations

import numpy as np
import pytest

from trabecula_models.synthesis.body_split import split_vertebrae
from trabecula_models.synthesis.scene_build import bone_depth, find_disc


def made_column() -> np.ndarray:
    """Return three vertebrae (L1-L3): a cylinder each, two pedicles and a spinous block behind a canal."""
    levels = np.zeros((110, 90, 60), np.uint8)
    z, y, x = np.indices(levels.shape)
    for level, middle in ((20, 90), (21, 55), (22, 20)):
        height = np.abs(z - middle) <= 12
        body = height & ((y - 25) ** 2 / 15**2 + (x - 30) ** 2 / 20**2 <= 1)
        pedicle = (np.abs(z - middle) <= 6) & (np.abs(np.abs(x - 30) - 13) <= 3) & (y > 33) & (y < 60)
        spinous = (np.abs(z - middle) <= 8) & (np.abs(x - 30) <= 14) & (y >= 56) & (y < 75)
        levels[body | pedicle | spinous] = level
    return levels


def test_split_finds_the_cylinder_within_its_back_wall() -> None:
    levels = made_column()
    body, frames = split_vertebrae(levels)
    assert sorted(frame.level for frame in frames) == [20, 21, 22]
    y = np.argwhere(body & (levels == 21))[:, 1]
    assert y.max() <= 42
    middle = next(frame for frame in frames if frame.level == 21)
    assert middle.centre == pytest.approx([55, 25, 30], abs=1.5)
    assert middle.up[0] == pytest.approx(1.0, abs=0.05)
    assert middle.back[1] == pytest.approx(1.0, abs=0.1)


def test_disc_lies_between_facing_bodies_only() -> None:
    levels = made_column()
    body, _ = split_vertebrae(levels)
    disc = find_disc(body & (levels == 20), body & (levels == 21), levels == 0)
    z = np.argwhere(disc)[:, 0]
    assert disc.any()
    assert z.min() > 66
    assert z.max() < 79


def test_bone_depth_equals_the_euclidean_distance_up_to_its_limit() -> None:
    from scipy import ndimage

    bone = np.zeros((20, 22, 24), bool)
    bone[4:16, 5:18, 6:13] = True
    exact = ndimage.distance_transform_edt(bone)
    assert bone_depth(bone)[bone] == pytest.approx(np.minimum(exact[bone], 6) - 0.5, abs=1e-4)


@pytest.mark.parametrize("pushed", [False, True])
def test_the_rims_of_a_concave_back_wall_and_what_is_pushed_into_the_canal_are_body(pushed: bool) -> None:
    levels = made_column()
    z, y, x = np.indices(levels.shape)
    rims = (np.abs(np.abs(z - 55) - 10) <= 2) & (np.abs(x - 30) <= 12) & (y >= 36) & (y <= 42)
    fragment = (z >= 43) & (z <= 49) & (np.abs(x - 30) <= 12) & (y >= 36) & (y <= 45)
    added = (rims | (fragment & pushed)) & (levels == 0)
    levels[added] = 21
    body, _ = split_vertebrae(levels)
    assert body[added].mean() > 0.9
    assert np.argwhere(body & (levels == 21))[:, 1].max() <= 46
    posterior = (levels == 21) & (y >= 56)
    assert not (body & posterior).any()


def test_pedicles_behind_the_wall_are_no_body() -> None:
    levels = made_column()
    body, _ = split_vertebrae(levels)
    y, x = np.indices(levels.shape)[1:]
    assert not body[(levels == 21) & (np.abs(np.abs(x - 30) - 13) <= 3) & (y > 44)].any()


@pytest.mark.parametrize(("level", "processes_are_body"), [(5, False), (9, True)])
def test_what_stands_beside_a_body_of_the_neck_is_no_body(level: int, processes_are_body: bool) -> None:
    levels = np.zeros((60, 90, 70), np.uint8)
    z, y, x = np.indices(levels.shape)
    height = np.abs(z - 30) <= 9
    body = height & ((y - 25) ** 2 / 9**2 + (x - 35) ** 2 / 11**2 <= 1)
    processes = (np.abs(z - 30) <= 5) & (np.abs(y - 25) <= 5) & (np.abs(x - 35) <= 24)
    pedicles = (np.abs(z - 30) <= 4) & (np.abs(np.abs(x - 35) - 10) <= 3) & (y > 25) & (y < 50)
    spinous = (np.abs(z - 30) <= 6) & (np.abs(x - 35) <= 10) & (y >= 46) & (y < 62)
    levels[body | processes | pedicles | spinous] = level
    found, frames = split_vertebrae(levels)
    assert [frame.level for frame in frames] == [level]
    assert found[30, 25, 35]
    assert found[30, 25, 35 + 20] == processes_are_body
