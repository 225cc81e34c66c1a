"""Signed documents before independent readers: verified, with the reader's name in any script, and sound."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from fhir.resources.R4B.bundle import Bundle
from pydicom import dcmread
from pydicom.dataset import Dataset

from builders.peers import need_program
from builders.results import Column, column_input
from contract.test_render_dicom import errors_of, write
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.fhir_bundle import report_fhir
from trabecula_service.render.hl7_message import report_oru
from trabecula_service.render.pdf_report import report_data
from trabecula_service.render.registry import render_all
from trabecula_service.render.signature import person_name
from trabecula_service.render.structured_report import report_sr_dcm
from trabecula_service.result import Signature
from trabecula_service.review.amend import rejected

COLUMN = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
SIGNATURE = Signature(
    verdict="amended",
    reader="Müller, Jürgen",
    organization="Klinik Süd",
    at=datetime(2026, 3, 4, 6, 0, 0, tzinfo=UTC),
    reason="L1 re-measured",
    base_version=1,
    changes=["L1: points moved (anterior superior)."],
    predecessor_sop_instance_uid="1.2.3.4.5",
    predecessor_series_instance_uid="1.2.3.4",
)


def signed(signature: Signature = SIGNATURE, **headers: object) -> DocumentInput:
    """A document input whose result a reader has signed."""
    made = column_input(COLUMN, headers=headers)
    base = rejected(made.result, signature.reason) if signature.verdict == "rejected" else made.result
    return replace(made, result=base.model_copy(update={"signature": signature}), version=2)


@pytest.mark.peer
@pytest.mark.parametrize("verdict", ["accepted", "amended", "rejected"])
def test_dciodvfy_finds_no_error_in_signed_objects(verdict: str, tmp_path: Path) -> None:
    need_program("dciodvfy")
    documents = render_all(signed(SIGNATURE.model_copy(update={"verdict": verdict})))
    paths = write({name: content for name, content in documents.items() if name.endswith(".dcm")}, tmp_path)
    assert len(paths) >= 2
    assert {path.name: errors_of(path) for path in paths} == {path.name: [] for path in paths}


def test_the_report_is_final_verified_and_names_its_observer_and_its_predecessor() -> None:
    report = dcmread(BytesIO(report_sr_dcm(signed())))
    assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == ("COMPLETE", "FINAL", "VERIFIED")
    (observer,) = report.VerifyingObserverSequence
    assert (observer.VerifyingObserverName, observer.VerifyingOrganization) == ("Müller^Jürgen", "Klinik Süd")
    assert str(observer.VerificationDateTime) == "20260304060000+0000"
    series = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert (series.SeriesInstanceUID, series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) == ("1.2.3.4", "1.2.3.4.5")
    text = report_sr_dcm(signed()).decode("utf-8", errors="replace")
    assert "Reader: L1: points moved (anterior superior)." in text
    assert "unverified" not in text


@pytest.mark.parametrize(
    ("character_set", "reader", "written"),
    [
        ("ISO_IR 192", "山田, 太郎", "山田^太郎"),
        ("ISO_IR 100", "Müller, Jürgen", "Müller^Jürgen"),
        (None, "Müller, Jürgen", "Muller^Jurgen"),
        ("ISO_IR 100", "山田, 太郎", "READER"),
        (["", "ISO 2022 IR 87"], "山田, 太郎", "山田^太郎"),
        ("ISO_IR 192", "Vera", "Vera"),
    ],
)
def test_the_readers_name_never_changes_the_character_set_of_the_patients(
    character_set: str | list[str] | None, reader: str, written: str
) -> None:
    dataset = Dataset()
    if character_set:
        dataset.SpecificCharacterSet = character_set
    assert person_name(reader, dataset) == written


def test_without_a_signature_everything_stays_preliminary_and_with_one_nothing_does() -> None:
    plain, message = column_input(COLUMN), report_oru(signed()).decode()
    observations = [line.split("|") for line in message.split("\r") if line.startswith("OBX")]
    assert {fields[11] for fields in observations} == {"C"}
    assert all(line.split("|")[11] == "P" for line in report_oru(plain).decode().split("\r") if line.startswith("OBX"))
    assert next(line for line in message.split("\r") if line.startswith("OBR")).split("|")[25] == "C"
    assert "unverified" not in message
    assert report_data(signed())["unverified"] == "Verified by Müller, Jürgen, 2026-03-04 06:00 UTC: amended"


def test_fhir_names_the_reader_and_the_statuses_of_the_verdict() -> None:
    for verdict, status in (("accepted", "final"), ("amended", "amended"), ("rejected", "cancelled")):
        bundle = json.loads(report_fhir(signed(SIGNATURE.model_copy(update={"verdict": verdict}))))
        Bundle.model_validate(bundle)
        resources = [entry["resource"] for entry in bundle["entry"]]
        assert {resource["status"] for resource in resources if resource["resourceType"] in ("Observation", "DiagnosticReport")} == {status}
        (report,) = [resource for resource in resources if resource["resourceType"] == "DiagnosticReport"]
        assert report["resultsInterpreter"] == [{"display": "Müller, Jürgen"}]


def test_a_rejected_reading_has_reports_with_the_reason_and_no_picture_or_segmentation() -> None:
    documents = render_all(signed(SIGNATURE.model_copy(update={"verdict": "rejected", "reason": "patient moved"})))
    assert {"report.pdf", "report.sr.dcm", "report.fhir.json"} <= set(documents)
    assert not {"overview.png", "segmentation.seg.dcm", "capture.sc.dcm"} & set(documents)
    assert b"Reason: patient moved" in documents["report.sr.dcm"]
