"""Dice and HD95 of every label of two label volumes, label by label in its own bounding box."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.evaluation.surface_distance import border_points_mm, hd95_mm
from trabecula_morphometry.errors import GeometryError
from trabecula_morphometry.levels import LEVEL_OF_LABEL
from trabecula_morphometry.volume import Grid, LabelVolume

Box = tuple[slice, slice, slice]

_SAME_MM = 1e-3
"""Affines that differ by less are the same, written by two programs."""

VERTEBRA_LABELS: tuple[int, ...] = tuple(LEVEL_OF_LABEL)
"""What is scored: free vertebrae. Neither dataset labels the sacrum (26) or foreign material, so they never count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Two masks of one structure compared.

    ``dice`` is 2|A and B| / (|A| + |B|), 1 where both are empty (VerSe's evaluation code); ``hd95_mm`` is None where one is empty.
    """

    reference_mm3: float
    predicted_mm3: float
    dice: float
    hd95_mm: float | None


def label_overlaps(reference: LabelVolume, prediction: LabelVolume, labels: Iterable[int] = VERTEBRA_LABELS) -> dict[int, Overlap]:
    """Compare every label that at least one of two volumes on the same grid holds.

    Parameters
    ----------
    reference, prediction : labels (VerSe numbers) on one grid.
    labels : which labels to look at.

    Returns
    -------
    overlaps : by label; labels that neither volume holds are left out.

    Raises
    ------
    GeometryError : the volumes lie on different grids.
    """
    _check_same_grid(reference.grid, prediction.grid)
    boxes_r, boxes_p = ndimage.find_objects(reference.labels_zyx), ndimage.find_objects(prediction.labels_zyx)
    overlaps = {}
    for label in labels:
        box = _union(_box(boxes_r, label), _box(boxes_p, label))
        if box is not None:
            overlaps[label] = _overlap(reference.labels_zyx[box] == label, prediction.labels_zyx[box] == label, box, reference.grid)
    return overlaps


def on_grid(volume: LabelVolume, grid: Grid) -> LabelVolume:
    """Labels at another grid's voxels (nearest); on the same grid, the labels as they are."""
    return LabelVolume(labels_zyx=volume.labels_zyx, grid=grid) if _is_same_grid(volume.grid, grid) else volume.resample(grid)


def spine_overlap(reference: LabelVolume, prediction: LabelVolume) -> Overlap:
    """All vertebrae as one structure: the "whole spine (binary classification)" of CTSpine1K's Table 2."""
    _check_same_grid(reference.grid, prediction.grid)
    keep = np.zeros(256, dtype=bool)
    keep[list(VERTEBRA_LABELS)] = True
    boxes = [
        _box(boxes, label)
        for boxes in (ndimage.find_objects(reference.labels_zyx), ndimage.find_objects(prediction.labels_zyx))
        for label in VERTEBRA_LABELS
    ]
    box: Box | None = None
    for one in boxes:
        box = _union(box, one)
    if box is None:
        return Overlap(reference_mm3=0.0, predicted_mm3=0.0, dice=1.0, hd95_mm=None)
    return _overlap(keep[reference.labels_zyx[box]], keep[prediction.labels_zyx[box]], box, reference.grid)


def share_on_vertebrae(reference: LabelVolume, prediction: LabelVolume, label: int) -> float:
    """Share of a predicted label's voxels that lie on any vertebra of the reference; 0 where the label is absent."""
    box = _box(ndimage.find_objects(prediction.labels_zyx), label)
    if box is None:
        return 0.0
    under = reference.labels_zyx[box][prediction.labels_zyx[box] == label]
    return float(np.isin(under, VERTEBRA_LABELS).mean())


def mask_centers_mm(volume: LabelVolume, labels: Iterable[int] = VERTEBRA_LABELS) -> dict[int, tuple[float, float, float]]:
    """Centre of mass of every label present, LPS millimetres: what VerSe's ``calc_centroids`` gives for a mask of vertebrae."""
    boxes = ndimage.find_objects(volume.labels_zyx)
    centers: dict[int, tuple[float, float, float]] = {}
    for label in labels:
        box = _box(boxes, label)
        if box is not None:
            zyx = np.argwhere(volume.labels_zyx[box] == label).mean(axis=0) + [part.start for part in box]
            x, y, z = volume.grid.to_lps(zyx[::-1])
            centers[label] = (float(x), float(y), float(z))
    return centers


def _overlap(in_reference: NDArray[np.bool_], in_prediction: NDArray[np.bool_], box: Box, grid: Grid) -> Overlap:
    first = (box[0].start, box[1].start, box[2].start)
    count_r, count_p = int(np.count_nonzero(in_reference)), int(np.count_nonzero(in_prediction))
    common = int(np.count_nonzero(in_reference & in_prediction))
    distance = hd95_mm(border_points_mm(in_reference, first, grid), border_points_mm(in_prediction, first, grid))
    return Overlap(
        reference_mm3=count_r * grid.voxel_volume_mm3,
        predicted_mm3=count_p * grid.voxel_volume_mm3,
        dice=2 * common / (count_r + count_p),
        hd95_mm=distance,
    )


def _box(boxes: list[Box | None], label: int) -> Box | None:
    return boxes[label - 1] if label <= len(boxes) else None


def _union(a: Box | None, b: Box | None) -> Box | None:
    if a is None or b is None:
        return a or b
    z, y, x = (slice(min(one.start, two.start), max(one.stop, two.stop)) for one, two in zip(a, b, strict=True))
    return z, y, x


def _is_same_grid(a: Grid, b: Grid) -> bool:
    return a.shape_zyx == b.shape_zyx and np.allclose(a.voxel_to_lps, b.voxel_to_lps, atol=_SAME_MM)


def _check_same_grid(a: Grid, b: Grid) -> None:
    if not _is_same_grid(a, b):
        raise GeometryError("two label volumes lie on different grids", hint="resample the prediction onto the reference's grid first")
