"""Builders of results and of the images they name: a synthetic column with headers, or a real case with a reader's numbers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from trabecula_morphometry.codes import Code
from trabecula_morphometry.levels import LABEL_OF_LEVEL, LEVELS_IN_ORDER, SACRUM_LABEL
from trabecula_morphometry.volume import Grid, LabelVolume, Volume
from trabecula_service.dicom.image import CtImage
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.result import (
    Acquisition,
    Contrast,
    Density,
    Fractures,
    Genant,
    HeightLoss,
    Heights,
    Level,
    LevelDensity,
    Numbering,
    Result,
    SixPoints,
    Software,
    Source,
    TrabecularHu,
    flag,
)

CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
STUDY_UID, SERIES_UID, FRAME_UID = "1.2.3.1", "1.2.3.1.1", "1.2.3.1.9"
SOFTWARE = Software(version="0.1.0", backend="torch", weights_sha256="ab" * 32)


def ct_header(index: int, **elements: Any) -> Dataset:
    """One slice header of a plausible CT; keyword arguments replace elements, None removes one."""
    header = Dataset()
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": f"{SERIES_UID}.{index + 1}",
        "StudyDate": "20260301",
        "StudyTime": "101112",
        "AccessionNumber": "A-17",
        "Modality": "CT",
        "Manufacturer": "ACME",
        "ReferringPhysicianName": "Doe^Jane",
        "StudyDescription": "Chest and abdomen",
        "PatientName": "Müller^Zoë",
        "PatientID": "P-0042",
        "PatientBirthDate": "19500607",
        "PatientSex": "F",
        "PatientAge": "075Y",
        "StudyInstanceUID": STUDY_UID,
        "SeriesInstanceUID": SERIES_UID,
        "FrameOfReferenceUID": FRAME_UID,
        "StudyID": "7",
        "SeriesNumber": 3,
        "InstanceNumber": index + 1,
        "SliceThickness": 2.0,
    }
    for keyword, value in {**values, **elements}.items():
        if value is not None:
            setattr(header, keyword, value)
    return header


@dataclass(frozen=True, kw_only=True)
class Column:
    """A straight synthetic column: elliptic bodies 26 mm high every 34 mm, L1 wedged if asked for."""

    names: Sequence[str] = ("T11", "T12", "L1", "L2", "L3", "L4")
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 2.0)
    size_xy: tuple[int, int] = (128, 160)
    tilt_mm_per_slice: float = 0.0
    """Shift of each slice along y, as a tilted gantry gives."""

    def grid(self) -> Grid:
        length_mm = 34.0 * (len(self.names) + 1) + 30.0
        matrix = np.diag([*self.spacing_mm, 1.0])
        matrix[1, 2] = self.tilt_mm_per_slice
        matrix[:3, 3] = (-64.0, -90.0, -500.0)
        return Grid(shape_zyx=(int(length_mm / self.spacing_mm[2]), self.size_xy[1], self.size_xy[0]), voxel_to_lps=matrix)

    def center(self, name: str) -> tuple[float, float, float]:
        return (0.0, 0.0, -500.0 + 34.0 * (len(self.names) - list(self.names).index(name) + 0.5))

    def volumes(self) -> tuple[Volume, LabelVolume, LabelVolume]:
        grid = self.grid()
        points = grid.to_lps(np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape_zyx], indexing="ij")[::-1], axis=-1))
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        hu = np.full(grid.shape_zyx, 40, dtype=np.int16)
        bodies = np.zeros(grid.shape_zyx, dtype=np.uint8)
        posterior = np.zeros(grid.shape_zyx, dtype=np.uint8)
        hu[(x / 62) ** 2 + ((y - 5) / 80) ** 2 > 1] = -1000
        for name in self.names:
            cx, cy, cz = self.center(name)
            flat = ((x - cx) / 20) ** 2 + ((y - cy) / 15) ** 2
            body = (flat <= 1) & (np.abs(z - cz) <= 13)
            core = (flat <= 0.8) & (np.abs(z - cz) <= 11.5)
            arch = (np.abs(x - cx) <= 4) & (y > cy + 28) & (y < cy + 50) & (np.abs(z - cz) <= 8)
            hu[body], hu[core], hu[arch] = 500, 130, 350
            bodies[body], posterior[arch] = LABEL_OF_LEVEL[name], LABEL_OF_LEVEL[name]
        low = self.center(self.names[-1])[2] - 34.0
        sacrum = (np.abs(x) <= 25) & (np.abs(y - 8) <= 12) & (np.abs(z - low) <= 12)
        hu[sacrum], bodies[sacrum] = 300, SACRUM_LABEL
        return Volume(hu_zyx=hu, grid=grid), LabelVolume(labels_zyx=bodies, grid=grid), LabelVolume(labels_zyx=posterior, grid=grid)

    def headers(self, **elements: Any) -> tuple[Dataset, ...]:
        grid = self.grid()
        made = []
        for index in range(grid.shape_zyx[0]):
            header = ct_header(index, **elements)
            header.ImagePositionPatient = grid.to_lps([0, 0, index]).tolist()
            header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            header.PixelSpacing = [self.spacing_mm[1], self.spacing_mm[0]]
            header.Rows, header.Columns = grid.shape_zyx[1:]
            made.append(header)
        return tuple(made)


def six_points(center: Sequence[float], anterior_mm: float, middle_mm: float, posterior_mm: float) -> SixPoints:
    """Six points of a body with these heights, symmetric about its mid height."""
    x, y, z = center
    values: dict[str, tuple[float, float, float]] = {}
    for where, offset, height in (("anterior", -13.0, anterior_mm), ("middle", 0.0, middle_mm), ("posterior", 13.0, posterior_mm)):
        values[f"{where}_superior"] = (x, y + offset, z + height / 2)
        values[f"{where}_inferior"] = (x, y + offset, z - height / 2)
    return SixPoints(**values)


def level(name: str, center: Sequence[float], *, loss: float = 0.03, hu: float = 130.0, density: float | None = 98.0) -> Level:
    """A whole, measured level; ``loss`` is the anterior height loss."""
    grade = int(loss >= 0.20) + int(loss >= 0.25) + int(loss >= 0.40)
    heights = Heights(anterior=26.0 * (1 - loss), middle=25.0, posterior=26.0)
    return Level(
        name=name,
        confidence=0.98,
        center_lps_mm=(float(center[0]), float(center[1]), float(center[2])),
        complete=True,
        heights_mm=heights,
        heights_sd_mm=Heights(anterior=0.4, middle=0.4, posterior=0.4),
        points_lps_mm=six_points(center, heights.anterior or 0, 25.0, 26.0),
        expected_mm=Heights(anterior=26.0, middle=25.5, posterior=26.5),
        height_loss=HeightLoss(anterior=loss, middle=0.02, posterior=0.019, max=loss),
        genant=Genant(grade=grade, type="wedge" if grade else None, probability=tuple(0.91 if i == grade else 0.03 for i in range(4))),
        hu=TrabecularHu(mean=hu, median=hu - 1, sd=31.0, volume_mm3=5200.0),
        density=None if density is None else LevelDensity(value_mg_cm3=density, interval95=(density - 12, density + 12)),
        excluded=[Code.FRACTURED] if grade else [],
    )


def column_result(column: Column, *, losses: dict[str, float] | None = None, density: Density | None = None, **parts: Any) -> Result:
    """A result for a synthetic column: calibrated, unenhanced, 75 years."""
    losses = losses if losses is not None else {"L1": 0.31}
    levels = [
        level(name, column.center(name), loss=losses.get(name, 0.03), hu=120.0 + 7 * i, density=90.0 + 5 * i)
        for i, name in enumerate(column.names)
    ]
    grades = {item.name: item.genant.grade or 0 for item in levels}
    grid = column.grid()
    values: dict[str, Any] = {
        "status": "complete",
        "software": SOFTWARE,
        "source": Source(
            study_instance_uid=STUDY_UID,
            series_instance_uid=SERIES_UID,
            frame_of_reference_uid=FRAME_UID,
            series_number=3,
            file_count=grid.shape_zyx[0],
            matrix=grid.shape_zyx[::-1],
            spacing_mm=column.spacing_mm,
            content_sha256="cd" * 32,
        ),
        "acquisition": Acquisition(
            manufacturer="ACME", model="Scan 9", kvp=120.0, kernel="B30f", slice_thickness_mm=2.0, age_years=75.0, sex="F",
            contrast=Contrast(phase="unenhanced", source="image", confidence=0.9),
        ),
        "numbering": Numbering(certain=True, anchors=["sacrum", "last_rib"]),
        "levels": levels,
        "density": density
        or Density(
            mean_mg_cm3=107.5, interval95=(97.4, 117.6), levels=["L2", "L3"], basis="calibrated", material="K2HPO4",
            calibration_id="scan9-120-b30f-2026-01", category="intermediate", category_source="ACR 2018",
        ),
        "fractures": Fractures(
            max_grade=max(grades.values()), levels=[name for name, grade in grades.items() if grade],
            spinal_deformity_index=sum(grades.values()), headline=max(grades.values()) >= 2,
        ),
    }  # fmt: skip
    return Result(**{**values, **parts})


def column_input(
    column: Column | None = None, *, headers: dict[str, Any] | None = None, dicom: bool = True, language: str = "en", **parts: Any
) -> DocumentInput:
    """Everything for a document, from a synthetic column; ``headers`` replaces header elements, ``parts`` replaces parts of the result."""
    column = column or Column()
    volume, bodies, posterior = column.volumes()
    result = column_result(column, **parts)
    image = CtImage(
        volume=volume, source=result.source, acquisition=result.acquisition, headers=column.headers(**(headers or {})) if dicom else ()
    )
    return DocumentInput(result=result, image=image, bodies=bodies, posterior=posterior, created=CREATED, version=1, language=language)


def not_evaluable(made: DocumentInput, code: Code = Code.NO_SPINE) -> DocumentInput:
    """The same images with a result that says why nothing was measured."""
    known = made.result
    result = Result(status="not_evaluable", software=SOFTWARE, source=known.source, acquisition=known.acquisition, flags=[flag(code)])
    empty = LabelVolume(labels_zyx=np.zeros_like(made.bodies.labels_zyx), grid=made.bodies.grid)
    return replace(made, result=result, bodies=empty, posterior=empty)


def real_input(folder: Path) -> DocumentInput:
    """A real DICOM case with its reference bodies, and the reader's points, heights and HU in place of ours (no density)."""
    import SimpleITK

    from trabecula_service.dicom.read import read_input

    image = read_input(folder / "dicom")
    reader = json.loads((folder / "reader.json").read_text())
    mask = SimpleITK.ReadImage(str(folder / "bodies.nii.gz"))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(mask.GetDirection()).reshape(3, 3) * np.array(mask.GetSpacing())
    matrix[:3, 3] = mask.GetOrigin()
    array = SimpleITK.GetArrayFromImage(mask).astype(np.uint8)
    bodies = LabelVolume(labels_zyx=array, grid=Grid(shape_zyx=array.shape, voxel_to_lps=matrix)).resample(image.volume.grid)
    levels = [_reader_level(name, reader["levels"][name]) for name in LEVELS_IN_ORDER if (reader["levels"].get(name) or {}).get("center")]
    result = Result(
        status="partial",
        software=SOFTWARE,
        source=image.source,
        acquisition=image.acquisition,
        numbering=Numbering(certain=reader["numbering"]["certain"], anchors=reader["numbering"]["anchors"]),
        levels=levels,
        flags=[*image.flags, flag(Code.NO_CALIBRATION)],
    )
    empty = LabelVolume(labels_zyx=np.zeros_like(bodies.labels_zyx), grid=bodies.grid)
    return DocumentInput(result=result, image=image, bodies=bodies, posterior=empty, created=CREATED, version=1)


def _reader_level(name: str, read: dict[str, Any]) -> Level:
    heights = read.get("heights_mm") or {}
    points = read.get("points")
    complete = bool(points) and len(points) == 6
    hu = read.get("hu")
    mean = hu.get("mean") if isinstance(hu, dict) else hu
    return Level(
        name=name,
        confidence=1.0,
        center_lps_mm=tuple(read["center"]),
        complete=complete,
        heights_mm=Heights(**{key: heights.get(key) for key in ("anterior", "middle", "posterior")}) if heights else None,
        points_lps_mm=SixPoints(**{key: tuple(value) for key, value in points.items()}) if complete else None,
        genant=Genant(grade=0) if complete else Genant(),
        height_loss=HeightLoss(max=0.05) if complete else None,
        hu=TrabecularHu(mean=mean, median=mean, sd=25.0, volume_mm3=3000.0) if mean is not None else None,
        excluded=[] if complete else [Code.CUT_BY_FIELD],
    )
