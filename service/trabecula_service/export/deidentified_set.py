"""A data set of de-identified studies: the measured CT series as DICOM, masks and result, one folder per subject, and what was removed."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from trabecula_morphometry.errors import InputError, TrabeculaError
from trabecula_service.export.deidentify import OLDEST_AGE_YEARS, NotDeidentifiableError, Removed, UidKey, deidentified
from trabecula_service.export.kept_elements import METHODS
from trabecula_service.export.pseudonyms import Pseudonyms, subject_name
from trabecula_service.export.run import Exported
from trabecula_service.export.sources import FinishedStudy
from trabecula_service.pipeline.files import write_durably
from trabecula_service.result import Result, Signature, flag

_A_READER = "a reader"
README = """# {count} subjects, de-identified by Trabecula

DICOM PS3.15, Basic Application Level Confidentiality Profile (113100) with Retain Patient Characteristics (113108: sex, age up to {oldest},
size, weight) and Retain Device Identity (113109: manufacturer, model, serial number, software). Only elements that reading, measuring
and calibrating need were taken over; all dates, descriptions, names and private elements are gone. UIDs are replaced, consistently, by
a key that is not in this folder. `removed.json` counts what was removed.

Pixels were unpacked and not changed (113101 and 113102 do not apply): a head in the field of view still shows a face.

`SUBJECT/images`: the measured series. `segmentation.nii.gz`, `segmentation_posterior.nii.gz`: masks on its grid. `result.json`: the
measurement, without dates, without earlier studies, without the name of the reader.
"""


def export_deidentified(
    studies: Iterable[FinishedStudy],
    out: Path,
    list_file: Path,
    key: UidKey,
    *,
    only_reviewed: bool,
    tell: Callable[[str], None] = lambda _line: None,
) -> Exported:
    """Write the data set below ``out`` and its list of pseudonyms to ``list_file``; subjects that are there already are written anew.

    A study of which nothing may be exported is named with its reason, and the others go on.
    """
    pseudonyms, done, left_out = Pseudonyms(list_file), dict[str, object](), list[tuple[str, str]]()
    for study in studies:
        if only_reviewed and study.result.signature is None:
            left_out.append((study.key, "not reviewed"))
            continue
        subject = subject_name(pseudonyms.number(study.key))
        # Before the files: a list that is missing after a stop would give the same subject's number to another study.
        pseudonyms.save()
        try:
            done[subject] = _write_subject(out / subject, subject, study, key)
        except TrabeculaError as error:
            shutil.rmtree(out / subject, ignore_errors=True)
            left_out.append((study.key, str(error)))
            continue
        tell(subject)
    methods = [f"{code} {meaning}" for code, meaning in METHODS]
    write_durably(out / "removed.json", (json.dumps({"methods": methods, "subjects": done}, indent=1, sort_keys=True) + "\n").encode())
    write_durably(out / "README.md", README.format(count=len(done), oldest=OLDEST_AGE_YEARS).encode())
    return Exported(subjects=len(done), left_out=tuple(left_out))


def _write_subject(folder: Path, subject: str, study: FinishedStudy, key: UidKey) -> dict[str, object]:
    """One subject, written beside its place first; what was removed and refused."""
    fresh = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    removed, refused, count = Removed(), Counter[str](), 0
    (fresh / "images").mkdir(parents=True)
    with study.images() as given:
        for path in _measured_files(given, study.result):
            try:
                image = deidentified(dcmread(path), subject, key, removed)
            except NotDeidentifiableError as refusal:
                refused[refusal.what] += 1
                continue
            count += 1
            image.save_as(fresh / "images" / f"{count:04d}.dcm", enforce_file_format=True)
    if not count:
        shutil.rmtree(fresh)
        why = "; ".join(refused) or "the measured series is not there as DICOM files"
        raise InputError(f"no image may be exported: {why}", where=subject)
    for mask in (study.bodies, study.posterior):
        (fresh / mask.name).write_bytes(mask.read_bytes())
    (fresh / "result.json").write_text(deidentified_result(study.result, key).to_json(), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    verdict = study.result.signature.verdict if study.result.signature else "none"
    return {"images": count, "verdict": verdict, "removed": dict(removed.counts), "refused": dict(refused)}


def _measured_files(given: Path, result: Result) -> list[Path]:
    """Files of the series that was measured, or of the several that were joined, in the order of their images."""
    measured = {result.source.series_instance_uid, *(stack.series_instance_uid for stack in result.source.stacks)}
    found: list[tuple[str, int, Path]] = []
    for path in given.rglob("*") if given.is_dir() else ():
        try:
            header = dcmread(path, specific_tags=["SeriesInstanceUID", "InstanceNumber"], stop_before_pixels=True)
            series, number = str(header.get("SeriesInstanceUID")), int(header.get("InstanceNumber") or 0)
        except (InvalidDicomError, OSError, ValueError):
            continue
        if series in measured:
            found.append((series, number, path))
    return [path for *_, path in sorted(found)]


def deidentified_result(result: Result, key: UidKey) -> Result:
    """The same measurement with other UIDs, without dates, earlier studies, free text and the reader's name."""

    def other(uid: str | None) -> str | None:
        return key.uid(uid) if uid else None

    source = result.source.model_copy(
        update={
            "study_instance_uid": other(result.source.study_instance_uid),
            "series_instance_uid": other(result.source.series_instance_uid),
            "frame_of_reference_uid": other(result.source.frame_of_reference_uid),
            "scanned_on": None,
            "stacks": [
                stack.model_copy(update={"series_instance_uid": other(stack.series_instance_uid)}) for stack in result.source.stacks
            ],
        }
    )
    age = result.acquisition.age_years
    acquisition = result.acquisition.model_copy(update={"age_years": min(age, float(OLDEST_AGE_YEARS)) if age is not None else None})
    levels = [level.model_copy(update={"series_instance_uid": other(level.series_instance_uid)}) for level in result.levels]
    density = result.density.model_copy(update={"explanation": "", "calibration_from": None})
    return result.model_copy(
        update={
            "source": source,
            "acquisition": acquisition,
            "levels": levels,
            "density": density,
            "priors": [],
            # What a case adds to the text of a code may name a series or a file.
            "flags": [flag(entry.code, level=entry.level) for entry in result.flags],
            "signature": _signature(result.signature),
        }
    )


def _signature(signature: Signature | None) -> Signature | None:
    """That somebody has signed, and how; not who, when and in which words."""
    if signature is None:
        return None
    return Signature(
        verdict=signature.verdict,
        reader=_A_READER,
        organization="",
        at=datetime(1900, 1, 1, tzinfo=UTC),
        base_version=signature.base_version,
    )
