"""Finished trials on disk, so that an interrupted validation goes on where it stopped, and the table of all levels."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from trabecula_service import __version__
from trabecula_service.pipeline.files import write_durably
from trabecula_service.validate.plan import Trial
from trabecula_service.validate.trial import COLUMNS, LevelRow, TrialOutcome


def fingerprint(trial: Trial, weights_sha256: str) -> str:
    """What a stored outcome depends on: the trial, the software version and the weights."""
    return hashlib.sha256(f"{trial!r}|{__version__}|{weights_sha256}".encode()).hexdigest()


def load_outcome(folder: Path, trial: Trial, weights_sha256: str) -> TrialOutcome | None:
    """The outcome of an earlier run; None where there is none of exactly this trial, version and weights."""
    path = _path(folder, trial)
    try:
        stored = json.loads(path.read_text())
        if stored["fingerprint"] != fingerprint(trial, weights_sha256):
            return None
        rows = tuple(LevelRow(**row) for row in stored["rows"])
        return TrialOutcome(rows=rows, seconds=float(stored["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        # Missing, cut off or of an older layout: the trial is simply done again.
        return None


def save_outcome(folder: Path, trial: Trial, outcome: TrialOutcome, weights_sha256: str) -> Path:
    """Store a finished trial."""
    content = {
        "fingerprint": fingerprint(trial, weights_sha256),
        "seconds": outcome.seconds,
        "rows": [asdict(row) for row in outcome.rows],
    }
    return write_durably(_path(folder, trial), json.dumps(content, indent=1).encode())


def _path(folder: Path, trial: Trial) -> Path:
    return folder / "trials" / f"{trial.name}.json"


def levels_csv(rows: Sequence[LevelRow]) -> str:
    """One line per vertebra of every trial; an empty cell where the product gave no number."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()
