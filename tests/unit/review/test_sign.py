"""The signed version: from the stored images and masks, under the reader's names, the same bytes each time."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest

from builders.reading_analysis import COLUMN, analyze, column_series
from builders.small_ct import write_series
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_service.pipeline.analyze import analyze_input
from trabecula_service.pipeline.request import AnalyzeOutcome, AnalyzeRequest
from trabecula_service.render.reading_images import FILE_NAME
from trabecula_service.result import Result
from trabecula_service.review.edits import Edits, Verdict
from trabecula_service.review.order import ReviewOrder
from trabecula_service.review.sign import signed_result

CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AnalyzeOutcome, Path]:
    """The series, its first version and the folder of that."""
    folder = tmp_path_factory.mktemp("base")
    series = write_series(list(column_series()), folder / "series")
    outcome = analyze(AnalyzeRequest(input=series, out=folder / "out", created=CREATED))
    return series, outcome, folder / "out"


def order(base: tuple[Path, AnalyzeOutcome, Path], **changes: object) -> ReviewOrder:
    _, outcome, out = base
    assert outcome.result is not None
    values = {
        "verdict": Verdict.AMENDED, "reader": "Muster, Anna", "organization": "Klinik", "reason": "", "at": CREATED,
        "edits": Edits(shift=1), "base_version": 1, "base_result_json": outcome.result.to_json(), "bodies": out / "segmentation.nii.gz",
        "posterior": out / "segmentation_posterior.nii.gz", "predecessor": out / "report.sr.dcm", **changes,
    }  # fmt: skip
    return ReviewOrder(**values)  # type: ignore[arg-type]


def sign(base: tuple[Path, AnalyzeOutcome, Path], out: Path, **changes: object) -> AnalyzeOutcome:
    request = AnalyzeRequest(input=base[0], out=out, created=CREATED, version=2, reading_images=True, review=order(base, **changes))
    return analyze_input(request)


def labels_in(path: Path) -> set[int]:
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
    return set(np.unique(np.asarray(image.dataobj)).tolist())


def test_shifted_names_stand_in_masks_and_documents_and_signing_twice_gives_the_same_result(
    base: tuple[Path, AnalyzeOutcome, Path], tmp_path: Path
) -> None:
    first = sign(base, tmp_path / "a")
    assert first.exit_code == 0
    assert first.result is not None
    assert [level.name for level in first.result.levels] == ["L1", "L2", "L3", "L4"]
    before, after = labels_in(base[2] / "segmentation.nii.gz"), labels_in(tmp_path / "a" / "segmentation.nii.gz")
    assert {LABEL_OF_LEVEL[name] for name in COLUMN.names} <= before
    assert after == {0, *(LABEL_OF_LEVEL[name] for name in ("L1", "L2", "L3", "L4")), 26}
    assert {path.name for path in first.files} == {path.name for path in base[1].files} | {FILE_NAME}
    again = order(base)
    assert signed_result(Result.from_json(again.base_result_json), again) == first.result.model_copy(
        update={"timing_s": again_timing(again)}
    )


def again_timing(again: ReviewOrder) -> dict[str, float]:
    """How long the stages took is the one thing that differs between two signings."""
    return Result.from_json(again.base_result_json).timing_s


@pytest.mark.parametrize("gone", ["series", "masks"])
def test_without_the_images_or_masks_of_the_version_nothing_is_signed_and_the_reason_is_said(
    gone: str, base: tuple[Path, AnalyzeOutcome, Path], tmp_path: Path
) -> None:
    if gone == "series":
        other = write_series(list(column_series(PatientID="another"))[:20], tmp_path / "other")
        request = AnalyzeRequest(input=other, out=tmp_path / "out", created=CREATED, version=2, review=order(base))
        outcome = analyze_input(request)
    else:
        outcome = sign(base, tmp_path / "out", bodies=_halved(base[2] / "segmentation.nii.gz", tmp_path))
    assert outcome.exit_code == 2
    assert "no longer there" in outcome.message or "differ in size" in outcome.message
    assert not (tmp_path / "out").exists()


def _halved(path: Path, folder: Path) -> Path:
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
    half = nibabel.Nifti1Image(np.asarray(image.dataobj)[:, :, ::2], image.affine)
    (folder / "half.nii.gz").write_bytes(gzip.compress(half.to_bytes()))
    return folder / "half.nii.gz"
