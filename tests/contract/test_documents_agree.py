"""One result, many documents: each is read back by an independent reader and says the same numbers, units and names."""

import base64
import csv
import io
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

from builders.read_back import Said, dciodvfy_errors, disagreements, numbers_of, run, said_by_fhir, said_by_hl7, said_by_report
from builders.results import Column, column_input, not_evaluable
from trabecula_morphometry.codes import Code
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.fhir_bundle import report_fhir
from trabecula_service.render.hl7_message import report_oru
from trabecula_service.render.measurements_table import COLUMNS, parquet_bytes, table_rows
from trabecula_service.render.registry import render_all
from trabecula_service.result import PriorDensity

SMALL = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
SCHEME = "99TRABECULA"


EARLIER = PriorDensity(
    scanned_on=date(2024, 2, 1), mean_mg_cm3=131.25, interval95=(121.0, 141.5), basis="calibrated", material="K2HPO4", kvp=120.0
)


@pytest.fixture(scope="module")
def made() -> DocumentInput:
    made = column_input(SMALL)
    source = made.result.source.model_copy(update={"scanned_on": date(2026, 3, 1)})
    return replace(made, result=made.result.model_copy(update={"priors": [EARLIER], "source": source}))


@pytest.fixture(scope="module")
def documents(made: DocumentInput) -> dict[str, bytes]:
    return render_all(made)


def compare(found: Said, made: DocumentInput) -> None:
    expected = numbers_of(made.result)
    assert len(expected) > 50
    assert disagreements(found, expected) == []


def test_hl7apy_reads_the_numbers(made: DocumentInput, documents: dict[str, bytes]) -> None:
    parsed, found = said_by_hl7(documents["report.oru.hl7"])
    assert parsed.validate()
    compare(found, made)
    assert found["VBMD_EARLIER_DAYS", ""] == (759.0, "d")
    assert "|VBMD_CHANGE_VERDICT^" in documents["report.oru.hl7"].decode()
    identity = parsed.ORU_R01_PATIENT_RESULT.ORU_R01_PATIENT.PID
    assert identity.pid_3.cx_1.value == "P-0042"
    assert identity.pid_5.xpn_1.to_er7() == "Müller"
    segments = documents["report.oru.hl7"].decode().split("\r")
    request = next(line for line in segments if line.startswith("OBR|")).split("|")
    assert (request[3], request[18], request[25]) == ("A-17", "A-17", "P")
    assert {line.split("|")[11] for line in segments if line.startswith("OBX|")} == {"P"}
    (mean,) = [line for line in segments if "|VBMD_MEAN^" in line]
    assert "BASIS_CALIBRATED" in mean
    assert "MATERIAL_K2HPO4" in mean


def test_the_pdf_in_the_message_is_the_report(documents: dict[str, bytes]) -> None:
    (line,) = [text for text in documents["report-pdf.oru.hl7"].decode().split("\r") if "|ED|" in text]
    assert base64.b64decode(line.split("|")[5].split("^")[4]) == documents["report.pdf"]


@pytest.mark.parametrize(
    "name", ["O'Brien|^Se\\an&~", "<script>", "{{ 7*7 }}", "Yamada^Tarou=山田^太郎=やまだ^たろう", "김^철수", "a\rMSH|^b"]
)
def test_no_name_breaks_a_message_or_a_bundle(name: str) -> None:
    made = column_input(SMALL, headers={"PatientName": name, "PatientID": "7|8^9"})
    message = report_oru(made)
    segments = message.decode().split("\r")
    assert {segment[:3] for segment in segments} == {"MSH", "PID", "PV1", "ORC", "OBR", "OBX", ""}
    parsed, found = said_by_hl7(message)
    compare(found, made)
    assert parsed.ORU_R01_PATIENT_RESULT.ORU_R01_PATIENT.PID.pid_3.cx_1.value.replace("\\F\\", "|").replace("\\S\\", "^") == "7|8^9"
    bundle = json.loads(report_fhir(made))
    assert all(part["resource"].get("subject", {}).get("identifier", {}).get("value", "7|8^9") == "7|8^9" for part in bundle["entry"])


def test_no_patient_is_invented_where_the_header_names_none() -> None:
    from fhir.resources.R4B.bundle import Bundle

    documents = render_all(column_input(SMALL, headers={"PatientID": None}))
    assert not [name for name in documents if name.endswith(".hl7")], "a message without patient ID could be filed by nobody"
    assert b'"subject"' not in documents["report.fhir.json"]
    Bundle.model_validate_json(documents["report.fhir.json"])
    nameless = report_oru(column_input(SMALL, headers={"PatientName": "", "AccessionNumber": None}))
    assert said_by_hl7(nameless)[0].validate()
    assert "|^^^^^^U|" in nameless.decode()


def test_a_fhir_model_of_others_accepts_the_bundle_and_finds_the_numbers(made: DocumentInput, documents: dict[str, bytes]) -> None:
    from fhir.resources.R4B.bundle import Bundle

    bundle = Bundle.model_validate_json(documents["report.fhir.json"])
    kinds = [entry.resource.get_resource_type() for entry in bundle.entry]
    assert {"Device", "DiagnosticReport", "Observation", "Provenance"} == set(kinds)
    read = json.loads(bundle.model_dump_json())
    # Each level's name confidence is not part of a FHIR observation.
    found = {**said_by_fhir(read), **{key: value for key, value in numbers_of(made.result).items() if key[0] == "LEVEL_CONFIDENCE"}}
    compare(found, made)
    resources = [entry["resource"] for entry in read["entry"]]
    assert {resource["status"] for resource in resources if resource["resourceType"] in ("Observation", "DiagnosticReport")} == {
        "preliminary"
    }
    (report,) = [resource for resource in resources if resource["resourceType"] == "DiagnosticReport"]
    assert report["result"] == [{"reference": f"Observation/{r['id']}"} for r in resources if r["resourceType"] == "Observation"]
    assert base64.b64decode(report["presentedForm"][0]["data"]) == documents["report.pdf"]
    assert report["basedOn"][0]["identifier"]["value"] == "A-17"
    (mean,) = [r for r in resources if r["resourceType"] == "Observation" and r["code"]["coding"][0]["code"] == "VBMD_MEAN"]
    assert [coding["code"] for coding in mean["method"]["coding"]] == ["BASIS_CALIBRATED", "MATERIAL_K2HPO4"]


def test_what_was_not_measured_has_its_reason_in_fhir() -> None:
    from fhir.resources.R4B.bundle import Bundle

    documents = render_all(not_evaluable(column_input(SMALL), Code.HU_IMPLAUSIBLE))
    Bundle.model_validate_json(documents["report.fhir.json"])
    observations = [
        entry["resource"]
        for entry in json.loads(documents["report.fhir.json"])["entry"]
        if entry["resource"]["resourceType"] == "Observation"
    ]
    assert ["valueQuantity" in observation for observation in observations] == [False]
    assert "not Hounsfield units" in observations[0]["dataAbsentReason"]["text"]


def test_the_table_says_the_same_in_csv_and_parquet(made: DocumentInput, documents: dict[str, bytes]) -> None:
    pandas = pytest.importorskip("pandas")
    rows = list(csv.DictReader(io.StringIO(documents["measurements.csv"].decode())))
    assert [row["level"] for row in rows] == list(SMALL.names)
    for row, level in zip(rows, made.result.levels, strict=True):
        assert level.density is not None
        assert float(row["density_mg_cm3"]) == level.density.value_mg_cm3
        assert float(row["mean_density_mg_cm3"]) == made.result.density.mean_mg_cm3
        assert int(row["genant_grade"]) == level.genant.grade
    frame = pandas.read_parquet(io.BytesIO(parquet_bytes(table_rows([made.result]))))
    assert list(frame.columns) == [column.name for column in COLUMNS]
    again = pandas.read_csv(io.BytesIO(documents["measurements.csv"]))
    numbers = [column.name for column in COLUMNS if column.kind is float]
    np.testing.assert_array_equal(frame[numbers].to_numpy(float), again[numbers].to_numpy(float))


def test_the_data_dictionary_explains_every_column() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "data-dictionary.md").read_text(encoding="utf-8")
    assert [column.name for column in COLUMNS if f"| `{column.name}` | {column.meaning} |" not in text] == []


@pytest.mark.peer
def test_dcmqi_reads_the_numbers_of_the_structured_report(made: DocumentInput, documents: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "report.sr.dcm").write_bytes(documents["report.sr.dcm"])
    assert dciodvfy_errors(tmp_path / "report.sr.dcm") == []
    read, found = said_by_report(tmp_path / "report.sr.dcm", tmp_path)
    for group in read["Measurements"]:
        if group["TrackingIdentifier"] != "study":
            assert group["FindingSite"]["CodeMeaning"] == f"{group['TrackingIdentifier']} vertebra"
            assert group["segmentationSOPInstanceUID"]
    compare(found, made)


@pytest.mark.peer
def test_dcmqi_finds_each_body_where_it_lies(made: DocumentInput, documents: dict[str, bytes], tmp_path: Path) -> None:
    simpleitk = pytest.importorskip("SimpleITK")
    (tmp_path / "segmentation.seg.dcm").write_bytes(documents["segmentation.seg.dcm"])
    run("segimage2itkimage", "--inputDICOM", tmp_path / "segmentation.seg.dcm", "--outputDirectory", tmp_path, "--outputType", "nii")
    meta = json.loads((tmp_path / "meta.json").read_text())
    segments = {part["SegmentLabel"]: part["labelID"] for group in meta["segmentAttributes"] for part in group}
    for name in SMALL.names:
        image = simpleitk.ReadImage(str(tmp_path / f"{segments[f'{name} vertebral body']}.nii"))
        voxels = np.argwhere(simpleitk.GetArrayFromImage(image) > 0)
        center = image.TransformContinuousIndexToPhysicalPoint(voxels.mean(axis=0)[::-1].tolist())
        assert center == pytest.approx(SMALL.center(name), abs=2.1)
        assert len(voxels) == np.count_nonzero(made.bodies.labels_zyx == LABEL_OF_LEVEL[name])


@pytest.mark.peer
def test_dcmqi_finds_the_same_bodies_in_the_label_map(made: DocumentInput, tmp_path: Path) -> None:
    simpleitk = pytest.importorskip("SimpleITK")
    assert "labelmap.seg.dcm" not in render_all(made)
    (tmp_path / "labelmap.seg.dcm").write_bytes(render_all(made, ["labelmap.seg.dcm"])["labelmap.seg.dcm"])
    written = dcmread(tmp_path / "labelmap.seg.dcm")
    assert (written.SegmentationType, written.file_meta.TransferSyntaxUID, written.Modality) == ("LABELMAP", RLELossless, "SEG")
    run("segimage2itkimage", "--inputDICOM", tmp_path / "labelmap.seg.dcm", "--outputDirectory", tmp_path, "--outputType", "nii")
    meta = json.loads((tmp_path / "meta.json").read_text())
    segments = {part["SegmentLabel"]: part["labelID"] for group in meta["segmentAttributes"] for part in group}
    voxels = np.concatenate([simpleitk.GetArrayFromImage(simpleitk.ReadImage(str(path))).ravel() for path in tmp_path.glob("*.nii*")])
    for name in SMALL.names:
        expected = np.count_nonzero(made.bodies.labels_zyx == LABEL_OF_LEVEL[name])
        assert np.count_nonzero(voxels == segments[f"{name} vertebral body"]) == expected
    assert render_all(made, ["labelmap.seg.dcm"])["labelmap.seg.dcm"] == (tmp_path / "labelmap.seg.dcm").read_bytes()
