"""The built-in backend: from a CT volume to named vertebrae with their masks."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.anchors import coarse_levels, drop_sacral_bodies, last_rib_length, rib_probability, sacrum_below, sacrum_mask
from trabecula_models.bodies import (
    BODY_PROBABILITY,
    SMALLEST_BODY_ML,
    ClassMaps,
    body_volumes_ml,
    box_around,
    part_merged_bodies,
    split_bodies,
)
from trabecula_models.bundle import WEIGHTS_FOLDER, load_bundle
from trabecula_models.column import BodyCandidate, chain_step_levels, chain_steps_mm, column_chain, disc_between, heat_peaks
from trabecula_models.delineate import Delineation, delineate_column
from trabecula_models.forward import Compute
from trabecula_models.inference import NetworkRunner
from trabecula_models.listing import list_vertebrae
from trabecula_models.locate import locate_column
from trabecula_models.naming import ColumnEvidence, name_column, usual_step_mm
from trabecula_models.posterior import EDGE_PROBABILITY, assign_posterior, edge_hu, small_gaps
from trabecula_models.refine import BodyRefiner, FineMaps
from trabecula_models.segmentation import SpineSegmentation
from trabecula_morphometry.levels import LABEL_OF_LEVEL, SACRUM_LABEL
from trabecula_morphometry.volume import Grid, LabelVolume, Volume, analysis_grid

BACKEND_NAME = "builtin"

INSIDE_MARGIN = 0.15
"""By how much the body's probability must beat the next class: without it masks were 4-18 % too large (two real cases and three made-up
ones), with it body Dice rises by 0.00-0.01."""

PEDICLE_ROOT_PROBABILITY = 0.05
"""What the refined outline of a body gives up is the root of a pedicle where posterior elements are at all likely: no gap opens.
Unverified: not searched, no figure with and without it."""

OUTPUT_SPACING_MM = 1.0
"""Masks are given at this voxel size, finer than the network's, from its interpolated probabilities."""

WELL_SEEN_HEAT = 0.7
"""A body whose centre heat is lower is less sure to be one: its level's confidence falls with it."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """The three networks, in the order they look."""

    locate: NetworkRunner
    delineate: NetworkRunner
    refine: BodyRefiner


def load_networks(weights_folder: Path = WEIGHTS_FOLDER, compute: Compute | None = None) -> Networks:
    """All networks, with their weights checked; a folder of a site's own weights may lack `refine`, then the shipped one follows them."""
    refine_folder = weights_folder if (weights_folder / "refine").is_dir() else WEIGHTS_FOLDER
    return Networks(
        locate=NetworkRunner(load_bundle("locate", weights_folder), compute),
        delineate=NetworkRunner(load_bundle("delineate", weights_folder), compute),
        refine=BodyRefiner(load_bundle("refine", refine_folder), compute),
    )


class SpineSegmenter:
    """The networks, loaded once and kept; the same volume gives the same answer on the same machine.

    Parameters
    ----------
    weights_folder : folder with the bundles ``locate``, ``delineate`` and ``refine``.
    compute : device, engine and precision of all.
    """

    def __init__(self, weights_folder: Path = WEIGHTS_FOLDER, compute: Compute | None = None) -> None:
        self._networks = load_networks(weights_folder, compute)
        bundles = (self._networks.locate.bundle, self._networks.delineate.bundle, self._networks.refine.bundle)
        self.engine = self._networks.delineate.engine
        self.weights_sha256 = hashlib.sha256("".join(bundle.weights_sha256 for bundle in bundles).encode()).hexdigest()

    def segment(self, volume: Volume, progress: Progress | None = None) -> SpineSegmentation | None:
        """Vertebrae of a volume, or None where no thoracic or lumbar vertebra is in view."""
        report = progress or (lambda _stage, _share: None)
        volume = volume.along_lps()
        started = time.perf_counter()
        located = locate_column(volume, self._networks.locate, lambda share: report("locate", share))
        located_at = time.perf_counter()
        if located is None:
            return None
        seen = delineate_column(
            volume, located.low_lps_mm, located.high_lps_mm, self._networks.delineate, lambda share: report("delineate", share)
        )
        maps, grid = seen.maps, seen.grid
        delineated_at = time.perf_counter()
        voxel_mm, voxel_ml = float(grid.spacing_xyz_mm[0]), grid.voxel_volume_mm3 / 1000.0
        sacrum = sacrum_mask(maps, voxel_ml)
        peaks = heat_peaks(maps.heat, maps.body > 0.5, voxel_mm, grid.voxel_to_lps[:3, 3])
        levels = coarse_levels(peaks, located)
        placed = [
            replace(peak, usual_step_mm=usual_step_mm(level)) if np.isfinite(level) else peak
            for peak, level in zip(peaks, levels, strict=True)
        ]
        chain = column_chain(placed, disc_between(maps.body, voxel_mm))
        chain = drop_sacral_bodies(chain, sacrum, grid)
        chain, instances = bodies_of(maps, chain, voxel_mm)
        if not chain:
            return None
        ribs = rib_probability(chain, maps, grid, located.low_lps_mm, located.high_lps_mm)
        last_rib = last_rib_length(chain, ribs, maps, grid, volume)
        evidence = ColumnEvidence(
            steps=chain_step_levels(chain_steps_mm(chain)),
            steps_mm=chain_steps_mm(chain),
            sacrum_below=sacrum_below(chain, sacrum, grid),
            rib_probability=ribs,
            last_rib_length_mm=last_rib.length_mm,
            last_rib_whole=last_rib.whole,
            level_index=coarse_levels(chain, located),
        )
        named = name_column(evidence)
        posterior = assign_posterior(maps.posterior > BODY_PROBABILITY, instances, named.names, voxel_mm)
        labels = np.array([0, *(LABEL_OF_LEVEL[name] for name in named.names)], dtype=np.uint8)
        found = (instances > 0) | (posterior > 0) | (False if sacrum is None else sacrum)
        fine = fine_maps(seen, instances, found, volume.grid.voxel_to_lps[:3, 3])
        outlined = fine.outlined(INSIDE_MARGIN)
        if not seen.noisy:
            outlined = self._networks.refine.outline(volume, fine, outlined)
        bodies, arches = _fine_masks(volume, seen, fine, outlined, posterior, sacrum, labels)
        confidence = [sure * min(candidate.heat / WELL_SEEN_HEAT, 1.0) for sure, candidate in zip(named.confidence, chain, strict=True)]
        vertebrae = list_vertebrae(volume, bodies, named.names, confidence)
        kept = {vertebra.label for vertebra in vertebrae} | {SACRUM_LABEL}
        bodies.labels_zyx[~np.isin(bodies.labels_zyx, list(kept))] = 0
        arches.labels_zyx[~np.isin(arches.labels_zyx, list(kept))] = 0
        if not vertebrae:
            return None
        finished = time.perf_counter()
        return SpineSegmentation(
            vertebrae=vertebrae,
            numbering=named.decision,
            bodies=bodies,
            posterior=arches,
            weights_sha256=self.weights_sha256,
            backend=BACKEND_NAME,
            timing_s={"locate": located_at - started, "delineate": delineated_at - located_at, "name": finished - delineated_at},
        )


def bodies_of(maps: ClassMaps, chain: list[BodyCandidate], voxel_mm: float) -> tuple[list[BodyCandidate], NDArray[np.int16]]:
    """The chain without members that turned out to be specks, and the instances of the rest."""
    instances = split_bodies(maps, chain, voxel_mm)
    parted = part_merged_bodies(instances, chain, voxel_mm)
    if len(parted) > len(chain):
        chain, instances = parted, split_bodies(maps, parted, voxel_mm)
    volumes = body_volumes_ml(instances, len(chain), voxel_mm)
    real = [candidate for candidate, volume in zip(chain, volumes, strict=True) if volume >= SMALLEST_BODY_ML]
    if len(real) < len(chain):
        instances = split_bodies(maps, real, voxel_mm)
    return real, instances


def _upsample(field: NDArray[np.float32], grid: Grid, target: Grid) -> NDArray[np.float32]:
    """A field of one LPS-parallel grid on another one, linear between its voxels; beyond its end the outermost ones go on.

    Both grids are parallel, so one small matrix along each axis does it, four times as fast as interpolation voxel by voxel.
    """
    along_z, along_y, along_x = (_linear_weights(places, size) for places, size in zip(_places_zyx(grid, target), field.shape, strict=True))
    slices = (along_z @ field.reshape(len(field), -1)).reshape(len(along_z), *field.shape[1:])
    out: NDArray[np.float32] = along_y @ slices @ along_x.T
    return out


def _nearest(field: NDArray[Any], grid: Grid, target: Grid) -> NDArray[Any]:
    """The value of the nearest voxel of one LPS-parallel grid at each voxel of another one."""
    places = zip(_places_zyx(grid, target), field.shape, strict=True)
    out: NDArray[Any] = field[np.ix_(*(np.clip(np.floor(along + 0.5), 0, size - 1).astype(int) for along, size in places))]
    return out


def _places_zyx(grid: Grid, target: Grid) -> list[NDArray[np.float64]]:
    """Where the target's planes lie along each axis of a grid, in its voxels."""
    step = target.spacing_xyz_mm[0] / grid.spacing_xyz_mm[0]
    offset = grid.to_voxel(target.voxel_to_lps[:3, 3])[::-1]
    return [first + step * np.arange(count) for first, count in zip(offset, target.shape_zyx, strict=True)]


def _linear_weights(places: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Weights (places, size) of linear interpolation."""
    inside = np.clip(places, 0, size - 1)
    lower = np.minimum(inside.astype(int), max(size - 2, 0))
    rows = np.arange(len(places))
    weights = np.zeros((len(places), size), dtype=np.float32)
    weights[rows, lower] = 1 - (inside - lower)
    weights[rows, np.minimum(lower + 1, size - 1)] += inside - lower
    return weights


def fine_maps(
    seen: Delineation, instances: NDArray[np.int16], found: NDArray[np.bool_], first_voxel_lps_mm: NDArray[np.float64]
) -> FineMaps:
    """What both looks said, at the output voxel size, in the part of the crop where something was found.

    Their lattice goes through the CT's first voxel: laid over the CT, or over a mask made from it, no edge moves by half a voxel.
    """
    # Distances and interpolation only where something was found: most of the grid is soft tissue.
    box = box_around(found, margin=3)
    first, second = (look.crop(box) for look in seen.looks)
    grid = first.grid
    low, high = grid.bounds_lps_mm()
    target = analysis_grid(low - OUTPUT_SPACING_MM, high + OUTPUT_SPACING_MM, OUTPUT_SPACING_MM, through_lps_mm=first_voxel_lps_mm)
    distance, nearest = ndimage.distance_transform_edt(instances[box] == 0, return_distances=True, return_indices=True)
    spread = np.where(distance <= 2.0, instances[box][tuple(nearest)], 0)
    near = np.where(spread > 0, first.body_margin, np.float32(-1.0))
    return FineMaps(
        margin=(_upsample(near, grid, target) + _upsample(second.body_margin, second.grid, target)) * np.float32(0.5),
        instance=_nearest(spread.astype(np.int16), grid, target),
        posterior=(_upsample(first.posterior, grid, target) + _upsample(second.posterior, second.grid, target)) * np.float32(0.5),
        grid=target,
    )


def _fine_masks(
    volume: Volume,
    seen: Delineation,
    maps: FineMaps,
    outlined: NDArray[np.int16],
    posterior: NDArray[np.int16],
    sacrum: NDArray[np.bool_] | None,
    labels: NDArray[np.uint8],
) -> tuple[LabelVolume, LabelVolume]:
    """Masks at the output voxel size: bodies as outlined, around them the posterior elements and the sacrum that both looks saw."""
    grid, target = seen.grid, maps.grid
    bodies = labels[outlined]
    if sacrum is not None:
        bodies[(_upsample(sacrum.astype(np.float32), grid, target) > 0.5) & (bodies == 0)] = SACRUM_LABEL
    distance, nearest = ndimage.distance_transform_edt(posterior == 0, return_distances=True, return_indices=True)
    near = _nearest(distance <= 2.0, grid, target)
    arch_which = _nearest(posterior[tuple(nearest)], grid, target)
    near &= (bodies == 0) & (maps.posterior > EDGE_PROBABILITY)
    doubtful = near & (maps.posterior <= BODY_PROBABILITY)
    bone = near.copy()
    bone[doubtful] = _is_bone_of_arch(volume, seen, target.to_lps(np.argwhere(doubtful)[:, ::-1]), maps.posterior[doubtful])
    bone |= small_gaps(bone | (bodies > 0), OUTPUT_SPACING_MM) & near
    arches = np.where(bone, labels[arch_which], 0).astype(np.uint8)
    given_up = (maps.margin > INSIDE_MARGIN) & (bodies == 0) & (arches == 0) & (maps.posterior > PEDICLE_ROOT_PROBABILITY)
    arches[given_up] = labels[maps.instance[given_up]]
    return LabelVolume(labels_zyx=bodies, grid=target), LabelVolume(labels_zyx=arches, grid=target)


def _is_bone_of_arch(
    volume: Volume, seen: Delineation, points_lps_mm: NDArray[np.float64], probability: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Which points (n, 3) inside the edge of bone are rather posterior elements, of this probability (n), than rib."""
    voxels = np.moveaxis(seen.grid.to_voxel(points_lps_mm)[:, ::-1], -1, 0)
    edge, rib = (
        ndimage.map_coordinates(field, voxels, output=np.float32, order=1, mode="nearest")
        for field in (edge_hu(seen.hu_zyx, float(seen.grid.spacing_xyz_mm[0])), seen.maps.rib)
    )
    bone: NDArray[np.bool_] = (volume.sample(points_lps_mm) > edge) & (probability > rib)
    return bone
