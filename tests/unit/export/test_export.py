"""A data set in VerSe's layout that `evaluate verse` reads: the same masks, centres, grades and densities, under numbers for names."""

import csv
import gzip
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode
from sqlalchemy import insert, update
from typer.testing import CliRunner

from builders.ledger import enter
from builders.results import Column, column_result
from builders.series import ct_series
from trabecula_morphometry.codes import Code
from trabecula_morphometry.levels import FOREIGN_LABEL, LABEL_OF_LEVEL
from trabecula_morphometry.volume import Grid, LabelVolume
from trabecula_service.cli.main import app
from trabecula_service.dicom.nifti import read_nifti, write_label_nifti
from trabecula_service.dicom.read import read_input
from trabecula_service.export.run import Exported, export_verse
from trabecula_service.export.sources import FinishedStudy, from_ledger
from trabecula_service.export.verse_layout import hu_nifti_bytes, without_foreign
from trabecula_service.ledger.database import Ledger, open_ledger
from trabecula_service.ledger.schema import documents, versions
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.result import Result, Signature

COLUMN = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 3.0), size_xy=(64, 80))
SIGNED = Signature(verdict="amended", reader="Doe, Jane", organization="", at=datetime(2026, 11, 21, tzinfo=UTC), base_version=1)


def measured(folder: Path, **parts: object) -> FinishedStudy:
    """A NIfTI study with result and masks as `trabecula batch` leaves them; its image is stored posterior-inferior-right."""
    folder.mkdir(parents=True)
    volume, bodies, posterior = COLUMN.volumes()
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(hu_nifti_bytes(volume)))
    turned = image.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(("P", "I", "R")))
    )
    nibabel.save(turned, folder / "study_ct.nii.gz")
    read = read_nifti(folder / "study_ct.nii.gz", "study")
    result = column_result(COLUMN, **parts)
    source = result.source.model_copy(
        update={"content_sha256": read.source.content_sha256, "study_instance_uid": None, "series_instance_uid": None}
    )
    result = result.model_copy(update={"source": source})
    for name, labels in (("segmentation.nii.gz", bodies), ("segmentation_posterior.nii.gz", posterior)):
        write_label_nifti(folder / name, labels.resample(read.volume.grid))
    (folder / "result.json").write_text(result.to_json())

    @contextmanager
    def images() -> Iterator[Path]:
        yield folder / "study_ct.nii.gz"

    return FinishedStudy(
        key=folder.name,
        result=result,
        bodies=folder / "segmentation.nii.gz",
        posterior=folder / "segmentation_posterior.nii.gz",
        images=images,
    )


def exported(studies: list[FinishedStudy], out: Path, *, only_reviewed: bool = False) -> Exported:
    return export_verse(studies, out, out.with_name("key.csv"), only_reviewed=only_reviewed)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_evaluate_finds_no_difference_between_results_and_their_export(tmp_path: Path) -> None:
    study = measured(tmp_path / "results" / "sub-trab0001")
    assert exported([study], tmp_path / "set") == Exported(subjects=1, left_out=())
    arguments = ["evaluate", "verse", tmp_path / "set", "--prediction", tmp_path / "results", "--grades", "--out", tmp_path / "scores"]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    levels = rows(tmp_path / "scores" / "levels.csv")
    assert [row["level"] for row in levels] == ["T12", "L1", "L2"]
    assert {float(row["dice"]) for row in levels} == {1.0}
    assert all(float(row["centre_mm"]) < 0.1 for row in levels)
    points = json.loads((tmp_path / "set" / "derivatives" / "sub-trab0001" / "sub-trab0001_levels.json").read_text())
    assert [level["points_lps_mm"]["anterior_superior"][1] for level in points] == [-13.0] * 3
    grades = rows(tmp_path / "scores" / "grades.csv")
    assert [(row["level"], row["reader_grade"], row["grade"]) for row in grades] == [("T12", "0", "0"), ("L1", "2", "2"), ("L2", "0", "0")]


def test_the_spreadsheet_says_what_a_reader_did_and_what_cannot_be_graded(tmp_path: Path) -> None:
    study = measured(tmp_path / "a", signature=SIGNED)
    cemented = [level.model_copy(update={"excluded": [Code.CEMENT]}) if level.name == "L2" else level for level in study.result.levels]
    exported([replace(study, result=study.result.model_copy(update={"levels": cemented}))], tmp_path / "set")
    (row,) = rows(tmp_path / "set" / "grades.csv")
    assert (row["verse_ID"], row["subject_ID"], row["reviewed"]) == ("1", "sub-trab0001", "amended")
    assert (row["BMD"], row["BMD_basis"], row["BMD_material"]) == ("107.5", "calibrated", "K2HPO4")
    assert (row["T12_fx-g"], row["L1_fx-g"], row["L1_fx-s"], row["L2_fx-g"]) == ("0", "2", "1", "x")


def test_numbers_stay_with_their_studies_and_the_list_lies_outside(tmp_path: Path) -> None:
    first, second = measured(tmp_path / "first"), measured(tmp_path / "second")
    exported([first], tmp_path / "set")
    exported([second, first], tmp_path / "set")
    assert [(row["verse_ID"], row["study"]) for row in rows(tmp_path / "key.csv")] == [("1", "first"), ("2", "second")]
    assert (tmp_path / "key.csv").stat().st_mode & 0o077 == 0
    written = b"".join(path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file() and path.suffix != ".gz")
    assert b"first" not in written


def test_what_no_reader_has_seen_can_be_left_out(tmp_path: Path) -> None:
    done = exported([measured(tmp_path / "a"), measured(tmp_path / "b", signature=SIGNED)], tmp_path / "set", only_reviewed=True)
    assert done == Exported(subjects=1, left_out=(("a", "not reviewed"),))


def test_other_images_than_the_measured_ones_are_refused(tmp_path: Path) -> None:
    study = measured(tmp_path / "a")
    other = study.result.source.model_copy(update={"content_sha256": "0" * 64})
    done = exported([replace(study, result=study.result.model_copy(update={"source": other}))], tmp_path / "set")
    assert done.subjects == 0
    assert "not those that were measured" in done.left_out[0][1]
    assert not (tmp_path / "set" / "rawdata").exists()


def test_cement_belongs_to_its_vertebra_and_a_far_clip_to_none() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:15] = LABEL_OF_LEVEL["L1"]
    labels[8:12, 8:12, 8:12] = FOREIGN_LABEL
    labels[0, 0, 19] = FOREIGN_LABEL
    grid = Grid(shape_zyx=labels.shape, voxel_to_lps=np.diag([2.0, 2.0, 2.0, 1.0]))
    solid = without_foreign(LabelVolume(labels_zyx=labels, grid=grid))
    assert (solid[5:15, 5:15, 5:15] == LABEL_OF_LEVEL["L1"]).all()
    assert solid[0, 0, 19] == 0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def ledger(data: Path) -> Iterator[Ledger]:
    data.mkdir()
    opened = open_ledger(data / "ledger.sqlite")
    yield opened
    opened.close()


def test_a_service_exports_the_latest_version_of_its_studies(data: Path, ledger: Ledger, tmp_path: Path) -> None:
    volume, bodies, posterior = COLUMN.volumes()
    series = ct_series(shape_zyx=volume.hu_zyx.shape, spacing_mm=(3.0, 2.0, 2.0), hu_zyx=volume.hu_zyx)
    series.write(tmp_path / "scan")
    read = read_input(tmp_path / "scan")
    ObjectStore(data / "objects")
    for number, dataset in enumerate(series.datasets):
        enter(ledger, dataset, 1.0)
        stored = _stored_hash(dataset)
        (data / "objects" / stored[:2] / f"{stored}.dcm").write_bytes((tmp_path / "scan" / f"IM{number:04d}.dcm").read_bytes())
    result = column_result(COLUMN, signature=SIGNED)
    result = result.model_copy(update={"source": read.source})
    _file_result(ledger, data, result, {"segmentation.nii.gz": bodies, "segmentation_posterior.nii.gz": posterior}, read.volume.grid)
    done = exported(list(from_ledger(ledger, data)), tmp_path / "set")
    assert done == Exported(subjects=1, left_out=())
    image = nibabel.load(tmp_path / "set" / "rawdata" / "sub-trab0001" / "sub-trab0001_ct.nii.gz")
    mask = nibabel.load(tmp_path / "set" / "derivatives" / "sub-trab0001" / "sub-trab0001_seg-vert_msk.nii.gz")
    assert np.allclose(image.affine, mask.affine)
    assert image.get_fdata()[mask.get_fdata() > 0].mean() > 100


def _stored_hash(dataset: Dataset) -> str:
    return hashlib.sha256(encode(dataset, False, True) or b"").hexdigest()


def _file_result(ledger: Ledger, data: Path, result: Result, masks: dict[str, LabelVolume], grid: Grid) -> None:
    (data / "results" / "1").mkdir(parents=True)
    with ledger.write() as connection:
        connection.execute(update(versions).values(result_json=result.to_json(), state="done"))
        for name, labels in masks.items():
            write_label_nifti(data / "results" / "1" / name, LabelVolume(labels_zyx=labels.labels_zyx, grid=grid))
            values = {"version_id": 1, "name": name, "path": f"results/1/{name}", "sha256": "0" * 64, "size_bytes": 1}
            connection.execute(insert(documents).values(**values))
