"""Views of bodies with their true outlines, for the training of `refine`: synthetic patches and the real CTs that may be learnt from.

Each view is made by the product's own steps from what its fine network says, so training sees the errors that are to be mended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trabecula_models.bodies import BODY_PROBABILITY
from trabecula_models.column import column_chain, disc_between, heat_peaks
from trabecula_models.delineate import delineate_column
from trabecula_models.fine_masks import INSIDE_MARGIN, fine_maps
from trabecula_models.refine import WIDE_HU, BodyRefiner, BodyView, FineMaps, Outlines
from trabecula_models.segment import Networks, bodies_of
from trabecula_models.synthesis.sample import SampleConfig, draw_sample
from trabecula_models.synthesis.scene import Scene
from trabecula_models.synthesis.warp import WarpRange
from trabecula_models.training.fine_tuning_cases import FINE_TUNING_CASES
from trabecula_models.training.real_cases import load_case
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

VIEW_SAMPLES = SampleConfig(
    shape_zyx=(160, 96, 96),
    spacing_mm=1.0,
    focus_jitter_mm=20.0,
    implant_share=0.2,
    thick_share=0.25,
    warp=replace(WarpRange(), fracture_probability=0.75),
)
"""Patches at the voxel size of the masks with four or five bodies each, enough to tell which one is two that ran together."""

LEAST_PURITY = 0.25
"""Share of an outlined body that must belong to one true one; without it the view shows nothing that can be mended."""

READ_ROOM_MM = 60.0
READ_PREFIX, DRAWN_PREFIX = "read-", "drawn-"
_BODY_CLASS = 1
_PER_UNIT = 100


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ViewCase:
    """A view and the true mask of its body, both (z, y, x)."""

    view: BodyView
    truth: NDArray[np.bool_]


def draw_view_cases(scene: Scene, networks: Networks, rng: np.random.Generator) -> Iterator[ViewCase]:
    """The bodies of one synthetic patch."""
    sample = draw_sample(scene, VIEW_SAMPLES, rng)
    matrix = np.eye(4) * VIEW_SAMPLES.spacing_mm
    matrix[:3, 3], matrix[3, 3] = rng.uniform(0, 1.5, 3), 1.0
    grid = Grid(shape_zyx=sample.hu_zyx.shape, voxel_to_lps=matrix)
    truth = np.where(sample.class_zyx == _BODY_CLASS, sample.level_zyx, np.uint8(0))
    yield from cases_of(Volume(hu_zyx=sample.hu_zyx, grid=grid), LabelVolume(labels_zyx=truth, grid=grid), networks)


def read_view_cases(name: str, networks: Networks) -> Iterator[ViewCase]:
    """The read bodies of a real CT of `FINE_TUNING_CASES`."""
    case = load_case(name, 1.0, READ_ROOM_MM)
    grid = Grid(shape_zyx=case.hu_zyx.shape, voxel_to_lps=np.eye(4))
    yield from cases_of(Volume(hu_zyx=case.hu_zyx, grid=grid), LabelVolume(labels_zyx=case.bodies_zyx, grid=grid), networks)


def cases_of(volume: Volume, truth: LabelVolume, networks: Networks) -> Iterator[ViewCase]:
    """Views of every body that the fine network finds in a small volume as the product's own looks see it, with its true mask: once where
    its outline is settled, again and again where it moves, so that one that drifts is called back."""
    low, high = volume.grid.bounds_lps_mm()
    seen = delineate_column(volume, low, high, networks.delineate)
    voxel_mm = float(seen.grid.spacing_xyz_mm[0])
    peaks = heat_peaks(seen.maps.heat, seen.maps.body > BODY_PROBABILITY, voxel_mm, seen.grid.voxel_to_lps[:3, 3])
    chain, instances = bodies_of(seen.maps, column_chain(peaks, disc_between(seen.maps.body, voxel_mm)), voxel_mm)
    if not chain:
        return
    maps = fine_maps(seen, instances, instances > 0, volume.grid.voxel_to_lps[:3, 3])
    yield from followed_views(volume, truth, maps, networks.refine)


def followed_views(volume: Volume, truth: LabelVolume, maps: FineMaps, refiner: BodyRefiner) -> Iterator[ViewCase]:
    """What a refiner sees of each body at each of its looks, with the true mask."""
    outlines = Outlines(maps, maps.outlined(INSIDE_MARGIN))
    for instances in refiner.looks(volume, outlines):
        yield from _views_with_truth(volume, outlines, maps, truth, instances)


def _views_with_truth(volume: Volume, outlines: Outlines, maps: FineMaps, truth: LabelVolume, instances: list[int]) -> Iterator[ViewCase]:
    for instance in instances:
        view = outlines.view(volume, instance)
        if view is None:
            continue
        matrix = maps.grid.voxel_to_lps.copy()
        matrix[:3, 3] = maps.grid.to_lps(view.first_zyx[::-1])
        labels = truth.resample(Grid(shape_zyx=view.channels.shape[1:], voxel_to_lps=matrix)).labels_zyx
        own = (view.channels[3] > 0) & (view.channels[2] > INSIDE_MARGIN)
        counts = np.bincount(labels[own], minlength=2)
        level = 1 + int(counts[1:].argmax())
        if counts[level] > LEAST_PURITY * own.sum():
            yield ViewCase(view=view, truth=labels == level)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StoredView:
    """A view as it is kept, all (z, y, x): HU, what the fine network said (three channels), and the truth."""

    hu: NDArray[np.int16]
    said: NDArray[np.int8]
    truth: NDArray[np.bool_]

    def said_channels(self, box: tuple[slice, ...]) -> NDArray[np.float32]:
        """The last three channels of the view, inside a box."""
        channels: NDArray[np.float32] = self.said[(slice(None), *box)].astype(np.float32) / np.float32(_PER_UNIT)
        return channels


def draw_views(folder: Path, patches: int, seed: int, scenes: list[Scene], networks: Networks) -> None:
    """Draw the views of so many synthetic patches and of the read cases into files; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FINE_TUNING_CASES:
        path = folder / f"{READ_PREFIX}{name}.npz"
        if not path.exists():
            save_views(read_view_cases(name, networks), path)
    # A thirteenth thoracic vertebra carries the number of the twelfth in a sample: the two could not be told apart.
    usable = [scene for scene in scenes if "T13" not in scene.name]
    for number in range(patches):
        path = folder / f"{DRAWN_PREFIX}{number:05d}.npz"
        if not path.exists():
            rng = np.random.default_rng((seed, number))
            save_views(draw_view_cases(usable[int(rng.integers(len(usable)))], networks, rng), path)


def save_views(cases: Iterable[ViewCase], path: Path) -> None:
    """Write whole or not at all."""
    low, high = WIDE_HU
    arrays: dict[str, Any] = {}
    for index, case in enumerate(cases):
        arrays[f"hu{index}"] = np.rint((case.view.channels[0] + 1) / 2 * (high - low) + low).astype(np.int16)
        arrays[f"said{index}"] = np.rint(case.view.channels[2:] * _PER_UNIT).astype(np.int8)
        arrays[f"truth{index}"] = case.truth
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)


def load_views(folder: Path, prefix: str) -> list[StoredView]:
    """Read every view of the files that begin with a prefix."""
    views = []
    for path in sorted(folder.glob(f"{prefix}*.npz")):
        if path.name.endswith(".part.npz"):
            continue
        with np.load(path) as kept:
            count = sum(name.startswith("hu") for name in kept)
            views += [StoredView(hu=kept[f"hu{i}"], said=kept[f"said{i}"], truth=kept[f"truth{i}"]) for i in range(count)]
    return views
