"""The built-in backend: from a CT volume to named vertebrae with their masks."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trabecula_models.anchors import (
    RIB_TRACED,
    coarse_levels,
    drop_sacral_bodies,
    last_rib_length,
    rib_mask,
    rib_pair_probability,
    rib_probability,
    sacrum_below,
    sacrum_mask,
    transverse_reach_mm,
)
from trabecula_models.bodies import (
    BODY_PROBABILITY,
    SMALLEST_BODY_ML,
    ClassMaps,
    body_volumes_ml,
    part_merged_bodies,
    recentred,
    split_bodies,
)
from trabecula_models.bundle import WEIGHTS_FOLDER, load_bundle
from trabecula_models.column import BodyCandidate, chain_step_levels, chain_steps_mm, column_chain, disc_between, heat_peaks
from trabecula_models.column_norms import tilts_deg
from trabecula_models.column_pose import column_pose
from trabecula_models.delineate import Delineation, delineate_column
from trabecula_models.fine_masks import INSIDE_MARGIN, fine_arches, fine_bodies, fine_maps
from trabecula_models.forward import Compute
from trabecula_models.inclusions import with_inclusions
from trabecula_models.inference import NetworkRunner
from trabecula_models.level_evidence import ColumnEvidence, usual_step_mm
from trabecula_models.listing import list_vertebrae
from trabecula_models.locate import LocatedColumn, further_down, locate_column
from trabecula_models.missed import with_missed_bodies
from trabecula_models.naming import name_column
from trabecula_models.pedicles import pedicle_distances_mm
from trabecula_models.posterior import assign_posterior
from trabecula_models.refine import BodyRefiner
from trabecula_models.segmentation import SpineSegmentation
from trabecula_models.transitional import WING_SEEN_APART_MM, likeliest_arches_and_sacrum, sacral_contact_mm2
from trabecula_morphometry.levels import LABEL_OF_LEVEL, SACRUM_LABEL
from trabecula_morphometry.volume import LabelVolume, Volume

BACKEND_NAME = "builtin"

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
        located, seen, sacrum = self._delineated(volume, located, lambda share: report("delineate", share))
        delineated_at = time.perf_counter()
        chain, instances = _found_bodies(located, seen, sacrum)
        if not chain:
            return None
        named = name_column(_evidence(volume, located, seen, sacrum, chain, instances))
        bodies, arches = self._masks(volume, seen, sacrum, instances, named.names)
        confidence = [sure * min(candidate.heat / WELL_SEEN_HEAT, 1.0) for sure, candidate in zip(named.confidence, chain, strict=True)]
        vertebrae = list_vertebrae(volume, bodies, named.names, confidence)
        if not vertebrae:
            return None
        kept = {vertebra.label for vertebra in vertebrae} | {SACRUM_LABEL}
        for mask in (bodies, arches):
            mask.labels_zyx[~np.isin(mask.labels_zyx, list(kept))] = 0
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

    def _masks(
        self, volume: Volume, seen: Delineation, sacrum: NDArray[np.bool_] | None, instances: NDArray[np.int16], names: tuple[str, ...]
    ) -> tuple[LabelVolume, LabelVolume]:
        """Bodies (with the sacrum) and posterior elements at the output voxel size, VerSe numbers; `refine` outlines the bodies."""
        labels = np.array([0, *(LABEL_OF_LEVEL[name] for name in names)], dtype=np.uint8)
        posterior = assign_posterior(seen.maps.posterior > BODY_PROBABILITY, instances, names, float(seen.grid.spacing_xyz_mm[0]))
        found = (instances > 0) | (posterior > 0) | (False if sacrum is None else sacrum)
        fine = fine_maps(seen, instances, found, volume.grid.voxel_to_lps[:3, 3])
        outlined = fine.outlined(INSIDE_MARGIN)
        if not seen.noisy:
            outlined = self._networks.refine.outline(volume, fine, outlined)
        outlined = with_inclusions(outlined, fine.grid, volume)
        bodies = fine_bodies(seen, fine, outlined, sacrum, labels)
        return bodies, fine_arches(volume, seen, fine, bodies, posterior, labels)

    def _delineated(
        self, volume: Volume, located: LocatedColumn, report: Callable[[float], None]
    ) -> tuple[LocatedColumn, Delineation, NDArray[np.bool_] | None]:
        """What the fine network sees of the column and its sacrum, with one look further down where no sacrum is seen.

        One look only: in a scan that goes on to the feet the crop, and with it time and memory, would grow with the scan.
        """
        seen = delineate_column(volume, located.low_lps_mm, located.high_lps_mm, self._networks.delineate, report)
        sacrum = sacrum_mask(seen.maps, seen.grid.voxel_volume_mm3 / 1000.0)
        longer = further_down(located, volume) if sacrum is None else None
        if longer is None:
            return located, seen, sacrum
        seen = delineate_column(volume, longer.low_lps_mm, longer.high_lps_mm, self._networks.delineate, report)
        return longer, seen, sacrum_mask(seen.maps, seen.grid.voxel_volume_mm3 / 1000.0)


def bodies_of(maps: ClassMaps, chain: list[BodyCandidate], voxel_mm: float) -> tuple[list[BodyCandidate], NDArray[np.int16]]:
    """The chain without members that turned out to be specks and with those that had run together, and its instances."""
    instances = split_bodies(maps, chain, voxel_mm)
    volumes = body_volumes_ml(instances, len(chain), voxel_mm)
    real = [candidate for candidate, volume in zip(chain, volumes, strict=True) if volume >= SMALLEST_BODY_ML]
    if len(real) < len(chain):
        instances = split_bodies(maps, real, voxel_mm)
    parted, instances = part_merged_bodies(instances, real, maps, voxel_mm)
    return with_missed_bodies(recentred(instances, parted, voxel_mm), instances, maps, voxel_mm)


def _found_bodies(
    located: LocatedColumn, seen: Delineation, sacrum: NDArray[np.bool_] | None
) -> tuple[list[BodyCandidate], NDArray[np.int16]]:
    """The bodies of the column cranial to caudal, and where each of them is (1, 2, ...) on the lattice of ``seen``."""
    maps, grid = seen.maps, seen.grid
    voxel_mm = float(grid.spacing_xyz_mm[0])
    peaks = heat_peaks(maps.heat, maps.body > BODY_PROBABILITY, voxel_mm, grid.voxel_to_lps[:3, 3])
    levels = coarse_levels(peaks, located)
    placed = [
        replace(peak, usual_step_mm=usual_step_mm(level)) if np.isfinite(level) else peak for peak, level in zip(peaks, levels, strict=True)
    ]
    chain = column_chain(placed, disc_between(maps.body, voxel_mm))
    return bodies_of(maps, drop_sacral_bodies(chain, sacrum, grid), voxel_mm)


def _evidence(
    volume: Volume,
    located: LocatedColumn,
    seen: Delineation,
    sacrum: NDArray[np.bool_] | None,
    chain: list[BodyCandidate],
    instances: NDArray[np.int16],
) -> ColumnEvidence:
    """What speaks for the names of the found bodies."""
    maps, grid = seen.maps, seen.grid
    field = (located.low_lps_mm, located.high_lps_mm)
    voxel_mm = float(grid.spacing_xyz_mm[0])
    centers = np.array([candidate.center_lps_mm for candidate in chain])
    arches = maps.posterior > BODY_PROBABILITY
    pose = column_pose(centers, grid.to_lps(np.argwhere(arches)[:, ::-1]), grid.voxel_volume_mm3)
    ribs = rib_probability(pose, rib_mask(maps, seen.hu_zyx), grid, *field)
    last_rib = last_rib_length(pose, ribs, maps, grid, volume)
    centers_zyx = grid.to_voxel(centers)[:, ::-1]
    steps_mm = chain_steps_mm(chain)
    wing_mm2 = 0.0
    if volume.grid.slice_spacing_mm <= WING_SEEN_APART_MM:
        wing_mm2 = sacral_contact_mm2(centers_zyx, pose.axes, instances, *likeliest_arches_and_sacrum(maps), voxel_mm)
    return ColumnEvidence(
        steps=chain_step_levels(steps_mm),
        steps_mm=steps_mm,
        sacrum_below=sacrum_below(chain, sacrum, grid),
        rib_probability=ribs,
        rib_pair_probability=rib_pair_probability(pose, maps.rib > RIB_TRACED, grid, *field),
        last_rib_length_mm=last_rib.length_mm,
        last_rib_whole=last_rib.whole,
        shortest_last_rib_mm=last_rib.shortest_whole_mm,
        level_index=coarse_levels(chain, located),
        process_reach_mm=transverse_reach_mm(pose, maps, grid, *field),
        pedicle_distance_mm=pedicle_distances_mm(centers_zyx, pose.axes, instances, arches, voxel_mm),
        tilt_deg=tilts_deg(centers),
        sacral_contact_mm2=wing_mm2,
        all_seen=not any(candidate.inferred for candidate in chain),
    )
