"""The note that takes back what earlier versions sent: valid, complete, and made only where something was sent (IHE rejection note)."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import insert, select

from builders.orthanc_round import deliver_to_orthanc
from builders.read_back import dciodvfy_errors
from builders.results import Column, column_input
from builders.site import NOW, Site
from trabecula_service.ledger.schema import deliveries, documents, versions
from trabecula_service.ledger.superseded import NOTE_NAME, posted_dicom_paths
from trabecula_service.pipeline.documents import superseded_objects
from trabecula_service.pipeline.request import AnalyzeRequest
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.registry import render_all

SMALL = Column(names=("T12", "L1"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
FIRST = ("report.sr.dcm", "segmentation.seg.dcm", "report.pdf.dcm", "capture.sc.dcm")


@pytest.fixture
def first(tmp_path: Path) -> list[Path]:
    """The DICOM documents of version 1, as files."""
    made = render_all(column_input(SMALL))
    for name in FIRST:
        (tmp_path / name).write_bytes(made[name])
    return [tmp_path / name for name in FIRST]


def second(first: list[Path], folder: Path) -> DocumentInput:
    """What version 2 is rendered from."""
    made = column_input(SMALL)
    request = AnalyzeRequest(input=folder, out=folder, created=made.created, version=2, superseded=tuple(first))
    return replace(made, version=2, superseded=superseded_objects(request))


def test_a_first_version_takes_nothing_back() -> None:
    assert NOTE_NAME not in render_all(column_input(SMALL))


def test_the_note_names_every_object_of_the_earlier_version_and_none_of_its_own(first: list[Path], tmp_path: Path) -> None:
    made = second(first, tmp_path)
    documents_of_second = render_all(made)
    note = dcmread(BytesIO(documents_of_second[NOTE_NAME]))
    title = note.ConceptNameCodeSequence[0]
    assert (note.Modality, title.CodeValue, title.CodingSchemeDesignator) == ("KO", "113001", "DCM")
    earlier = [dcmread(path, stop_before_pixels=True) for path in first]
    items = [item for item in note.ContentSequence if "ReferencedSOPSequence" in item]
    assert [item.ValueType for item in items] == ["COMPOSITE", "IMAGE", "COMPOSITE", "IMAGE"]
    assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in items] == [entry.SOPInstanceUID for entry in earlier]
    (study,) = note.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == note.StudyInstanceUID == earlier[0].StudyInstanceUID
    named = {series.SeriesInstanceUID: series.ReferencedSOPSequence[0].ReferencedSOPClassUID for series in study.ReferencedSeriesSequence}
    assert named == {entry.SeriesInstanceUID: entry.SOPClassUID for entry in earlier}
    own = {str(dcmread(BytesIO(content)).SOPInstanceUID) for name, content in documents_of_second.items() if name.endswith(".dcm")}
    assert own.isdisjoint(entry.SOPInstanceUID for entry in earlier)
    assert documents_of_second[NOTE_NAME] == render_all(second(first, tmp_path))[NOTE_NAME]


@pytest.mark.peer
def test_dciodvfy_finds_no_error_in_the_note(first: list[Path], tmp_path: Path) -> None:
    path = tmp_path / NOTE_NAME
    path.write_bytes(render_all(second(first, tmp_path))[NOTE_NAME])
    assert dciodvfy_errors(path) == []


@pytest.mark.peer
def test_orthanc_takes_the_note_into_the_study_and_holds_all_that_it_names(first: list[Path], tmp_path: Path) -> None:
    later = tmp_path / "second"
    later.mkdir()
    made = render_all(second(first, tmp_path))
    for name in (*FIRST, NOTE_NAME):
        (later / name).write_bytes(made[name])
    paths = [*first, *(later / name for name in (*FIRST, NOTE_NAME))]
    outcomes, held = deliver_to_orthanc(paths, tmp_path)
    assert outcomes == ["Accepted"] * 9
    assert {tags["SOPInstanceUID"] for tags in held} == {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths}
    assert len({tags["StudyInstanceUID"] for tags in held}) == 1
    (note,) = [tags for tags in held if tags["Modality"] == "KO"]
    (study,) = note["CurrentRequestedProcedureEvidenceSequence"]
    named = {entry["ReferencedSOPSequence"][0]["ReferencedSOPInstanceUID"] for entry in study["ReferencedSeriesSequence"]}
    assert named == {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in first}


def test_only_what_was_on_its_way_to_somebody_is_taken_back_and_no_earlier_note(tmp_path: Path) -> None:
    site = Site(tmp_path)
    files = dict.fromkeys(("report.sr.dcm", "capture.sc.dcm", "points.pr.dcm", NOTE_NAME), b"x")
    study_id = site.add(1, column_input(SMALL).result, files=files)
    with site.ledger.write() as connection:
        (version_id,) = connection.execute(select(versions.c.id)).scalars()
        for row in connection.execute(select(documents.c.id, documents.c.name)).all():
            if row.name != "points.pr.dcm":
                values = {"document_id": row.id, "version_id": version_id, "destination": "pacs", "state": "delivered"}
                connection.execute(insert(deliveries).values(**values, created_at=NOW, available_at=NOW))
        assert posted_dicom_paths(connection, study_id, 2) == ["1-capture.sc.dcm", "1-report.sr.dcm"]
        assert posted_dicom_paths(connection, study_id, 1) == []
    site.close()
