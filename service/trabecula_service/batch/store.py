"""The out-folder of a batch: one folder per finished study, moved into place whole, so that what is there is what is done."""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from trabecula_morphometry.errors import InputError
from trabecula_service.pipeline.files import write_durably

OUTCOME_FILE = "outcome.json"
RUN_FILE = "run.json"


class Keep(StrEnum):
    """Which files of each study stay."""

    ALL = "all"
    MASKS = "masks"
    """result.json, both masks and the overview picture: what `trabecula export` and `evaluate` read."""
    RESULTS = "results"
    """result.json alone."""


KEPT_FILES: Mapping[Keep, frozenset[str]] = {
    Keep.MASKS: frozenset({"result.json", "segmentation.nii.gz", "segmentation_posterior.nii.gz", "overview.png"}),
    Keep.RESULTS: frozenset({"result.json"}),
}


State = Literal["measured", "not_evaluable", "unreadable", "failed"]


class Outcome(BaseModel):
    """What came of one study; ``failed`` (crash, time, memory) is tried again by the next run, the others are final."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    fingerprint: str
    state: State
    message: str
    seconds: float
    files: int
    input: str


class BatchFolder:
    """Reads and writes the out-folder. ``studies/NAME`` holds the results of a study, ``work`` what is under way."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def locked(self, part: str) -> Iterator[None]:
        """Keep a second run of the same part out, for as long as this process lives.

        Raises
        ------
        InputError : another run has it, or the folder cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = (self.root / f".lock-{part}").open("w")
        except OSError as error:
            raise InputError("the out-folder cannot be written", where=self.root.name, hint=error.strerror or "check it") from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError("another run writes into this folder", where=self.root.name, hint="wait for it, or give --part") from error
            yield

    def same_settings(self, settings: Mapping[str, str]) -> str:
        """Remember how the results are made; the time that their documents carry is the first run's.

        Raises
        ------
        InputError : the folder holds results that were made otherwise; mixing them would make a table that nobody can interpret.
        """
        path = self.root / RUN_FILE
        if not path.exists():
            write_durably(path, (json.dumps(settings, indent=1) + "\n").encode())
            return settings["created"]
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(key for key in {*known, *settings} if key != "created" and known.get(key) != settings.get(key))
        if changed:
            raise InputError(
                f"the folder's results were made with another {', '.join(changed)}", where=self.root.name, hint="give another --out"
            )
        return known["created"]

    def output_file(self, worker: int) -> Path:
        """What libraries print in an analysis process; it may hold patient data and stays beside the images' results."""
        folder = self.root / "work"
        folder.mkdir(exist_ok=True)
        return folder / f"analysis-output-{worker}.txt"

    def study(self, case: str) -> Path:
        """Where the results of a study lie."""
        return self.root / "studies" / case

    def outcome(self, case: str) -> Outcome | None:
        """What came of a study in this or an earlier run."""
        path = self.study(case) / OUTCOME_FILE
        try:
            return Outcome.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None

    def outcomes(self) -> list[Outcome]:
        """All outcomes so far, by name."""
        found = (self.outcome(path.parent.name) for path in sorted(self.root.glob(f"studies/*/{OUTCOME_FILE}")))
        return [outcome for outcome in found if outcome is not None]

    def begin(self, case: str) -> Path:
        """An empty folder for the work on a study."""
        folder = self.root / "work" / case
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def finish(self, outcome: Outcome, folder: Path, keep: Keep) -> None:
        """Move what the work on a study gave into its place; after that it is done."""
        out = folder / "out"
        out.mkdir(exist_ok=True)
        wanted = KEPT_FILES.get(keep)
        for path in out.iterdir():
            if wanted is not None and path.name not in wanted:
                path.unlink()
        write_durably(out / OUTCOME_FILE, (outcome.model_dump_json(indent=1) + "\n").encode())
        place = self.study(outcome.case)
        place.parent.mkdir(exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        out.replace(place)
        self.drop(folder)

    def drop(self, folder: Path) -> None:
        """Forget the work on a study."""
        shutil.rmtree(folder, ignore_errors=True)
