"""The signed version of a result: the same images, the reader's changes, every document anew."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
from pydicom import dcmread

from trabecula_morphometry.errors import InputError
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import Grid, LabelVolume
from trabecula_service.dicom.measured_image import measured_image
from trabecula_service.pipeline.documents import write_documents
from trabecula_service.pipeline.request import EXIT_DONE, EXIT_UNREADABLE, AnalyzeOutcome, AnalyzeRequest, Progress
from trabecula_service.result import Result, Signature
from trabecula_service.review.amend import amended, changes_in_words, rejected
from trabecula_service.review.edits import Verdict
from trabecula_service.review.errors import ReviewError
from trabecula_service.review.names import renamed
from trabecula_service.review.order import ReviewOrder


def sign_version(request: AnalyzeRequest, order: ReviewOrder, report: Progress) -> AnalyzeOutcome:
    """Render every document of a reader's verdict; exit code 0, or 2 where the images or masks of the version are gone."""
    base = Result.from_json(order.base_result_json)
    report("read", 0.0)
    try:
        result = signed_result(base, order)
        image = measured_image(request.input, base.source)
        bodies, posterior = (_masks(path, image.volume.grid, base, order) for path in (order.bodies, order.posterior))
    except (InputError, ReviewError) as refusal:
        return AnalyzeOutcome(exit_code=EXIT_UNREADABLE, message=" ".join(str(refusal).split()))
    result, files = write_documents(request, result, image, bodies, posterior, report)
    return AnalyzeOutcome(
        exit_code=EXIT_DONE, message=f"version {order.base_version} {order.verdict.value} by a reader", result=result, files=files
    )


def signed_result(base: Result, order: ReviewOrder) -> Result:
    """The result that the reader stands for.

    Raises
    ------
    ReviewError : the changes do not fit the version.
    """
    predecessor = dcmread(order.predecessor, stop_before_pixels=True) if order.predecessor else None
    signature = Signature(
        verdict=order.verdict.value,
        reader=order.reader,
        organization=order.organization,
        at=order.at,
        reason=order.reason,
        base_version=order.base_version,
        changes=changes_in_words(base, order.edits) if order.verdict is Verdict.AMENDED else [],
        predecessor_sop_instance_uid=str(predecessor.SOPInstanceUID) if predecessor else None,
        predecessor_series_instance_uid=str(predecessor.SeriesInstanceUID) if predecessor else None,
    )
    if order.verdict is Verdict.REJECTED:
        result = rejected(base, order.reason)
    else:
        result = amended(base, order.edits) if order.verdict is Verdict.AMENDED else base
    return result.model_copy(update={"signature": signature})


def _masks(path: Path | None, grid: Grid, base: Result, order: ReviewOrder) -> LabelVolume:
    """Masks of the version under the reader's names; empty where nothing is said about levels any more."""
    if path is None or order.verdict is Verdict.REJECTED:
        return LabelVolume(labels_zyx=np.zeros(grid.shape_zyx, dtype=np.uint8), grid=grid)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
    labels = np.asarray(image.dataobj, dtype=np.uint8).transpose(2, 1, 0)
    if labels.shape != grid.shape_zyx:
        raise ReviewError("masks and images of the version differ in size", where=path.name, hint="have the study analysed again")
    renumber = np.arange(256, dtype=np.uint8)
    for old, new in renamed([level.name for level in base.levels], order.edits.shift).items():
        renumber[LABEL_OF_LEVEL[old]] = LABEL_OF_LEVEL[new]
    return LabelVolume(labels_zyx=renumber[labels], grid=grid)
