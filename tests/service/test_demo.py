"""The demonstration: what it sends is valid CT, what it prints is what arrived, and it ends with an error when nothing arrives."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage
from typer.testing import CliRunner

from builders.peers import need_program
from trabecula_calibration.entries import parse_entries
from trabecula_morphometry.digital_patient import DigitalPatient, PatientOptions, make_digital_patient
from trabecula_service.cli.main import app
from trabecula_service.demo.calibration import write_calibration
from trabecula_service.demo.compare import as_text, compare
from trabecula_service.demo.ct_series import write_ct_series
from trabecula_service.demo.errors import DemoError
from trabecula_service.demo.loopback_pacs import AE_TITLE, LoopbackPacs
from trabecula_service.demo.run import WANTED_DOCUMENTS, run_digital, send_digital
from trabecula_service.demo.send import Receiver, dicom_files, send_files
from trabecula_service.dicom.read import read_input
from trabecula_service.result import Density, Genant, Level, LevelDensity, Result, Software, Source

NOW = datetime(2026, 5, 4, 10, 30, tzinfo=UTC)
SMALL = PatientOptions(field_of_view_mm=160.0, spacing_xyz_mm=(1.0, 1.0, 5.0))


@pytest.fixture(scope="module")
def patient() -> DigitalPatient:
    return make_digital_patient(SMALL)


@pytest.fixture(scope="module")
def series(patient: DigitalPatient, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_ct_series(patient.volume, patient.options, tmp_path_factory.mktemp("ct"), made=NOW)


@pytest.mark.peer
def test_the_series_is_valid_ct(series: list[Path]) -> None:
    program = need_program("dciodvfy")
    for path in (series[0], series[-1]):
        report = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
        assert "CTImage" in report.stderr + report.stdout
        assert [line for line in (report.stderr + report.stdout).splitlines() if line.startswith("Error")] == []


def test_the_series_read_back_is_the_patient(patient: DigitalPatient, series: list[Path]) -> None:
    image = read_input(series[0].parent)
    np.testing.assert_allclose(image.volume.grid.voxel_to_lps, patient.volume.grid.voxel_to_lps, atol=1e-3)
    np.testing.assert_array_equal(image.volume.hu_zyx, np.maximum(patient.volume.hu_zyx, -1024))
    assert (image.acquisition.kvp, image.acquisition.age_years, image.acquisition.sex) == (120, 67, "F")


def test_the_uids_follow_from_the_patient_and_the_time(patient: DigitalPatient, series: list[Path], tmp_path: Path) -> None:
    again = write_ct_series(patient.volume, patient.options, tmp_path / "again", made=NOW)
    later = write_ct_series(patient.volume, patient.options, tmp_path / "later", made=NOW.replace(hour=11))
    uids = [dcmread(paths[0], stop_before_pixels=True).SOPInstanceUID for paths in (series, again, later)]
    assert uids[0] == uids[1] != uids[2]


def test_the_loopback_pacs_keeps_what_it_is_sent(series: list[Path], tmp_path: Path) -> None:
    with LoopbackPacs(tmp_path) as pacs:
        assert send_files(series[:3], Receiver(ae_title=AE_TITLE, port=pacs.port)) == 3
        received = pacs.received
    assert len(received) == 3
    assert {dcmread(path).SOPInstanceUID for path in received.values()} == {dcmread(path).SOPInstanceUID for path in series[:3]}


def test_nobody_listening_is_said(series: list[Path], tmp_path: Path) -> None:
    with LoopbackPacs(tmp_path) as pacs:
        port = pacs.port
    with pytest.raises(DemoError, match="does not take the association"):
        send_files(series[:1], Receiver(port=port))


@pytest.mark.parametrize("silent", [1, 2])
def test_an_image_without_an_answer_is_sent_once_more(series: list[Path], silent: int) -> None:
    asked: list[str] = []

    def answer_late(event: evt.Event) -> int:
        asked.append(event.request.AffectedSOPInstanceUID)
        if 2 <= len(asked) < 2 + silent:
            event.assoc.abort()
        return 0x0000

    ae = AE(ae_title=AE_TITLE)
    ae.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer_late)])
    try:
        receiver = Receiver(ae_title=AE_TITLE, port=server.socket.getsockname()[1])
        if silent == 1:
            assert send_files(series[:3], receiver) == 3
            assert [asked.count(uid) for uid in dict.fromkeys(asked)] == [1, 2, 1]
        else:
            with pytest.raises(DemoError, match="does not answer"):
                send_files(series[:3], receiver)
    finally:
        server.shutdown()


def test_the_digital_patient_alone_goes_to_a_pacs_that_is_named(tmp_path: Path) -> None:
    said: list[str] = []
    with LoopbackPacs(tmp_path) as pacs:
        send_digital(Receiver.parse(f"{AE_TITLE}@127.0.0.1:{pacs.port}"), options=SMALL, now=NOW, say=said.append)
        assert said[0].startswith(f"{len(pacs.received)} images of a digital patient sent to {AE_TITLE}")


@pytest.mark.parametrize("text", ["ORTHANC", "ORTHANC@127.0.0.1", "ORTHANC@127.0.0.1:0", "@host:104", "A_TITLE_THAT_IS_TOO_LONG@host:104"])
def test_an_address_that_is_none_ends_the_command_with_how_to_write_it(text: str) -> None:
    answer = CliRunner().invoke(app, ["demo", "--to", text])
    assert answer.exit_code == 1
    assert "AETITLE@HOST:PORT" in answer.output


def test_a_folder_without_images_ends_the_command_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    answer = CliRunner().invoke(app, ["demo", "--real", str(tmp_path), "--out", str(tmp_path / "out")])
    assert answer.exit_code == 1
    assert "no DICOM file in the folder" in answer.output


def test_only_dicom_files_are_sent(series: list[Path]) -> None:
    (series[0].parent / "README.txt").write_text("not an image")
    assert dicom_files(series[0].parent) == sorted(series)


def test_the_calibration_of_the_demo_is_accepted(patient: DigitalPatient, tmp_path: Path) -> None:
    (entry,) = parse_entries(write_calibration(tmp_path / "c.toml", patient.truth.line, tube_voltage_kvp=120, today=NOW.date()).read_text())
    assert entry.slope_mg_cm3_per_hu * patient.truth.level("L1").trabecular_hu == pytest.approx(109.0, abs=0.01)


def _level(name: str, **known: object) -> Level:
    return Level.model_validate({"name": name, "confidence": 1, "center_lps_mm": (0, 0, 0), "complete": True, **known})


def test_the_table_says_what_is_missing(patient: DigitalPatient) -> None:
    result = Result(
        schema="trabecula.result/1",
        status="partial",
        software=Software(version="0", backend="none", weights_sha256=""),
        source=Source(study_instance_uid=None, series_instance_uid=None, file_count=1, matrix=(1, 1, 1), spacing_mm=(1, 1, 1)),
        levels=[
            Level(
                name="L1",
                confidence=1,
                center_lps_mm=(0, 0, 0),
                complete=True,
                density=LevelDensity(value_mg_cm3=112.5, interval95=(100, 120)),
            ),
            Level(name="L4", confidence=1, center_lps_mm=(0, 0, 0), complete=True, genant=Genant(grade=1)),
        ],
        density=Density(mean_mg_cm3=112.5, levels=["L1"], basis="calibrated", material="K2HPO4"),
    )
    rows = {row.what: row for row in compare(patient.truth, result)}
    assert (rows["L1 density"].measured, rows["L1 density"].difference) == ("112.5 mg/cm3", "+3.5")
    assert rows["L2 density"].measured == "not measured"
    assert rows["mean density (L1)"].true == "109.0 mg/cm3"
    assert (rows["T12 grade"].true, rows["T12 grade"].measured) == ("2", "not graded")
    assert (rows["L4 grade"].true, rows["L4 grade"].difference) == ("0", "+1")
    assert "L1 density" in as_text(list(rows.values()))


def test_a_digital_patient_goes_through_the_whole_service(tmp_path: Path) -> None:
    said: list[str] = []
    options = PatientOptions(field_of_view_mm=256.0, spacing_xyz_mm=(1.0, 1.0, 2.5))
    outcome = run_digital(tmp_path, options=options, now=datetime.now(UTC).replace(microsecond=0), say=said.append)
    assert set(outcome.received) >= set(WANTED_DOCUMENTS)
    assert outcome.report.read_bytes().startswith(b"%PDF")
    assert outcome.result.density.basis == "calibrated"
    measured = {level.name: level for level in outcome.result.levels}
    for name in ("L1", "L2", "L3"):
        density = measured[name].density
        assert density is not None
        assert density.value_mg_cm3 == pytest.approx(options.density_k2hpo4_mg_cm3[name], abs=6.0)
    assert measured["T12"].genant.grade in (1, 2, 3)
    assert any("study done" in line for line in said)
