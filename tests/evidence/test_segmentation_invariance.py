"""However a patient lies on the grid, the same vertebrae are found, at the same place and with the same names.

One real CT and three digital patients, each stored and cut in other ways. Where a cut takes an anchor of the names away, the names may
turn uncertain with the old reading among the offered ones, but never certain and wrong.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.real_ct import load_dicom
from trabecula_models import segment
from trabecula_models.locate import LocatedColumn, locate_column
from trabecula_models.segment import SpineSegmenter
from trabecula_models.segmentation import SpineSegmentation
from trabecula_morphometry.digital_patient import PatientOptions, make_digital_patient
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import Grid, Volume

SAME_PLACE_MM = 1e-3
"""Another order of the same voxels changes nothing but rounding."""

NETWORK_VOXEL_MM = 1.5
"""The voxel of the fine network: what "within one voxel" means once the values themselves are other ones (cut, resampled)."""

PATIENTS = {
    "digital patient": PatientOptions(seed=31),
    "digital patient with scoliosis": PatientOptions(seed=32, scoliosis_deg=12.0, size=0.92, fractures=()),
    "digital patient, thick slices": PatientOptions(seed=33, spacing_xyz_mm=(1.0, 1.0, 3.0), noise_sd_hu=22.0, fractures=()),
}
REAL_CASE = "ircadb1-01"


def on_all_cases(*changes: tuple[str, object], always: str) -> pytest.MarkDecorator:
    """Every change on the real CT; on the digital patients one of them in every run, the others in the long one."""
    pairs = [pytest.param(REAL_CASE, change, marks=pytest.mark.real_ct, id=f"{REAL_CASE}: {name}") for name, change in changes]
    for patient in PATIENTS:
        marks = {name: () if name == always else pytest.mark.long for name, _ in changes}
        pairs += [pytest.param(patient, change, marks=marks[name], id=f"{patient}: {name}") for name, change in changes]
    return pytest.mark.parametrize(("case", "change"), pairs)


@pytest.fixture(scope="module")
def segmenter() -> SpineSegmenter:
    return SpineSegmenter()


@pytest.fixture(scope="module")
def volume_of(request: pytest.FixtureRequest) -> Callable[[str], Volume]:
    @cache
    def load(name: str) -> Volume:
        if name in PATIENTS:
            return make_digital_patient(PATIENTS[name]).volume
        shared: Path = request.getfixturevalue("shared")
        return load_dicom(shared / "ct" / name / "dicom")

    return load


@pytest.fixture(scope="module")
def found_in(segmenter: SpineSegmenter, volume_of: Callable[[str], Volume]) -> Callable[[str], SpineSegmentation]:
    @cache
    def find(name: str) -> SpineSegmentation:
        found = segmenter.segment(volume_of(name))
        assert found is not None
        return found

    return find


def stored_otherwise(volume: Volume, flipped_axes_zyx: tuple[int, ...], order_zyx: tuple[int, int, int]) -> Volume:
    """The same voxels at the same places, stored with some axes backwards and in another order."""
    matrix = volume.grid.voxel_to_lps.copy()
    first = np.zeros(3)
    for axis in flipped_axes_zyx:
        first[2 - axis] = volume.grid.shape_zyx[axis] - 1
        matrix[:3, 2 - axis] *= -1
    matrix[:3, 3] = volume.grid.to_lps(first)
    matrix[:3, :3] = matrix[:3, [2 - axis for axis in order_zyx[::-1]]]
    hu = np.ascontiguousarray(np.flip(volume.hu_zyx, flipped_axes_zyx).transpose(order_zyx))
    return Volume(hu_zyx=hu, grid=Grid(shape_zyx=hu.shape, voxel_to_lps=matrix))


def cut(volume: Volume, face: int, millimetres: float) -> Volume:
    """Without what lies within a distance of one face (0 caudal, 1 cranial, 2 front, 3 back, 4 right, 5 left)."""
    axis, at_end = divmod(face, 2)
    count = round(millimetres / float(volume.grid.spacing_xyz_mm[2 - axis]))
    box: list[slice] = [slice(0, size) for size in volume.grid.shape_zyx]
    box[axis] = slice(0, volume.grid.shape_zyx[axis] - count) if at_end else slice(count, volume.grid.shape_zyx[axis])
    return Volume(hu_zyx=np.ascontiguousarray(volume.hu_zyx[tuple(box)]), grid=volume.grid.crop(tuple(box)))


def resampled(volume: Volume, spacing_xyz_mm: tuple[float, float, float]) -> Volume:
    matrix = volume.grid.voxel_to_lps.copy()
    scale = np.array(spacing_xyz_mm) / volume.grid.spacing_xyz_mm
    matrix[:3, :3] = matrix[:3, :3] * scale
    shape = tuple(int(np.floor((n - 1) / s)) + 1 for n, s in zip(volume.grid.shape_zyx, scale[::-1], strict=True))
    other = volume.resample(Grid(shape_zyx=shape, voxel_to_lps=matrix))
    return Volume(hu_zyx=np.rint(other.hu_zyx).astype(np.int16), grid=other.grid)


def whole_levels(found: SpineSegmentation) -> dict[str, np.ndarray]:
    return {vertebra.name: np.array(vertebra.center_lps_mm) for vertebra in found.vertebrae if vertebra.complete}


def shift_between(known: SpineSegmentation, other: SpineSegmentation) -> int:
    """By how many levels the names of the same bodies differ (bodies are the same where centres lie within 8 mm)."""
    shifts = {
        LABEL_OF_LEVEL[a.name] - LABEL_OF_LEVEL[b.name]
        for a in known.vertebrae
        for b in other.vertebrae
        if np.linalg.norm(np.subtract(a.center_lps_mm, b.center_lps_mm)) < 8.0 and a.complete and b.complete
    }
    assert len(shifts) == 1, f"the same bodies got names that differ by {shifts}"
    return shifts.pop()


def assert_the_same(known: SpineSegmentation, other: SpineSegmentation, tolerance_mm: float, inside: Volume) -> None:
    """Every whole body of ``known`` that lies well inside ``inside`` is found again; its name is the same, or declared uncertain."""
    shift = shift_between(known, other)
    assert shift == 0 or (not other.numbering.certain and shift in {reading.shift for reading in other.numbering.alternatives})
    places = np.array(list(whole_levels(other).values()))
    for name, center in whole_levels(known).items():
        if not inside.grid.contains(center, margin_mm=35.0):
            continue
        distance = float(np.linalg.norm(places - center, axis=1).min())
        assert distance <= tolerance_mm, f"{name} moved by {distance:.2f} mm"


@on_all_cases(
    ("rows from below", ((1,), (0, 1, 2))),
    ("feet first", ((0, 2), (0, 1, 2))),
    ("sagittal stack from above", ((0,), (2, 0, 1))),
    always="sagittal stack from above",
)
def test_the_order_of_the_voxels_changes_nothing(
    case: str,
    change: tuple[tuple[int, ...], tuple[int, int, int]],
    segmenter: SpineSegmenter,
    volume_of: Callable[[str], Volume],
    found_in: Callable[[str], SpineSegmentation],
) -> None:
    other = segmenter.segment(stored_otherwise(volume_of(case), *change))
    assert other is not None
    assert [vertebra.name for vertebra in other.vertebrae] == [vertebra.name for vertebra in found_in(case).vertebrae]
    assert_the_same(found_in(case), other, SAME_PLACE_MM, volume_of(case))


@on_all_cases(("caudal", (0, 40.0)), ("cranial", (1, 33.0)), ("front", (2, 40.0)), ("right", (4, 21.0)), always="caudal")
def test_a_smaller_field_of_view_leaves_what_it_shows_where_it_is(
    case: str,
    change: tuple[int, float],
    segmenter: SpineSegmenter,
    volume_of: Callable[[str], Volume],
    found_in: Callable[[str], SpineSegmentation],
) -> None:
    smaller = cut(volume_of(case), *change)
    other = segmenter.segment(smaller)
    assert other is not None
    assert_the_same(found_in(case), other, NETWORK_VOXEL_MM, smaller)


@on_all_cases(("2 mm", (1.3, 1.3, 2.0)), ("3 mm", (0.9, 0.9, 3.0)), always="2 mm")
def test_other_voxel_sizes_leave_the_bodies_where_they_are(
    case: str,
    change: tuple[float, float, float],
    segmenter: SpineSegmenter,
    volume_of: Callable[[str], Volume],
    found_in: Callable[[str], SpineSegmentation],
) -> None:
    other_grid = resampled(volume_of(case), change)
    other = segmenter.segment(other_grid)
    assert other is not None
    assert_the_same(found_in(case), other, max(NETWORK_VOXEL_MM, float(change[2])), other_grid)


def test_levels_that_the_coarse_look_lost_are_followed_down_to_the_sacrum(
    segmenter: SpineSegmenter,
    volume_of: Callable[[str], Volume],
    found_in: Callable[[str], SpineSegmentation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = found_in("digital patient")
    below_l3_mm = next(vertebra.center_lps_mm[2] for vertebra in known.vertebrae if vertebra.name == "L3") - 10.0

    def half_blind(volume: Volume, *others: Any) -> LocatedColumn | None:
        located = locate_column(volume, *others)
        return located and replace(located, low_lps_mm=np.array([*located.low_lps_mm[:2], below_l3_mm]))

    monkeypatch.setattr(segment, "locate_column", half_blind)
    found = segmenter.segment(volume_of("digital patient"))
    assert found is not None
    assert [vertebra.name for vertebra in found.vertebrae] == [vertebra.name for vertebra in known.vertebrae]
    for one, other in zip(found.vertebrae, known.vertebrae, strict=True):
        assert np.linalg.norm(np.subtract(one.center_lps_mm, other.center_lps_mm)) < NETWORK_VOXEL_MM
