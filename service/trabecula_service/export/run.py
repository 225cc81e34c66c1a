"""Writes the data set: subject by subject, a study that cannot be exported is named with its reason and the others go on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from trabecula_morphometry.errors import TrabeculaError
from trabecula_service.export.grades import GradedSubject, grades_csv
from trabecula_service.export.pseudonyms import Pseudonyms, subject_name
from trabecula_service.export.sources import FinishedStudy
from trabecula_service.export.verse_layout import write_subject
from trabecula_service.pipeline.files import write_durably

README = """# {count} subjects exported by Trabecula

Layout: VerSe, subject-based (`rawdata`, `derivatives`, `grades.csv`; https://github.com/anjany/verse).
Labels: 1-7 C1-C7, 8-19 T1-T12, 20-25 L1-L6, 26 sacrum, 28 T13.
`_seg-vert_msk`: whole vertebrae; `_seg-vb_msk`: bodies; `_seg-vb_ctd.json`: body centres in voxels of the image.
`_levels.json`: per level the six height points (LPS millimetres), heights, losses, grade with probabilities and HU.
`grades.csv`: `reviewed` says whether a reader accepted or amended the result; a row with "no" is the program's answer and no reference.
Headers were left behind, pixels were not changed: a head in the field of view still shows a face.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """How many subjects were written, and which studies were not, with the reason."""

    subjects: int
    left_out: tuple[tuple[str, str], ...]


def export_verse(
    studies: Iterable[FinishedStudy], out: Path, key: Path, *, only_reviewed: bool, tell: Callable[[str], None] = lambda _line: None
) -> Exported:
    """Write the data set below ``out`` and its list of pseudonyms to ``key``; subjects that are there already are written anew.

    ``tell`` gets one line per subject.
    """
    pseudonyms, done, left_out = Pseudonyms(key), list[GradedSubject](), list[tuple[str, str]]()
    for study in studies:
        signature = study.result.signature
        reason = "not reviewed" if only_reviewed and signature is None else ""
        if reason or not study.result.levels:
            left_out.append((study.key, reason or "rejected, or nothing measured"))
            continue
        number = pseudonyms.number(study.key)
        # Before the files: a list that is missing after a stop would give the same subject's number to another study.
        pseudonyms.save()
        subject = subject_name(number)
        try:
            write_subject(out, subject, study)
        except TrabeculaError as error:
            left_out.append((study.key, str(error)))
            continue
        done.append(GradedSubject(number=number, subject=subject, result=study.result))
        tell(f"{subject}: {study.result.levels[0].name}-{study.result.levels[-1].name}")
    done.sort(key=lambda entry: entry.number)
    write_durably(out / "grades.csv", grades_csv(done))
    write_durably(out / "README.md", README.format(count=len(done)).encode())
    return Exported(subjects=len(done), left_out=tuple(left_out))
