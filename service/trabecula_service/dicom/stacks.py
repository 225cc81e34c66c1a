"""Sorts the slices of a series into stacks that can be one volume each: one plane orientation, one acquisition, each place once."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.errors import GeometryError, InputError
from trabecula_service.dicom import header as tags
from trabecula_service.dicom.geometry import SliceFrame, along_normal_mm, is_even, position_groups, slice_frame
from trabecula_service.dicom.pixels import decode_file
from trabecula_service.dicom.slices import SliceRecord

_SAME_DIRECTION = 2e-3
_SAME_SPACING = 1e-3
_FEWEST_SLICES = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """Slices that lie one behind the other, each at a place of its own.

    ``repeated`` slices were left out because an equal one is in the stack, ``conflicting`` ones because another image came first under
    the same SOP instance UID. ``unplaced`` says why the slices have no place in space (then ``frame`` is None).
    ``frames_of_reference`` is how many UIDs of frames of reference the slices name.
    ``acquisition_number`` is the header's where all slices agree, or the running number of a part that the header does not number.
    """

    slices: tuple[SliceRecord, ...]
    frame: SliceFrame | None
    acquisition_number: int | None
    repeated: int = 0
    conflicting: int = 0
    unplaced: str = ""
    frames_of_reference: int = 1

    def positions_lps_mm(self) -> NDArray[np.float64]:
        """Positions (n, 3) of the slices."""
        return np.array([record.position_lps_mm for record in self.slices], dtype=np.float64)


def stacks_of(slices: Sequence[SliceRecord]) -> list[Stack]:
    """All stacks of one series; a slice is in exactly one, or was left out as repeated or conflicting."""
    unique, repeated, conflicting = _one_per_instance(slices)
    stacks = []
    for group in _by_plane(unique):
        stacks += _split(group)
    if stacks and (repeated or conflicting):
        largest = max(range(len(stacks)), key=lambda i: len(stacks[i].slices))
        old = stacks[largest]
        stacks[largest] = replace(old, repeated=old.repeated + repeated, conflicting=conflicting)
    return stacks


def _one_per_instance(slices: Sequence[SliceRecord]) -> tuple[list[SliceRecord], int, int]:
    """The first image of each SOP instance UID; how many others were equal, and how many were not."""
    first: dict[Hashable, SliceRecord] = {}
    repeated = conflicting = 0
    for number, record in enumerate(slices):
        key = (record.sop_instance_uid, record.frame) if record.sop_instance_uid else number
        if key not in first:
            first[key] = record
        elif _looks_equal(first[key], record):
            repeated += 1
        else:
            conflicting += 1
    return list(first.values()), repeated, conflicting


def _looks_equal(one: SliceRecord, other: SliceRecord) -> bool:
    same_place = one.position_lps_mm == other.position_lps_mm and one.orientation == other.orientation
    return same_place and _content(one) == _content(other)


def _by_plane(slices: Sequence[SliceRecord]) -> Iterator[list[SliceRecord]]:
    """Slices of equal size, spacing, direction and frame of reference; those that cannot be placed come last, together.

    Some de-identified archives (LIDC-IDRI) gave every image of a series a frame of reference of its own, though DICOM has one for all
    (PS3.3 C.7.4.1). So frames that hold too few slices for a stack count as one.
    """
    placed = [record for record in slices if record.has_geometry]
    frames: dict[str, list[SliceRecord]] = defaultdict(list)
    for record in placed:
        frames[tags.text(record.header, "FrameOfReferenceUID")].append(record)
    groups = [group for frame in frames.values() for group in _grouped_by_plane(frame)]
    crumbs = [record for group in groups if len(group) < _FEWEST_SLICES for record in group]
    yield from (group for group in groups if len(group) >= _FEWEST_SLICES)
    yield from _grouped_by_plane(crumbs)
    unplaced = [record for record in slices if not record.has_geometry]
    if unplaced:
        yield unplaced


def _grouped_by_plane(slices: Sequence[SliceRecord]) -> list[list[SliceRecord]]:
    """Each slice in the first group whose first slice lies in the same plane direction."""
    groups: list[list[SliceRecord]] = []
    for record in slices:
        for group in groups:
            if _same_plane(group[0], record):
                group.append(record)
                break
        else:
            groups.append([record])
    return groups


def _same_plane(one: SliceRecord, other: SliceRecord) -> bool:
    if (one.rows, one.columns) != (other.rows, other.columns):
        return False
    spacing, direction = (one.pixel_spacing_mm or (), other.pixel_spacing_mm or ()), (one.orientation or (), other.orientation or ())
    return bool(np.allclose(*spacing, rtol=_SAME_SPACING, atol=0) and np.allclose(*direction, rtol=0, atol=_SAME_DIRECTION))


def _split(group: list[SliceRecord]) -> list[Stack]:
    """The acquisitions in slices of one plane direction."""
    first = group[0]
    if first.orientation is None or first.pixel_spacing_mm is None or not first.has_geometry:
        missing = [
            keyword
            for keyword, value in (
                ("ImagePositionPatient", first.position_lps_mm),
                ("ImageOrientationPatient", first.orientation),
                ("PixelSpacing", first.pixel_spacing_mm),
            )
            if value is None
        ]
        return [_stack(group, None, unplaced=f"{' and '.join(missing)} missing or not a number.")]
    try:
        frame = slice_frame(first.orientation, first.pixel_spacing_mm, first.rows, first.columns)
    except GeometryError as error:
        return [_stack(group, None, unplaced=f"{error.what[0].upper()}{error.what[1:]}.")]
    parts = _acquisitions(group, frame)
    repeated = 0
    if any(_collides(part, frame) for part in parts):
        group, repeated = _without_equal_neighbours(group, frame)
        parts = _acquisitions(group, frame)
    if any(_collides(part, frame) for part in parts):
        parts = _in_runs(group, frame)
    numbers = [_common_number(part) for part in parts]
    if len(parts) > 1 and (None in numbers or len(set(numbers)) < len(numbers)):
        numbers = list(range(1, len(parts) + 1))
    said_once = [repeated] + [0] * (len(parts) - 1)
    return [_stack(p, frame, number=number, repeated=said) for p, number, said in zip(parts, numbers, said_once, strict=True)]


def _stack(part: list[SliceRecord], frame: SliceFrame | None, *, number: int | None = None, repeated: int = 0, unplaced: str = "") -> Stack:
    return Stack(
        slices=tuple(part),
        frame=frame,
        acquisition_number=number,
        repeated=repeated,
        unplaced=unplaced,
        frames_of_reference=len({tags.text(record.header, "FrameOfReferenceUID") for record in part}),
    )


def _common_number(part: list[SliceRecord]) -> int | None:
    found = {record.acquisition_number for record in part}
    return found.pop() if len(found) == 1 else None


def _distances(slices: Sequence[SliceRecord], frame: SliceFrame) -> NDArray[np.float64]:
    return along_normal_mm(np.array([record.position_lps_mm for record in slices], dtype=np.float64), frame)


def _collides(slices: Sequence[SliceRecord], frame: SliceFrame) -> bool:
    return len(set(position_groups(_distances(slices, frame)).tolist())) < len(slices)


_KEYS: tuple[Callable[[SliceRecord], Hashable], ...] = (
    lambda record: record.acquisition_number,
    lambda record: record.temporal_position,
    lambda record: record.time,
)


def _acquisitions(group: list[SliceRecord], frame: SliceFrame) -> list[list[SliceRecord]]:
    """Split by the first element that parts the slices into acquisitions; the whole group where nothing needs or allows a split.

    Acquisition numbers alone are no reason: sequential scanners number each rotation. A split is made where images share a place, or
    where parts that are even by themselves overlap and are uneven together.
    """
    if len(group) < _FEWEST_SLICES:
        return [group]
    distances = _distances(group, frame)
    places, counts = np.unique(position_groups(distances), return_counts=True)
    collides = len(places) < len(group)
    if not collides and is_even(distances):
        return [group]
    for key in _KEYS:
        parts: dict[Hashable, list[SliceRecord]] = defaultdict(list)
        for record in group:
            parts[key(record)].append(record)
        found = list(parts.values())
        if not 1 < len(found) <= 2 * max(int(counts.max()), 2) or any(_collides(part, frame) for part in found):
            continue
        if collides or _overlap_evenly(found, frame):
            return found
    return [group]


def _overlap_evenly(parts: list[list[SliceRecord]], frame: SliceFrame) -> bool:
    if any(len(part) < _FEWEST_SLICES for part in parts):
        return False
    reaches = sorted((float(d.min()), float(d.max())) for d in (_distances(part, frame) for part in parts))
    overlap = any(low < previous_high for (_, previous_high), (low, _) in pairwise(reaches))
    return overlap and all(is_even(_distances(part, frame)) for part in parts)


def _without_equal_neighbours(group: list[SliceRecord], frame: SliceFrame) -> tuple[list[SliceRecord], int]:
    """Leave out slices with the same pixels at the same place (a series sent twice under new UIDs)."""
    places = position_groups(_distances(group, frame))
    shared = {int(place) for place, count in zip(*np.unique(places, return_counts=True), strict=True) if count > 1}
    seen: set[tuple[int, bytes]] = set()
    kept = []
    for place, record in zip(places.tolist(), group, strict=True):
        if place in shared:
            key = (place, _content(record))
            if key in seen:
                continue
            seen.add(key)
        kept.append(record)
    return kept, len(group) - len(kept)


def _content(record: SliceRecord) -> bytes:
    """Hash of the HU; of an image that cannot be decoded, of its name, so that it equals no other."""
    try:
        return hashlib.sha256(decode_file([record])[0].hu.tobytes()).digest()
    except InputError:
        return f"{record.file.path}:{record.frame}".encode()


def _in_runs(group: list[SliceRecord], frame: SliceFrame) -> list[list[SliceRecord]]:
    """Split in order of time and instance number: a run ends where the table turns back, jumps, or comes to a place it was at.

    Where that does not part them (phases stored slice by slice), the n-th image of each place belongs to the n-th part.
    """
    ordered = sorted(group, key=lambda record: (record.time, record.instance_number or 0))
    distances = _distances(ordered, frame)
    steps = np.diff(distances)
    moving = np.abs(steps[np.abs(steps) > 0.02])
    usual = float(np.median(moving)) if len(moving) else 0.0
    places = position_groups(distances).tolist()
    runs: list[list[SliceRecord]] = [[ordered[0]]]
    visited, heading = {places[0]}, 0.0
    for record, place, step in zip(ordered[1:], places[1:], steps, strict=True):
        if place in visited or step * heading < 0 or abs(step) > 3.01 * usual:
            runs.append([])
            visited, heading = set(), 0.0
        else:
            heading = step
        runs[-1].append(record)
        visited.add(place)
    most = max(places.count(place) for place in set(places))
    if len(runs) <= 2 * most:
        return runs
    parts: list[list[SliceRecord]] = [[] for _ in range(most)]
    met: dict[int, int] = defaultdict(int)
    for record, place in zip(ordered, places, strict=True):
        parts[met[place]].append(record)
        met[place] += 1
    return parts
