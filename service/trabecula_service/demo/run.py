"""The whole demonstration: images in by C-STORE, documents out to a PACS, and a look at both."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import dcmread

from trabecula_morphometry.digital_patient import DigitalPatient, PatientOptions, make_digital_patient
from trabecula_service.demo.calibration import write_calibration
from trabecula_service.demo.compare import Row, compare
from trabecula_service.demo.ct_series import write_ct_series
from trabecula_service.demo.errors import DemoError
from trabecula_service.demo.loopback_pacs import LoopbackPacs
from trabecula_service.demo.send import Receiver, dicom_files, send_files
from trabecula_service.demo.service_process import ServiceProcess
from trabecula_service.pipeline.files import write_durably
from trabecula_service.result import Result

Say = Callable[[str], None]

WANTED_DOCUMENTS = ("report.sr.dcm", "segmentation.seg.dcm", "report.pdf.dcm", "capture.sc.dcm")
_KEPT_FROM_SERVICE = ("report.pdf", "overview.png")
_WAIT_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOutcome:
    """What the demonstration showed; ``rows`` is empty for real images, whose truth nobody knows."""

    result: Result
    received: dict[str, Path]
    report: Path
    rows: list[Row]


def run_digital(out: Path, *, options: PatientOptions | None = None, now: datetime, say: Say) -> DemoOutcome:
    """Make a digital patient, send it, and compare.

    Raises
    ------
    DemoError
        If no result or not every document arrives.
    """
    started = time.monotonic()
    patient: DigitalPatient = make_digital_patient(options)
    say(f"digital patient made: {patient.volume.hu_zyx.shape[0]} slices ({time.monotonic() - started:.0f} s)")
    with tempfile.TemporaryDirectory(prefix="trabecula-demo-") as work:
        files = write_ct_series(patient.volume, patient.options, Path(work, "ct"), made=now)
        calibration = write_calibration(
            Path(work, "calibration.toml"), patient.truth.line, tube_voltage_kvp=patient.options.tube_voltage_kvp, today=now.date()
        )
        result, received = _through_the_service(files, out, Path(work), calibration, say)
    return DemoOutcome(result=result, received=received, report=out / "report.pdf", rows=compare(patient.truth, result))


def run_real(out: Path, folder: Path, *, say: Say) -> DemoOutcome:
    """Send the DICOM files of a folder the same way.

    Raises
    ------
    InputError
        If the folder holds no DICOM file.
    DemoError
        If no result or not every document arrives.
    """
    files = dicom_files(folder)
    with tempfile.TemporaryDirectory(prefix="trabecula-demo-") as work:
        result, received = _through_the_service(files, out, Path(work), None, say)
    return DemoOutcome(result=result, received=received, report=out / "report.pdf", rows=[])


def send_digital(receiver: Receiver, *, options: PatientOptions | None = None, now: datetime, say: Say) -> None:
    """Make a digital patient and only send its images.

    Raises
    ------
    DemoError
        If the receiver does not take them.
    """
    patient = make_digital_patient(options)
    with tempfile.TemporaryDirectory(prefix="trabecula-demo-") as work:
        files = write_ct_series(patient.volume, patient.options, Path(work, "ct"), made=now)
        started = time.monotonic()
        say(f"{send_files(files, receiver)} images of a digital patient sent to {receiver.ae_title} ({time.monotonic() - started:.1f} s)")


def _through_the_service(files: list[Path], out: Path, work: Path, calibration: Path | None, say: Say) -> tuple[Result, dict[str, Path]]:
    out.mkdir(parents=True, exist_ok=True)
    for name in (*WANTED_DOCUMENTS, *_KEPT_FROM_SERVICE, "result.json"):
        # A report of an earlier run must not pass for this one's.
        (out / name).unlink(missing_ok=True)
    study_uid = str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    with (
        LoopbackPacs(out) as pacs,
        ServiceProcess(work / "service", out / "service.log", pacs_port=pacs.port, calibration_file=calibration) as service,
    ):
        say(f"service runs: listener on port {service.dicom_port}, page at {service.url}")
        started = time.monotonic()
        say(f"{send_files(files, Receiver(port=service.dicom_port))} images sent by C-STORE ({time.monotonic() - started:.1f} s)")
        row = service.wait_for_study(study_uid, _WAIT_SECONDS, lambda state: say(f"study {state} ({time.monotonic() - started:.0f} s)"))
        text = service.result_text(row["id"])
        if text is None:
            raise DemoError(
                f"no result: study {row['state']}", where=str(row["code"]), hint=str(row["reason"]) or f"read {out / 'service.log'}"
            )
        write_durably(out / "result.json", text.encode())
        for name in _KEPT_FROM_SERVICE:
            content = service.document(row["id"], int(row["version"]), name)
            if content is not None:
                write_durably(out / name, content)
        received = pacs.received
    result = Result.from_json(text)
    missing = [name for name in WANTED_DOCUMENTS if name not in received]
    if missing:
        raise DemoError(
            f"the PACS did not get {', '.join(missing)}", where=result.status, hint=str(row["reason"]) or f"read {out / 'service.log'}"
        )
    return result, received
