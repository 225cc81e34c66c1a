"""A stand-in for the analysis: quick, steered by the images, with real result types and valid small documents.

What it does is chosen by the SeriesDescription of the first image: "crash" kills its process, "error" raises, "refuse" is unreadable,
"headct" is not evaluable; anything else gives a result.
"""

import os
import signal
import time
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from trabecula_morphometry.codes import Code
from trabecula_service.pipeline.request import AnalyzeOutcome, AnalyzeRequest, Progress
from trabecula_service.render.uids import uid_of
from trabecula_service.result import Density, Genant, HeightLoss, Heights, Level, Result, Software, Source, TrabecularHu, flag

DOCUMENTS = {
    "report.sr.dcm": ComprehensiveSRStorage,
    "segmentation.seg.dcm": SegmentationStorage,
    "report.pdf.dcm": EncapsulatedPDFStorage,
    "capture.sc.dcm": SecondaryCaptureImageStorage,
}
SLOW_SECONDS = 60.0


def analyze(request: AnalyzeRequest, progress: Progress | None = None) -> AnalyzeOutcome:
    """Same signature as the real one."""
    images = [dcmread(path) for path in sorted(request.input.iterdir())]
    what = str(images[0].get("SeriesDescription", ""))
    if progress:
        progress("read", 0.1)
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "error":
        raise RuntimeError(f"about {images[0].PatientName}")
    if what == "refuse":
        return AnalyzeOutcome(exit_code=2, message="unsupported transfer syntax (series): send it uncompressed")
    request.out.mkdir(parents=True)
    source = Source(
        study_instance_uid=str(images[0].StudyInstanceUID),
        series_instance_uid=str(images[0].SeriesInstanceUID),
        file_count=len(images),
        matrix=(8, 8, len(images)),
        spacing_mm=(1.0, 1.0, 1.0),
    )
    software = Software(version="test", backend="fake", weights_sha256="0" * 64)
    if what == "headct":
        refused = Result(status="not_evaluable", software=software, source=source, flags=[flag(Code.NO_SPINE)])
        (request.out / "result.json").write_text(refused.to_json())
        message = "NO_SPINE: No thoracic or lumbar vertebra in view."
        return AnalyzeOutcome(exit_code=3, message=message, result=refused, files=(request.out / "result.json",))
    result = Result(status="complete", software=software, source=source, levels=_levels(), density=_density())
    files = [request.out / "result.json"]
    files[0].write_text(result.to_json())
    for name, sop_class in DOCUMENTS.items():
        files.append(request.out / name)
        _document(sop_class, request, source, name).save_as(files[-1], enforce_file_format=True)
    return AnalyzeOutcome(exit_code=0, message="measured", result=result, files=tuple(files))


def _levels() -> list[Level]:
    hu = TrabecularHu(mean=120.0, median=119.0, sd=20.0, volume_mm3=4000.0)
    sound = Level(name="L1", confidence=0.9, center_lps_mm=(0, 0, 0), complete=True, genant=Genant(grade=0), hu=hu)
    heights = Heights(anterior=17.0, middle=20.0, posterior=25.0)
    loss = HeightLoss(anterior=0.32, middle=0.2, posterior=0.0, max=0.32)
    broken = Level(
        name="L2",
        confidence=0.9,
        center_lps_mm=(0, 0, -35),
        complete=True,
        heights_mm=heights,
        height_loss=loss,
        genant=Genant(grade=2, type="wedge", probability=(0.0, 0.1, 0.8, 0.1)),
        hu=hu,
        excluded=[Code.FRACTURED],
    )
    return [sound, broken]


def _density() -> Density:
    return Density(mean_mg_cm3=101.0, interval95=(85.0, 117.0), levels=["L1"], basis="estimate", material="K2HPO4")


def _document(sop_class: str, request: AnalyzeRequest, source: Source, name: str) -> Dataset:
    document = Dataset()
    document.file_meta = FileMetaDataset()
    document.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    document.SOPClassUID = sop_class
    document.SOPInstanceUID = uid_of(source.series_instance_uid or "", str(request.version), name, str(source.file_count))
    document.StudyInstanceUID = source.study_instance_uid
    document.SeriesInstanceUID = uid_of(source.series_instance_uid or "", str(request.version), name)
    document.Manufacturer = "Trabecula"
    document.ContentDate = request.created.strftime("%Y%m%d")
    document.ContentTime = request.created.strftime("%H%M%S")
    return document


def slow_once(request: AnalyzeRequest, progress: Progress | None = None) -> AnalyzeOutcome:
    """Takes long the first time and leaves its process number behind; answers at once the second time."""
    mark = Path(os.environ["TRABECULA_TEST_MARK"])
    if not mark.exists():
        mark.write_text(str(os.getpid()))
        time.sleep(float(os.environ.get("TRABECULA_TEST_SLOW_SECONDS", SLOW_SECONDS)))
    return analyze(request, progress)


def when_released(request: AnalyzeRequest, progress: Progress | None = None) -> AnalyzeOutcome:
    """Waits, the first time, until the file beside the mark is there; so the test has time to fill the queue."""
    mark = Path(os.environ["TRABECULA_TEST_MARK"])
    if not mark.exists():
        mark.touch()
        deadline = time.monotonic() + SLOW_SECONDS
        while not mark.with_suffix(".go").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    return analyze(request, progress)


def half_a_second(request: AnalyzeRequest, progress: Progress | None = None) -> AnalyzeOutcome:
    """Takes half a second of the clock and nearly none of the processor, so that workers can be compared on a busy machine."""
    time.sleep(0.5)
    return analyze(request, progress)
