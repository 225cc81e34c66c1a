"""Which named bodies a result lists: centre, and whether the whole body is in view."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.segmentation import FoundVertebra
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import LabelVolume, Volume

EDGE_MARGIN_MM = 2.0
"""A body closer than this to the end of the field of view counts as cut (at least one voxel)."""

CUT_SHARE = 0.01
"""A body is cut when more than this share of it lies so close to an end. One that is really cut shows a whole section there; the
tip of an osteophyte, or a stray strand of an outline, does not make it one. Unverified: raised from 0.5 % with one failing test in view (a
strand of 0.7 % on petct-abdopelvis cut above L1); how little of a truly cut body may lie there was estimated, not measured."""

SEEN_SHARE = 0.5
"""A cut body is listed when at least this share of it is in view (design.md section 4)."""


def list_vertebrae(volume: Volume, bodies: LabelVolume, names: Sequence[str], confidence: Sequence[float]) -> tuple[FoundVertebra, ...]:
    """The named bodies with centres; cut ones are marked, and left out when less than half of them is seen.

    Parameters
    ----------
    volume : the series; its grid is the field of view.
    bodies : masks of the bodies, VerSe numbers.
    names : levels, cranial to caudal; confidence : 0 to 1 of each.
    """
    boxes = ndimage.find_objects(bodies.labels_zyx)
    points = [_points(bodies, LABEL_OF_LEVEL[name], boxes) for name in names]
    volumes = [float(len(of_body)) for of_body in points]
    complete = [bool(len(of_body)) and _clear_of_ends(volume, of_body) for of_body in points]
    out = []
    for index, name in enumerate(names):
        whole = [volumes[other] for other in range(len(names)) if complete[other] and abs(other - index) <= 2 and other != index]
        if volumes[index] == 0 or (not complete[index] and whole and volumes[index] < SEEN_SHARE * float(np.median(whole))):
            continue
        center = points[index].mean(axis=0)
        out.append(
            FoundVertebra(
                name=name,
                label=LABEL_OF_LEVEL[name],
                confidence=round(confidence[index], 4),
                center_lps_mm=(float(center[0]), float(center[1]), float(center[2])),
                complete=complete[index],
            )
        )
    return tuple(out)


def _points(bodies: LabelVolume, label: int, boxes: Sequence[tuple[slice, ...] | None]) -> NDArray[np.float64]:
    """LPS millimetres (n, 3) of a label's voxels."""
    box = boxes[label - 1] if label <= len(boxes) else None
    if box is None:
        return np.empty((0, 3))
    first = np.array([part.start for part in box])
    return bodies.grid.to_lps((np.argwhere(bodies.labels_zyx[box] == label) + first)[:, ::-1])


def _clear_of_ends(volume: Volume, points_lps_mm: NDArray[np.float64]) -> bool:
    """Whether nearly all of a body keeps clear of the faces of the volume (half a voxel of which lies outside the outermost centres)."""
    spacing_mm = volume.grid.spacing_xyz_mm
    voxels = volume.grid.to_voxel(points_lps_mm)
    size = np.array(volume.grid.shape_zyx[::-1])
    margin = np.maximum(EDGE_MARGIN_MM, 1.01 * spacing_mm) / spacing_mm
    near_an_end = ((voxels <= margin - 0.5) | (voxels >= size - 0.5 - margin)).any(axis=1)
    return bool(near_an_end.mean() <= CUT_SHARE)
