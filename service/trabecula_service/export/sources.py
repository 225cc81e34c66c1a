"""Where finished studies come from: the out-folder of a batch with its archive, or the service's ledger."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import select

from trabecula_morphometry.errors import InputError
from trabecula_service.batch.cases import BatchCase, find_cases
from trabecula_service.batch.run import linked_files
from trabecula_service.batch.store import BatchFolder
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.queries import list_documents, list_studies, list_versions
from trabecula_service.ledger.schema import instances
from trabecula_service.ops.bucket import Bucket
from trabecula_service.ops.data_files import DataFiles
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.result import Result

BODIES, POSTERIOR = "segmentation.nii.gz", "segmentation_posterior.nii.gz"
_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedStudy:
    """One study with its masks; ``images()`` gives an input as ``trabecula analyze`` takes it, for as long as its context lasts."""

    key: str
    result: Result
    bodies: Path
    posterior: Path
    images: Callable[[], AbstractContextManager[Path]]


def from_batch(out: Path, archive: Path) -> Iterator[FinishedStudy]:
    """Studies that a batch measured.

    Raises
    ------
    InputError : ``out`` holds no batch, or ``archive`` is not the folder that it analysed.
    """
    folder = BatchFolder(out)
    outcomes = [outcome for outcome in folder.outcomes() if outcome.state == "measured"]
    if not outcomes:
        raise InputError("no measured study in the batch's folder", where=out.name, hint="give the --out of `trabecula batch`")
    cases = {case.name: case for case in find_cases(archive).cases}
    if cases.keys().isdisjoint(outcome.case for outcome in outcomes):
        raise InputError("the archive holds none of the batch's studies", where=archive.name, hint="give the folder that was analysed")
    for outcome in outcomes:
        place, case = folder.study(outcome.case), cases.get(outcome.case)
        if case is None or not (place / BODIES).is_file():
            continue
        result = Result.from_json((place / "result.json").read_text(encoding="utf-8"))
        key = result.source.study_instance_uid or outcome.case
        yield FinishedStudy(key=key, result=result, bodies=place / BODIES, posterior=place / POSTERIOR, images=partial(_images_of, case))


@contextmanager
def _images_of(case: BatchCase) -> Iterator[Path]:
    if case.kind != "dicom":
        yield case.files[0]
        return
    with tempfile.TemporaryDirectory(prefix="trabecula-export-") as folder:
        yield linked_files(Path(folder) / "input", case.files)


def _images_gone(study_id: str) -> AbstractContextManager[Path]:
    raise InputError("its images were deleted after the retention time", where=f"study {study_id}", hint="send the study again")


def from_ledger(ledger: Ledger, data: Path, bucket: Bucket | None = None) -> Iterator[FinishedStudy]:
    """The latest version of every study of a service that has masks: after a review that is the reader's."""
    store, kept, offset = ObjectStore(data / "objects", bucket), DataFiles(data, bucket), 0
    while True:
        with ledger.read() as connection:
            studies = list_studies(connection, state=None, limit=_PAGE, offset=offset)
        if not studies:
            return
        offset += len(studies)
        for study in studies:
            with ledger.read() as connection:
                versions = [version for version in list_versions(connection, study.id) if version.result_json]
                documents = {d.name: d.path for d in list_documents(connection, versions[0].id)} if versions else {}
                hashes = list(
                    connection.execute(
                        select(instances.c.sha256).where(instances.c.study_id == study.id, instances.c.kind == "ct")
                    ).scalars()
                )
            if not versions or not {BODIES, POSTERIOR} <= documents.keys():
                continue
            result = Result.model_validate(json.loads(versions[0].result_json or ""))
            gone = study.images_deleted_at is not None
            files = () if gone else tuple(store.local_all(hashes))
            case = BatchCase(name=study.id, kind="dicom", files=files, fingerprint="")
            yield FinishedStudy(
                key=result.source.study_instance_uid or study.id,
                result=result,
                bodies=kept.local(documents[BODIES]),
                posterior=kept.local(documents[POSTERIOR]),
                images=partial(_images_gone, study.id) if gone else partial(_images_of, case),
            )
