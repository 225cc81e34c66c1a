"""The images of the reading room: the spine as three stacks of 16-bit planes with the masks, compressed once, sent as they lie.

One zip file per result version. Each plane is one member that holds gzip: a web server hands the bytes on with ``Content-Encoding:
gzip`` and spends no time on them, and the browser windows the full 16 bits itself (docs/adr/0015).
"""

import gzip
import io
import json
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import Grid, LabelVolume, Volume, analysis_grid
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.reformat import View, column_rows, reformat

FILE_NAME = "reading_room.zip"
MANIFEST = "manifest.json"
FORMAT = 1

PIXEL_MM = 0.8
"""Pixel of the curved views: no coarser than what CT shows of an endplate, small enough for a column of 50 cm."""

SAGITTAL_OFFSETS_MM = tuple(float(value) for value in np.arange(-26.0, 27.0, 2.0))
CORONAL_OFFSETS_MM = tuple(float(value) for value in np.arange(-26.0, 41.0, 2.0))
"""Planes beside the one through the centres: to the left (sagittal) and to the back (coronal); a body is up to 50 mm wide, 36 mm deep."""

AXIAL_BESIDE_MM, AXIAL_BEFORE_MM, AXIAL_BEHIND_MM, AXIAL_BEYOND_MM = 75.0, 85.0, 75.0, 40.0
"""What the axial stack shows around the centres: the body, its arch, the great vessels and the psoas."""

FINEST_SLICE_MM = 0.5
"""Slices that lie closer are thinned out: nobody scrolls through 0.3 mm."""

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The same images give the same bytes."""

_THREADS = 2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Stack:
    """Planes of one view. ``geometry`` says where they lie; ``hu`` and ``labels`` are (planes, rows, columns)."""

    name: str
    hu: Sequence[NDArray[np.int16]]
    labels: Sequence[NDArray[np.uint8]]
    geometry: dict[str, Any]


def reading_images(document_input: DocumentInput) -> bytes:
    """``reading_room.zip``: ``manifest.json`` and one member per plane, int16 HU (little endian) then uint8 labels, as gzip."""
    levels = document_input.result.levels
    centers = [level.center_lps_mm for level in levels]
    stacks = [_curved(document_input, centers, "sagittal"), _curved(document_input, centers, "coronal"), _axial(document_input, centers)]
    manifest = {
        "format": FORMAT,
        "labels": {level.name: LABEL_OF_LEVEL[level.name] for level in levels},
        "centers_lps_mm": [list(center) for center in sorted(centers, key=lambda center: center[2])],
        "stacks": {
            stack.name: {
                "count": len(stack.hu),
                "rows": int(stack.hu[0].shape[0]),
                "columns": int(stack.hu[0].shape[1]),
                **stack.geometry,
            }
            for stack in stacks
        },
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive, ThreadPoolExecutor(_THREADS) as pool:
        archive.writestr(zipfile.ZipInfo(MANIFEST, _ZIP_TIME), json.dumps(manifest))
        for stack in stacks:
            for index, packed in enumerate(pool.map(_packed, stack.hu, stack.labels)):
                archive.writestr(zipfile.ZipInfo(member_name(stack.name, index), _ZIP_TIME), packed)
    return buffer.getvalue()


def member_name(stack: str, index: int) -> str:
    """Name of a plane in the zip."""
    return f"{stack}/{index:04d}"


def _packed(hu: NDArray[np.int16], labels: NDArray[np.uint8]) -> bytes:
    # Level 1: CT noise does not compress much further, and this is done while a worker waits.
    return gzip.compress(hu.astype("<i2").tobytes() + labels.tobytes(), compresslevel=1, mtime=0)


def _curved(document_input: DocumentInput, centers: Sequence[Sequence[float]], view: View) -> Stack:
    offsets = SAGITTAL_OFFSETS_MM if view == "sagittal" else CORONAL_OFFSETS_MM
    volume, bodies = document_input.image.volume, document_input.bodies
    rows = column_rows(volume, centers, PIXEL_MM)
    planes = [reformat(volume, bodies, centers, view, rows, offset_mm=offset) for offset in offsets]
    first = planes[0]
    geometry = {
        "offsets_mm": list(offsets),
        "middle": offsets.index(0.0),
        "pixel_mm": [first.pixel_mm, first.pixel_mm],
        "first_mm": first.first_mm,
        "top_mm": first.top_mm,
        "axis": first.axis,
    }
    return Stack(
        name=view, hu=[np.rint(plane.hu).astype(np.int16) for plane in planes], labels=[plane.labels for plane in planes], geometry=geometry
    )


def _axial(document_input: DocumentInput, centers: Sequence[Sequence[float]]) -> Stack:
    """Slices from superior to inferior on a grid parallel to LPS: the acquired ones where they are axial, else resampled."""
    volume = document_input.image.volume
    bounds = volume.grid.bounds_lps_mm()
    around = np.array(centers, dtype=np.float64) if len(centers) else 0.5 * (bounds[0] + bounds[1])[None]
    low = around.min(axis=0) - np.array([AXIAL_BESIDE_MM, AXIAL_BEFORE_MM, AXIAL_BEYOND_MM])
    high = around.max(axis=0) + np.array([AXIAL_BESIDE_MM, AXIAL_BEHIND_MM, AXIAL_BEYOND_MM])
    hu, labels, grid = _along_axes(volume, document_input.bodies, np.maximum(low, bounds[0]), np.minimum(high, bounds[1]))
    step = max(1, int(np.floor(FINEST_SLICE_MM / grid.slice_spacing_mm + 1e-6)))
    indices = list(range(0, hu.shape[0], step))[::-1]
    x_mm, y_mm, _ = (float(value) for value in grid.spacing_xyz_mm)
    first = grid.to_lps((0, 0, 0))
    geometry = {
        "z_mm": [round(float(grid.to_lps((0, 0, index))[2]), 3) for index in indices],
        "pixel_mm": [x_mm, y_mm],
        "first_mm": [float(first[0]), float(first[1])],
    }
    return Stack(
        name="axial",
        hu=[np.asarray(hu[index], dtype=np.int16) for index in indices],
        labels=[np.asarray(labels[index], dtype=np.uint8) for index in indices],
        geometry=geometry,
    )


def _along_axes(
    volume: Volume, bodies: LabelVolume, low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any], Grid]:
    """The part of image and labels in a box, axes towards left, posterior and superior."""
    turned = volume.along_lps()
    steps = turned.grid.voxel_to_lps[:3, :3]
    if np.abs(steps - np.diag(np.diag(steps))).max() < 1e-3 * np.abs(np.diag(steps)).min():
        part = turned.crop(low, high)
        labels = Volume(hu_zyx=bodies.labels_zyx, grid=bodies.grid).along_lps().crop(low, high)
        return part.hu_zyx, labels.hu_zyx, part.grid
    # A tilted gantry, sagittal slices or a turned patient: looked at on a grid of its finest spacing, never below a typical CT's.
    grid = analysis_grid(low, high, max(0.8, float(volume.grid.spacing_xyz_mm.min())))
    return np.rint(volume.resample(grid).hu_zyx), bodies.resample(grid).labels_zyx, grid
