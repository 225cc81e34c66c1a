"""The pictures of the reading room lie where they say, however the slices were stored."""

import gzip
import io
import json
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from builders.results import Column, column_input
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import Grid, LabelVolume, Volume
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.reading_images import MANIFEST, member_name, reading_images

COLUMN = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
MARK_HU = 3000
MARK_FROM_CENTER_MM = (8.0, -6.0, 4.0)
"""To the left, in front of and above the centre of L1."""


def flipped(made: DocumentInput, axes: tuple[int, ...], *, turn_deg: float = 0.0) -> DocumentInput:
    """The same patient with voxel axes (z, y, x) stored the other way round, or resampled on a turned grid."""
    grid, hu, labels = made.image.volume.grid, made.image.volume.hu_zyx, made.bodies.labels_zyx
    matrix = grid.voxel_to_lps.copy()
    for axis in axes:
        column = 2 - axis
        matrix[:3, 3] += matrix[:3, column] * (hu.shape[axis] - 1)
        matrix[:3, column] *= -1
        hu, labels = np.flip(hu, axis), np.flip(labels, axis)
    turned = Grid(shape_zyx=hu.shape, voxel_to_lps=matrix)
    volume, bodies = Volume(hu_zyx=hu, grid=turned), LabelVolume(labels_zyx=labels, grid=turned)
    if turn_deg:
        angle = np.radians(turn_deg)
        about_x = np.eye(4)
        about_x[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        middle = np.eye(4)
        middle[:3, 3] = turned.to_lps((np.array(hu.shape[::-1]) - 1) / 2)
        oblique = Grid(shape_zyx=hu.shape, voxel_to_lps=middle @ about_x @ np.linalg.inv(middle) @ matrix)
        volume, bodies = volume.resample(oblique, antialias=False), bodies.resample(oblique)
    image = replace(made.image, volume=volume)
    return replace(made, image=image, bodies=bodies, posterior=LabelVolume(labels_zyx=np.zeros_like(bodies.labels_zyx), grid=bodies.grid))


def marked() -> tuple[DocumentInput, tuple[float, float, float]]:
    """The column with a bright cube beside the centre of L1, and where that is."""
    made = column_input(COLUMN)
    place = np.array(COLUMN.center("L1")) + MARK_FROM_CENTER_MM
    x, y, z = np.rint(made.image.volume.grid.to_voxel(place)).astype(int)
    hu = made.image.volume.hu_zyx.copy()
    hu[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = MARK_HU
    center = made.image.volume.grid.to_lps((x, y, z))
    return replace(made, image=replace(made.image, volume=replace(made.image.volume, hu_zyx=hu))), tuple(center)


class Pictures:
    """The file as a browser reads it."""

    def __init__(self, made: DocumentInput) -> None:
        self._zip = zipfile.ZipFile(io.BytesIO(reading_images(made)))
        self.manifest: dict[str, Any] = json.loads(self._zip.read(MANIFEST))

    def plane(self, stack: str, index: int) -> tuple[np.ndarray, np.ndarray]:
        shape = (self.manifest["stacks"][stack]["rows"], self.manifest["stacks"][stack]["columns"])
        content = gzip.decompress(self._zip.read(member_name(stack, index)))
        count = shape[0] * shape[1]
        return np.frombuffer(content, "<i2", count).reshape(shape), np.frombuffer(content, np.uint8, count, 2 * count).reshape(shape)

    def at(self, stack: str, place: tuple[float, float, float]) -> tuple[int, int]:
        """HU and label of the pixel that shows a place, by the geometry that the manifest tells."""
        s = self.manifest["stacks"][stack]
        if stack == "axial":
            index = int(np.abs(np.array(s["z_mm"]) - place[2]).argmin())
            column, row = ((place[axis] - s["first_mm"][axis]) / s["pixel_mm"][axis] for axis in (0, 1))
        else:
            beside = 0 if stack == "sagittal" else 1
            centers = np.array(self.manifest["centers_lps_mm"])
            middle = np.interp(place[2], centers[:, 2], centers[:, beside])
            index = int(np.abs(np.array(s["offsets_mm"]) - (place[beside] - middle)).argmin())
            column, row = (place[s["axis"]] - s["first_mm"]) / s["pixel_mm"][0], (s["top_mm"] - place[2]) / s["pixel_mm"][1]
        hu, labels = self.plane(stack, index)
        return int(hu[round(row), round(column)]), int(labels[round(row), round(column)])


@pytest.mark.parametrize(
    ("axes", "turn_deg"),
    [((), 0.0), ((0,), 0.0), ((1, 2), 0.0), ((0, 1, 2), 0.0), ((), 12.0)],
    ids=["as it is", "feet first", "rows", "all", "oblique"],
)
def test_a_mark_is_seen_where_it_is_in_every_view_however_the_slices_were_stored(axes: tuple[int, ...], turn_deg: float) -> None:
    made, place = marked()
    pictures = Pictures(flipped(made, axes, turn_deg=turn_deg))
    mirrored = tuple(2 * COLUMN.center("L1")[axis] - place[axis] for axis in range(3))
    for stack in ("axial", "sagittal", "coronal"):
        hu, label = pictures.at(stack, place)
        assert hu > 1500, stack
        assert label == LABEL_OF_LEVEL["L1"], stack
        assert pictures.at(stack, (mirrored[0], mirrored[1], mirrored[2]))[0] < 1000, stack


def test_the_acquired_slices_are_shown_voxel_by_voxel() -> None:
    made, _ = marked()
    pictures = Pictures(made)
    stack = pictures.manifest["stacks"]["axial"]
    grid = made.image.volume.grid
    for index in (0, stack["count"] // 2, stack["count"] - 1):
        hu, labels = pictures.plane("axial", index)
        x, y, z = np.rint(grid.to_voxel((*stack["first_mm"], stack["z_mm"][index]))).astype(int)
        part = (z, slice(y, y + stack["rows"]), slice(x, x + stack["columns"]))
        assert (hu == made.image.volume.hu_zyx[part]).all()
        assert (labels == made.bodies.labels_zyx[part]).all()
    assert stack["z_mm"] == sorted(stack["z_mm"], reverse=True)


def test_the_same_images_give_the_same_bytes() -> None:
    made, _ = marked()
    assert reading_images(made) == reading_images(made)
