"""Writing the documents of a result: all of them, then ``result.json``, each whole or not there."""

import time
from pathlib import Path

from pydicom import dcmread

from trabecula_morphometry.mask_sampling import resample_masks
from trabecula_morphometry.volume import LabelVolume
from trabecula_service.dicom.image import CtImage
from trabecula_service.pipeline.files import write_durably
from trabecula_service.pipeline.request import AnalyzeRequest, Progress
from trabecula_service.render import reading_images
from trabecula_service.render.document_input import DocumentInput, SupersededObject
from trabecula_service.render.registry import render_all
from trabecula_service.result import Result

_SOP = ("SOPClassUID", "SOPInstanceUID")


def write_documents(
    request: AnalyzeRequest, result: Result, image: CtImage, bodies: LabelVolume, posterior: LabelVolume, report: Progress
) -> tuple[Result, tuple[Path, ...]]:
    """Render and write everything of one result into ``request.out``; the result with its timing, and the files."""
    started = time.perf_counter()
    report("render", 0.0)
    bodies, posterior = resample_masks((bodies, posterior), image.volume.grid)
    document_input = DocumentInput(
        result=result,
        image=image,
        bodies=bodies,
        posterior=posterior,
        created=request.created,
        version=request.version,
        superseded=superseded_objects(request),
        language=request.language,
    )
    files = [write_durably(request.out / name, content) for name, content in render_all(document_input, request.optional_documents).items()]
    if request.reading_images and result.levels:
        files.append(write_durably(request.out / reading_images.FILE_NAME, reading_images.reading_images(document_input)))
    timing = {stage: round(seconds, 3) for stage, seconds in {**result.timing_s, "render": time.perf_counter() - started}.items()}
    result = result.model_copy(update={"timing_s": timing})
    files.append(write_durably(request.out / "result.json", result.to_json().encode()))
    report("render", 1.0)
    return result, tuple(files)


def superseded_objects(request: AnalyzeRequest) -> tuple[SupersededObject, ...]:
    """The identity of the objects that this version takes the place of."""
    headers = [dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", *_SOP]) for path in request.superseded]
    return tuple(
        SupersededObject(
            series_instance_uid=str(header.SeriesInstanceUID),
            sop_class_uid=str(header.SOPClassUID),
            sop_instance_uid=str(header.SOPInstanceUID),
        )
        for header in headers
    )
