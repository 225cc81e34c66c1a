"""One digital column scanned as several series, and a stand-in for the networks that outlines what lies in the field of each.

Reading, choosing, measuring, joining, rendering and signing are the product's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from builders.digital_column import DigitalColumn, intact, squeezed
from builders.series import CtSeries, ct_series
from trabecula_models.listing import list_vertebrae
from trabecula_models.segmentation import NameAlternative, NameDecision, SpineSegmentation
from trabecula_morphometry.levels import LABEL_OF_LEVEL, LEVEL_OF_LABEL, level_position
from trabecula_morphometry.volume import LabelVolume, Volume
from trabecula_service.pipeline import analyze as pipeline
from trabecula_service.pipeline import segmented_stacks
from trabecula_service.pipeline.request import AnalyzeOutcome, AnalyzeRequest, Progress

NAMES = ("T9", "T10", "T11", "T12", "L1", "L2", "L3")
FRACTURED = "T11"
COLUMN = DigitalColumn(
    bodies=tuple(squeezed(name, 0.32, 0.2, 0.05) if name == FRACTURED else intact(name, trabecular_hu=140.0) for name in NAMES),
    spacing_mm=(1.0, 1.0, 1.5),
    noise_hu=8.0,
)


@lru_cache(maxsize=1)
def scanned() -> tuple[Volume, LabelVolume, dict[str, float]]:
    """The CT of the whole column, its body labels, and the height (LPS z) of each body."""
    volume, labels, vertebrae = COLUMN.render()
    _, ny, nx = volume.grid.shape_zyx
    across, down = np.meshgrid((np.arange(nx) - (nx - 1) / 2) / (nx / 2), (np.arange(ny) - (ny - 1) / 2) / (ny / 2))
    # Fat and air, without which no CT is one.
    rim = np.hypot(across, down)
    hu = np.where(rim > 1.0, -1000, np.where(rim > 0.85, -100, volume.hu_zyx)).astype(np.int16)
    volume = Volume(hu_zyx=hu, grid=volume.grid)
    return volume, labels, {vertebra.name: vertebra.center_lps_mm[2] for vertebra in vertebrae}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A series from ``low_mm`` to ``high_mm`` (None: to the end of the scan); ``sagittal`` slices instead of axial ones."""

    name: str
    number: int
    low_mm: float | None = None
    high_mm: float | None = None
    sagittal: bool = False
    kernel: str = "STANDARD"
    added_hu: int = 0
    acquisition_number: int = 1
    contrast_agent: str | None = None

    def series(self, study: str = "spine") -> CtSeries:
        """The part as a DICOM series."""
        volume, _, _ = scanned()
        z = volume.grid.voxel_to_lps[2, 3] + np.arange(volume.grid.shape_zyx[0]) * volume.grid.voxel_to_lps[2, 2]
        inside = (z >= (self.low_mm if self.low_mm is not None else -np.inf)) & (z < (self.high_mm if self.high_mm is not None else np.inf))
        first, last = np.flatnonzero(inside)[[0, -1]]
        hu = volume.hu_zyx[first : last + 1] + self.added_hu
        center = volume.grid.to_lps((np.array(hu.shape[::-1]) - 1) / 2 + np.array([0, 0, first]))
        x_mm, y_mm, z_mm = (float(step) for step in volume.grid.spacing_xyz_mm)
        spacing = (z_mm, y_mm, x_mm)
        if self.sagittal:
            # Columns run to the back, rows downwards, slices to the left.
            hu, spacing = hu[::-1].transpose(2, 0, 1), (x_mm, z_mm, y_mm)
        return ct_series(
            hu_zyx=hu,
            spacing_mm=spacing,
            center_lps_mm=tuple(float(c) for c in center),
            orientation="sagittal" if self.sagittal else "axial",
            study=study,
            series=self.name,
            series_number=self.number,
            kernel=self.kernel,
            bits_stored=16,
            acquisition_number=self.acquisition_number,
            contrast_agent=self.contrast_agent,
            first_instance=1 + 1000 * (self.acquisition_number - 1),
        )


def boundary_mm(upper: str, lower: str) -> float:
    """Height of the disc between two bodies."""
    _, _, heights = scanned()
    return 0.5 * (heights[upper] + heights[lower])


def cut(*bounds_mm: float, overlap_mm: float = 0.0, sagittal: Sequence[int] = ()) -> list[Part]:
    """The column cut at these heights, from the head down; neighbours share ``overlap_mm``; these numbers (0 = top) as sagittal slices."""
    edges = [None, *sorted(bounds_mm, reverse=True), None]
    parts = []
    for number, (high, low) in enumerate(pairwise(edges)):
        parts.append(
            Part(
                name=f"part{number}",
                number=number + 3,
                low_mm=None if low is None else low - overlap_mm / 2,
                high_mm=None if high is None else high + overlap_mm / 2,
                sagittal=number in sagittal,
            )
        )
    return parts


class TruthBackend:
    """Outlines what of the column lies in a volume. A stack that shows no L3 is unsure of its names, which are then ``shift`` off."""

    def __init__(self, shift: int = 0) -> None:
        self._shift = shift

    def segment(self, volume: Volume, progress: Progress | None = None) -> SpineSegmentation | None:
        """Same as a real backend."""
        _, labels, _ = scanned()
        low, high = volume.grid.bounds_lps_mm()
        half = 0.5 * volume.along_lps().grid.spacing_xyz_mm
        first = np.maximum(np.ceil(labels.grid.to_voxel(low - half)), 0).astype(int)
        last = np.minimum(np.floor(labels.grid.to_voxel(high + half)), np.array(labels.grid.shape_zyx[::-1]) - 1).astype(int)
        box = tuple(slice(int(a), int(b) + 1) for a, b in zip(first[::-1], last[::-1], strict=True))
        seen = labels.labels_zyx[box]
        names = sorted((LEVEL_OF_LABEL[int(label)] for label in np.unique(seen) if label), key=level_position)
        if not names:
            return None
        certain = "L3" in names
        shift = 0 if certain else self._shift
        renumber = np.zeros(256, dtype=np.uint8)
        order = [name for name in LABEL_OF_LEVEL if name != "T13"]
        said = [order[order.index(name) + shift] for name in names]
        for name, other in zip(names, said, strict=True):
            renumber[LABEL_OF_LEVEL[name]] = LABEL_OF_LEVEL[other]
        bodies = LabelVolume(labels_zyx=renumber[seen], grid=labels.grid.crop(box))
        alternatives = () if certain else tuple(NameAlternative(shift=step, probability=0.25) for step in (-1, 1))
        return SpineSegmentation(
            vertebrae=list_vertebrae(volume, bodies, said, [0.95 if certain else 0.5] * len(said)),
            numbering=NameDecision(certain=certain, anchors=("last_rib", "sacrum") if certain else (), alternatives=alternatives),
            bodies=bodies,
            posterior=LabelVolume(labels_zyx=np.zeros_like(bodies.labels_zyx), grid=bodies.grid),
            weights_sha256="ab" * 32,
            backend="truth",
            timing_s={"locate": 0.1, "delineate": 0.1},
        )


def write_parts(folder: Path, parts: Sequence[Part]) -> Path:
    """One folder of files with all parts."""
    for part in parts:
        part.series().write(folder / f"{part.name}-{part.acquisition_number}")
    return folder


def analyze_with(shift: int = 0, *, documents: bool = True) -> Callable[[AnalyzeRequest, Progress | None], AnalyzeOutcome]:
    """The real analysis with the stand-in for the networks; rendering takes most of the time, and few tests look at documents."""

    def analyze(request: AnalyzeRequest, progress: Progress | None = None) -> AnalyzeOutcome:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segmented_stacks, "resident_backend", lambda _choice: TruthBackend(shift))
            if not documents:
                patch.setattr(pipeline, "write_documents", lambda _request, result, *_rest: (result, ()))
            return pipeline.analyze_input(request, progress)

    return analyze


def analyze(request: AnalyzeRequest, progress: Progress | None = None) -> AnalyzeOutcome:
    """For a service in a process of its own: the upper stack calls its levels one too high."""
    return analyze_with(-1)(request, progress)
