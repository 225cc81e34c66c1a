"""A folder of studies becomes one table: every study has an answer or a reason, and a second run does only what is left."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import nibabel
import numpy as np
import pandas
import pytest
from typer.testing import CliRunner

from builders import fake_analysis
from builders.small_ct import small_ct, write_series
from trabecula_models.backends.choice import BackendChoice
from trabecula_morphometry.errors import InputError
from trabecula_service.batch.cases import find_cases
from trabecula_service.batch.run import BatchOptions, run_batch, still_to_do
from trabecula_service.batch.store import BatchFolder, Keep, Outcome
from trabecula_service.batch.tables import COHORT_COLUMNS, write_tables
from trabecula_service.cli.main import app
from trabecula_service.pipeline.calibration_policy import CalibrationPolicy
from trabecula_service.pipeline.request import AnalyzeRequest
from trabecula_service.queue.analysis_port import Broken, Finished, Stopped, Tick

NOW = datetime(2026, 11, 21, tzinfo=UTC)
WHOLE = (1, 1)


@dataclass
class AnalysisHere:
    """The quick stand-in in this process; "error" in the description breaks it, as a crash would."""

    seen: list[Path] = field(default_factory=list)
    closed: bool = False
    before: Callable[[], None] = lambda: None

    def run(self, request: AnalyzeRequest, tick: Tick) -> Finished | Broken | Stopped:
        self.before()
        if not tick("read", 0.0):
            return Stopped()
        self.seen.append(request.input)
        try:
            outcome = fake_analysis.analyze(request)
        except RuntimeError:
            return Broken("the analysis process ended with code 1 (in read)")
        return Finished(exit_code=outcome.exit_code, message=outcome.message, result_json=None, files=outcome.files)

    def close(self) -> None:
        self.closed = True


def options(keep: Keep = Keep.ALL) -> BatchOptions:
    return BatchOptions(backend=BackendChoice(), calibration_policy=CalibrationPolicy(), keep=keep)


def run(root: Path, out: Path, *, analyses: list[AnalysisHere] | None = None, keep: Keep = Keep.ALL) -> list[Outcome]:
    folder, reported = BatchFolder(out), []
    with folder.locked("all"):
        todo = still_to_do(find_cases(root).cases, folder, WHOLE)
        analyses = analyses or [AnalysisHere()]
        run_batch(todo, root, folder, options(keep), analyses, created=NOW, report=reported.append, stopping=Event())
    return reported


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Five studies: one over two folders, one broken, one refused, one without a spine, and one sound."""
    root = tmp_path / "in"
    for number, what in enumerate(("chest", "error", "refuse", "headct"), start=1):
        write_series(small_ct(study_uid=f"1.2.{number}", series_uid=f"1.2.{number}.1", description=what), root / what)
    write_series(small_ct(study_uid="1.2.9", series_uid="1.2.9.1"), root / "a" / "one")
    write_series(small_ct(study_uid="1.2.9", series_uid="1.2.9.2"), root / "a" / "two")
    (root / "readme.txt").write_text("not an image")
    return root


def test_a_study_is_found_whole_however_its_files_lie(cohort: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    (cohort / "n").mkdir()
    nibabel.save(image, cohort / "n" / "sub-1_ct.nii.gz")
    nibabel.save(image, cohort / "n" / "sub-1_seg-vert_msk.nii.gz")
    found = find_cases(cohort)
    assert [(case.name, len(case.files)) for case in found.cases] == [
        ("1.2.1", 3),
        ("1.2.2", 3),
        ("1.2.3", 3),
        ("1.2.4", 3),
        ("1.2.9", 6),
        ("n__sub-1_ct", 1),
    ]
    assert found.passed_over == 2


def test_links_to_folders_are_followed_and_never_in_a_circle(cohort: Path, tmp_path: Path) -> None:
    elsewhere = write_series(small_ct(study_uid="1.2.7", series_uid="1.2.7.1"), tmp_path / "elsewhere")
    (cohort / "link").symlink_to(elsewhere)
    (cohort / "a" / "circle").symlink_to(cohort)
    assert [len(case.files) for case in find_cases(cohort).cases if case.name in ("1.2.7", "1.2.9")] == [3, 6]


def test_every_study_has_an_answer_or_a_reason(cohort: Path, tmp_path: Path) -> None:
    analyses = [AnalysisHere(), AnalysisHere()]
    outcomes = {outcome.case: outcome.state for outcome in run(cohort, tmp_path / "out", analyses=analyses)}
    assert outcomes == {"1.2.1": "measured", "1.2.2": "failed", "1.2.3": "unreadable", "1.2.4": "not_evaluable", "1.2.9": "measured"}
    assert all(analysis.closed for analysis in analyses)
    assert sorted(path.name for path in (tmp_path / "out" / "studies").iterdir()) == sorted(outcomes)
    assert not list((tmp_path / "out" / "work").iterdir())


def test_a_second_run_does_what_failed_and_what_changed_only(cohort: Path, tmp_path: Path) -> None:
    run(cohort, tmp_path / "out")
    assert [outcome.case for outcome in run(cohort, tmp_path / "out")] == ["1.2.2"]
    late = small_ct(study_uid="1.2.1", series_uid="1.2.1.1", slices=1, first=3)
    late[0].save_as(cohort / "chest" / "late.dcm", enforce_file_format=True)
    assert sorted(outcome.case for outcome in run(cohort, tmp_path / "out")) == ["1.2.1", "1.2.2"]


def test_a_stopped_run_leaves_nothing_half_done(cohort: Path, tmp_path: Path) -> None:
    stopping, folder, reported = Event(), BatchFolder(tmp_path / "out"), []
    folder.root.mkdir()
    analysis = AnalysisHere()

    def report(outcome: Outcome) -> None:
        reported.append(outcome.case)
        stopping.set()

    cases = find_cases(cohort).cases
    run_batch(cases, cohort, folder, options(), [analysis], created=NOW, report=report, stopping=stopping)
    assert [outcome.case for outcome in folder.outcomes()] == reported == ["1.2.1"]
    assert {case.name for case in still_to_do(cases, folder, WHOLE)} == {"1.2.2", "1.2.3", "1.2.4", "1.2.9"}


def test_the_tables_hold_every_study_and_the_dictionary_every_column(cohort: Path, tmp_path: Path) -> None:
    run(cohort, tmp_path / "out")
    tables = write_tables(BatchFolder(tmp_path / "out"))
    frame = pandas.read_parquet(tmp_path / "out" / "results.parquet")
    assert list(frame.columns) == [column.name for column in COHORT_COLUMNS]
    assert sorted(frame["case"].unique()) == ["1.2.1", "1.2.4", "1.2.9"]
    assert list(frame[frame["case"] == "1.2.9"]["level"]) == ["L1", "L2"]
    pandas.testing.assert_frame_equal(
        frame[["case", "hu_mean", "loss_max"]], pandas.read_csv(tmp_path / "out" / "results.csv")[["case", "hu_mean", "loss_max"]]
    )
    with (tmp_path / "out" / "studies.csv").open() as stream:
        studies = {row["case"]: row for row in csv.DictReader(stream)}
    assert studies["1.2.3"]["message"].startswith("unsupported transfer syntax")
    assert studies["1.2.9"]["input"] == "a/one"
    assert tables.summary.startswith("5 studies: 2 measured, 1 failed, 1 not_evaluable, 1 unreadable")
    assert "not evaluable: 1 NO_SPINE" in tables.summary


def test_results_of_other_settings_are_never_mixed_in(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path)
    assert folder.same_settings(options().settings("1.0", NOW)) == NOW.isoformat()
    assert folder.same_settings(options().settings("1.0", datetime(2027, 1, 1, tzinfo=UTC))) == NOW.isoformat()
    with pytest.raises(InputError, match="another version"):
        folder.same_settings(options().settings("1.1", NOW))


def test_two_runs_never_write_into_one_folder(tmp_path: Path) -> None:
    with BatchFolder(tmp_path).locked("1-of-1"), pytest.raises(InputError, match="another run"), BatchFolder(tmp_path).locked("1-of-1"):
        pass


def test_parts_share_the_studies_without_gap_or_overlap(cohort: Path, tmp_path: Path) -> None:
    cases = find_cases(cohort).cases
    parts = [[case.name for case in still_to_do(cases, BatchFolder(tmp_path), (number, 3))] for number in (1, 2, 3)]
    assert sorted(name for part in parts for name in part) == [case.name for case in cases]


def test_only_the_wanted_files_stay(cohort: Path, tmp_path: Path) -> None:
    run(cohort, tmp_path / "out", keep=Keep.RESULTS)
    assert sorted(path.name for path in (tmp_path / "out" / "studies" / "1.2.1").iterdir()) == ["outcome.json", "result.json"]


def test_the_command_survives_a_crash_of_the_analysis(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trabecula_service.batch.run.ANALYSIS", "builders.fake_analysis:analyze")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_series(small_ct(study_uid="1.2.0", series_uid="1.2.0.1", description="crash"), cohort / "crash")
    done = CliRunner().invoke(app, ["batch", str(cohort), "--out", str(tmp_path / "out"), "--workers", "1"])
    assert done.exit_code == 1, done.output
    assert "6 studies: 2 failed, 2 measured, 1 not_evaluable, 1 unreadable" in done.output
    assert "failed: 1.2.0: the analysis process was ended by SIGSEGV (in read)" in done.output


def test_a_folder_without_studies_ends_with_a_line(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = CliRunner().invoke(app, ["batch", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "no study in the folder" in done.output
