"""From a foreign model's mask (one number per vertebra) to a segmentation like the built-in one: bodies apart, names checked."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.anchors import RIB_SIDE_MM, SACRUM_LEAST_ML, rib_pair_probability, rib_probability, sacrum_below
from trabecula_models.backends.label_map import RIB_NUMBER, Parts
from trabecula_models.bodies import SMALLEST_BODY_ML
from trabecula_models.column import BodyCandidate, chain_step_levels, chain_steps_mm
from trabecula_models.column_pose import column_pose
from trabecula_models.fine_masks import OUTPUT_SPACING_MM
from trabecula_models.level_evidence import ColumnEvidence
from trabecula_models.listing import list_vertebrae
from trabecula_models.naming import NamedColumn, name_column
from trabecula_models.segmentation import NameAlternative, NameDecision, SpineSegmentation
from trabecula_models.synthesis.body_split import largest_part, split_vertebrae
from trabecula_morphometry.levels import LABEL_OF_LEVEL, LEVEL_OF_LABEL, LEVELS_IN_ORDER, SACRUM_LABEL, level_position
from trabecula_morphometry.mask_sampling import resample_masks
from trabecula_morphometry.volume import LabelVolume, Volume, analysis_grid

MARGIN_MM = 4.0

UNCHECKED_CONFIDENCE = 0.5
"""Confidence of names that our own reading of the column contradicts."""

_FIRST_RANK = 7
"""``split_vertebrae`` takes ranks 7 to 25 and looks at the neighbours' ranks for the column's direction: T1 gets the first."""


def spine_from_labels(volume: Volume, labels: LabelVolume, parts: Parts, *, backend: str, weights_sha256: str) -> SpineSegmentation | None:
    """A segmentation from a mask in VerSe numbers, or None where it shows no thoracic or lumbar vertebra.

    Parameters
    ----------
    volume : the series, whose grid is the field of view.
    labels : the model's mask in VerSe numbers, on any grid. Cervical vertebrae are left out.
    parts : whether the mask shows whole vertebrae (their bodies are then split off) or bodies only.

    Notes
    -----
    The names are the model's. They count as certain only where our own reading of the column (sacrum below, ribs beside, distances)
    comes to the same names and is certain itself; where it comes to others, its shift is an alternative. A model whose names are not
    in order along the column is not believed: the column is then named anew, uncertain.
    """
    fine = _fine_labels(labels)
    if fine is None:
        return None
    bodies_zyx, posterior_zyx = _split(fine, parts)
    chain, given = _chain(bodies_zyx, fine)
    if not chain:
        return None
    sacrum = _sacrum(fine)
    named, decision = _decide(chain, given, sacrum, _ribs(volume, chain, fine, posterior_zyx), fine)
    renumber = np.zeros(256, dtype=np.uint8)
    for model_name, name in zip(given, named.names, strict=True):
        renumber[LABEL_OF_LEVEL[model_name]] = LABEL_OF_LEVEL[name]
    bodies = LabelVolume(labels_zyx=renumber[bodies_zyx], grid=fine.grid)
    posterior = LabelVolume(labels_zyx=renumber[posterior_zyx], grid=fine.grid)
    vertebrae = list_vertebrae(volume, bodies, named.names, named.confidence)
    if not vertebrae:
        return None
    listed = [vertebra.label for vertebra in vertebrae]
    for mask in (bodies, posterior):
        mask.labels_zyx[~np.isin(mask.labels_zyx, listed)] = 0
    if sacrum is not None:
        bodies.labels_zyx[sacrum & (bodies.labels_zyx == 0)] = SACRUM_LABEL
    return SpineSegmentation(
        vertebrae=vertebrae, numbering=decision, bodies=bodies, posterior=posterior, weights_sha256=weights_sha256, backend=backend
    )


def _fine_labels(labels: LabelVolume) -> LabelVolume | None:
    """Thoracic and lumbar vertebrae, sacrum and ribs near them on an LPS-parallel grid of 1 mm; None without any of the first three."""
    wanted = np.zeros(256, dtype=np.uint8)
    wanted[[LABEL_OF_LEVEL[name] for name in LEVELS_IN_ORDER if name[0] in "TL"]] = 1
    wanted[SACRUM_LABEL] = 1
    kept = wanted.copy()
    kept[RIB_NUMBER] = 1
    boxes = ndimage.find_objects(wanted[labels.labels_zyx], max_label=1)
    if boxes[0] is None:
        return None
    corners = np.array(np.meshgrid(*[(s.start - 0.5, s.stop - 0.5) for s in boxes[0][::-1]])).reshape(3, -1).T
    points = labels.grid.to_lps(corners)
    room = np.array([RIB_SIDE_MM[0], MARGIN_MM, MARGIN_MM])
    (fine,) = resample_masks([labels], analysis_grid(points.min(axis=0) - room, points.max(axis=0) + room, OUTPUT_SPACING_MM))
    fine.labels_zyx[kept[fine.labels_zyx] == 0] = 0
    return fine


def _split(fine: LabelVolume, parts: Parts) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Bodies and posterior elements, VerSe numbers; each body in one piece, without specks."""
    vertebrae = np.where(np.isin(fine.labels_zyx, (SACRUM_LABEL, RIB_NUMBER)), 0, fine.labels_zyx).astype(np.uint8)
    inside = vertebrae > 0
    if parts is Parts.VERTEBRA:
        inside, _ = split_vertebrae(_ranks(vertebrae))
    bodies = np.where(inside, vertebrae, 0).astype(np.uint8)
    smallest = SMALLEST_BODY_ML * 1000.0 / fine.grid.voxel_volume_mm3
    for label, box in enumerate(ndimage.find_objects(bodies), start=1):
        if box is None:
            continue
        mine = bodies[box] == label
        kept = largest_part(mine)
        bodies[box][mine & ~kept] = 0
        if kept.sum() < smallest:
            bodies[box][kept] = 0
    return bodies, np.where(bodies > 0, 0, vertebrae).astype(np.uint8)


def _ranks(vertebrae: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Ranks from T1 = 7 in place of VerSe numbers, so that T13 stands between T12 and L1."""
    present = {LEVEL_OF_LABEL[int(label)] for label in np.unique(vertebrae) if label}
    ordered = [name for name in LEVELS_IN_ORDER if name[0] in "TL" and (name != "T13" or name in present)]
    table = np.zeros(256, dtype=np.uint8)
    for rank, name in enumerate(ordered, start=_FIRST_RANK):
        table[LABEL_OF_LEVEL[name]] = rank
    return table[vertebrae]


def _chain(bodies: NDArray[np.uint8], fine: LabelVolume) -> tuple[list[BodyCandidate], list[str]]:
    """The bodies cranial to caudal, and the names that the model gave them."""
    found = []
    labels = [label for label, box in enumerate(ndimage.find_objects(bodies), start=1) if box is not None]
    for label, voxel in zip(labels, np.array(ndimage.center_of_mass(bodies > 0, bodies, labels)).reshape(-1, 3), strict=True):
        z, y, x = (int(v) for v in np.rint(voxel))
        center = fine.grid.to_lps(voxel[::-1])
        found.append((BodyCandidate(voxel_zyx=(z, y, x), center_lps_mm=center, heat=1.0), LEVEL_OF_LABEL[label]))
    found.sort(key=lambda pair: -pair[0].center_lps_mm[2])
    return [candidate for candidate, _ in found], [name for _, name in found]


def _sacrum(fine: LabelVolume) -> NDArray[np.bool_] | None:
    mask = fine.labels_zyx == SACRUM_LABEL
    enough = mask.sum() * fine.grid.voxel_volume_mm3 / 1000.0 >= SACRUM_LEAST_ML
    return np.asarray(mask) if enough else None


def _ribs(
    volume: Volume, chain: list[BodyCandidate], fine: LabelVolume, posterior_zyx: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Chance of a rib beside each body, and of one on both sides; NaN and 0 where the model outlines no ribs at all, which says nothing of
    the patient's."""
    ribs = fine.labels_zyx == RIB_NUMBER
    if not ribs.any():
        return np.full(len(chain), np.nan), np.zeros(len(chain))
    field = volume.grid.bounds_lps_mm()
    centers = np.array([candidate.center_lps_mm for candidate in chain])
    pose = column_pose(centers, fine.grid.to_lps(np.argwhere(posterior_zyx)[:, ::-1]), fine.grid.voxel_volume_mm3)
    return rib_probability(pose, ribs, fine.grid, *field), rib_pair_probability(pose, ribs, fine.grid, *field)


def _decide(
    chain: list[BodyCandidate],
    given: list[str],
    sacrum: NDArray[np.bool_] | None,
    ribs: tuple[NDArray[np.float64], NDArray[np.float64]],
    fine: LabelVolume,
) -> tuple[NamedColumn, NameDecision]:
    """The names with their confidence, and how sure they are."""
    steps_mm = chain_steps_mm(chain)
    evidence = ColumnEvidence(
        steps=chain_step_levels(steps_mm),
        steps_mm=steps_mm,
        sacrum_below=sacrum_below(chain, sacrum, fine.grid),
        rib_probability=ribs[0],
        rib_pair_probability=ribs[1],
        level_index=np.array([_usual_rank(name) for name in given]),
    )
    ours = name_column(evidence)
    positions = [level_position(name) for name in given]
    if positions != sorted(positions):
        decision = NameDecision(certain=False, anchors=ours.decision.anchors, alternatives=ours.decision.alternatives)
        return ours, decision
    if ours.names == tuple(given):
        return ours, ours.decision
    theirs = NamedColumn(names=tuple(given), confidence=(UNCHECKED_CONFIDENCE,) * len(given), decision=ours.decision)
    shift = int(np.rint(np.median([_usual_rank(a) - _usual_rank(b) for a, b in zip(ours.names, given, strict=True)])))
    alternatives = (NameAlternative(shift=shift, probability=UNCHECKED_CONFIDENCE),) if shift else ours.decision.alternatives
    variants = tuple(name for name in ("T13", "L6") if name in given)
    return theirs, NameDecision(certain=False, anchors=ours.decision.anchors, variants=variants, alternatives=alternatives)


def _usual_rank(name: str) -> float:
    """Rank in the usual column, C1 = 0; T13 lies between T12 and L1, as the coarse network's scale has it."""
    return 18.5 if name == "T13" else float(LABEL_OF_LEVEL[name] - 1)
