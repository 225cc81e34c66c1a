"""The conformance statement says what the program does."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from highdicom.sr import CodedConcept
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SegmentationStorage

from builders.results import Column, column_input
from trabecula_service.deliver.destinations.c_store import outcome_of
from trabecula_service.deliver.port import Accepted, Refused, Unavailable
from trabecula_service.receive.header import ObjectHeader, read_header
from trabecula_service.receive.object_kinds import is_ct, is_own_result
from trabecula_service.receive.storing import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, SUCCESS
from trabecula_service.render import dicom_codes, fhir_bundle, hl7_message, quantities
from trabecula_service.render.document_input import SupersededObject
from trabecula_service.render.registry import render_all
from trabecula_service.settings.receive import ReceiveSettings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "conformance.md").read_text(encoding="utf-8")
SMALL = Column(names=("T12", "L1", "L6"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))


@pytest.fixture(scope="module")
def objects() -> dict[str, Dataset]:
    earlier = SupersededObject(series_instance_uid="1.2.3", sop_class_uid=str(SegmentationStorage), sop_instance_uid="1.2.4")
    documents = render_all(replace(column_input(SMALL), superseded=(earlier,)))
    return {name: dcmread(BytesIO(data)) for name, data in documents.items() if name.endswith(".dcm")}


def test_every_object_that_is_sent_is_listed(objects: dict[str, Dataset]) -> None:
    for name, dataset in objects.items():
        uid = UID(dataset.SOPClassUID)
        assert f"| {uid.name} | {uid} | `{name}` | {dataset.Modality} | {dataset.SeriesNumber} |" in PAGE
        assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert str(ExplicitVRLittleEndian) in PAGE
    assert PAGE.count(".dcm` |") == len(objects), "no object is listed that is not made"


def concepts_in(value: object) -> Iterator[CodedConcept]:
    if isinstance(value, CodedConcept):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from concepts_in(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from concepts_in(part)


def listed_codes() -> dict[str, str]:
    table = PAGE.split("## Codes of the private scheme")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return {code.strip("`"): meaning for code, meaning in rows}


def test_every_private_code_is_listed_with_its_meaning_and_no_other() -> None:
    modules = (dicom_codes, quantities, hl7_message, fhir_bundle)
    found = [concept for module in modules for value in vars(module).values() for concept in concepts_in(value)]
    found += [dicom_codes.level_code(name) for name in ("L6", "T13")]
    found += [dicom_codes.contrast_phase_code(phase) for phase in ("unenhanced", "arterial", "portal_venous", "delayed", "unknown")]
    made = {str(concept.value): str(concept.meaning) for concept in found if concept.scheme_designator == dicom_codes.PRIVATE_SCHEME}
    assert made == listed_codes()


def private_codes(dataset: Dataset) -> set[str]:
    return {
        str(item.get("CodeValue") or item.get("LongCodeValue"))
        for element in dataset.iterall()
        if element.VR == "SQ"
        for item in element.value
        if item.get("CodingSchemeDesignator") == "99TRABECULA" and (item.get("CodeValue") or item.get("LongCodeValue"))
    }


def test_an_object_holds_no_private_code_that_is_not_listed(objects: dict[str, Dataset]) -> None:
    from trabecula_morphometry.codes import Code

    known = {*listed_codes(), *map(str, Code)}
    assert {name: private_codes(dataset) - known for name, dataset in objects.items()} == {name: set() for name in objects}
    assert "VBMD" in private_codes(objects["report.sr.dcm"])


def test_every_object_of_ours_is_known_as_ours_when_it_comes_back(objects: dict[str, Dataset]) -> None:
    def header(dataset: Dataset) -> ObjectHeader:
        wire, buffer = Dataset(), BytesIO()
        wire.update(dataset)
        dcmwrite(buffer, wire, implicit_vr=False, little_endian=True)
        found = read_header(buffer.getvalue(), str(ExplicitVRLittleEndian))
        assert isinstance(found, ObjectHeader)
        return found

    assert [name for name, dataset in objects.items() if not is_own_result(header(dataset))] == []


def test_the_statuses_mean_what_the_page_says() -> None:
    kinds = {0x0000: Accepted, 0x0107: Accepted, 0xB000: Accepted, 0x0111: Accepted, 0xA701: Unavailable, 0xC000: Refused}
    assert {status: type(outcome_of(status)) for status in kinds} == kinds
    for status in (SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND):
        assert f"| 0x{status:04X} |" in PAGE


def test_the_defaults_and_the_analysed_classes_are_those_of_the_program() -> None:
    settings = ReceiveSettings()
    for text in (
        f"`{settings.ae_title}`",
        f"default {settings.port}",
        f"default {settings.max_associations}",
        f"default {settings.max_pdu_bytes}",
    ):
        assert text in PAGE
    assert f"default {settings.processes}" in PAGE
    assert f"closed after `receive.idle_seconds`, default {settings.idle_seconds:g} s" in PAGE
    names = {"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"}
    assert all(is_ct(uid) for uid in names)
    assert "Only CT Image, Enhanced CT Image and Legacy Converted Enhanced CT Image Storage are analysed" in PAGE
