"""Numbers that stand for studies in an exported data set; the list that links them lies beside it, never inside."""

import csv
import io
from pathlib import Path

from trabecula_morphometry.errors import InputError
from trabecula_service.pipeline.files import write_durably

_COLUMNS = ("verse_ID", "subject", "study")


class Pseudonyms:
    """Running numbers by study (StudyInstanceUID, or the case's name where there is none); a later export goes on with the list.

    Raises
    ------
    InputError : the list cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers: dict[str, int] = {}
        if path.exists():
            try:
                with path.open(encoding="utf-8", newline="") as stream:
                    self._numbers = {row["study"]: int(row["verse_ID"]) for row in csv.DictReader(stream)}
            except (OSError, ValueError, KeyError, UnicodeDecodeError) as error:
                raise InputError(
                    "the list of pseudonyms cannot be read", where=path.name, hint="give the list of the same export"
                ) from error

    def number(self, study: str) -> int:
        """The number of a study, a new one where it has none yet."""
        return self._numbers.setdefault(study, max(self._numbers.values(), default=0) + 1)

    def save(self) -> None:
        """Write the list; readable by its owner alone."""
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows((number, subject_name(number), study) for study, number in sorted(self._numbers.items(), key=lambda row: row[1]))
        write_durably(self._path, buffer.getvalue().encode("utf-8"))
        self._path.chmod(0o600)


def subject_name(number: int) -> str:
    """``sub-trab0001``."""
    return f"sub-trab{number:04d}"
