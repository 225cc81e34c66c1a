"""The whole validation: every trial of a plan, then tables, CSV and PDF."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trabecula_models.backends.choice import BackendChoice
from trabecula_service import __version__
from trabecula_service.pipeline.files import write_durably
from trabecula_service.pipeline.networks import resident_backend
from trabecula_service.validate.figures import criteria
from trabecula_service.validate.plan import full_plan, quick_plan
from trabecula_service.validate.report import Setup, as_text, report_pdf
from trabecula_service.validate.store import levels_csv, load_outcome, save_outcome
from trabecula_service.validate.trial import LevelRow, run_trial

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationOutcome:
    """``passed``: no criterion that was tested is missed."""

    rows: tuple[LevelRow, ...]
    text: str
    passed: bool
    report: Path
    table: Path


def run_validation(out: Path, *, quick: bool, now: datetime, say: Say, backend: BackendChoice | None = None) -> ValidationOutcome:
    """Run the plan with a backend (default: the built-in one) into ``out``.

    Trials that an earlier run finished there with the same software and weights are not run again.
    """
    trials = quick_plan() if quick else full_plan()
    chosen = backend or BackendChoice()
    weights = resident_backend(chosen).weights_sha256
    rows: list[LevelRow] = []
    seconds = 0.0
    for number, trial in enumerate(trials, start=1):
        outcome = load_outcome(out, trial, weights)
        known = outcome is not None
        if outcome is None:
            outcome = run_trial(trial, chosen)
            save_outcome(out, trial, outcome, weights)
        rows += outcome.rows
        seconds += outcome.seconds
        say(f"{number}/{len(trials)} {trial.name} {'(kept from an earlier run)' if known else f'{outcome.seconds:.0f} s'}")
    setup = Setup(
        version=__version__,
        backend=chosen.name.value,
        weights_sha256=weights,
        machine=f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}",
        plan="quick" if quick else "full",
        trials=len(trials),
        seconds=seconds,
        made=now,
    )
    return ValidationOutcome(
        rows=tuple(rows),
        text=as_text(rows),
        passed=all(criterion.met is not False for criterion in criteria(rows)),
        report=write_durably(out / "validation.pdf", report_pdf(rows, setup)),
        table=write_durably(out / "levels.csv", levels_csv(rows).encode()),
    )
