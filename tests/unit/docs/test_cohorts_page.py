"""The page for cohorts shows code that runs, on a table that `trabecula batch` wrote."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from builders import fake_analysis
from builders.small_ct import small_ct, write_series
from trabecula_service.batch.store import BatchFolder, Keep, Outcome
from trabecula_service.batch.tables import write_tables
from trabecula_service.pipeline.request import AnalyzeRequest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cohorts.md"


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = BatchFolder(tmp_path / "OUT")
    for number, what in enumerate(("chest", "abdomen", "headct")):
        work = folder.begin(f"1.2.{number}")
        source = write_series(small_ct(study_uid=f"1.2.{number}", description=what), tmp_path / what)
        done = fake_analysis.analyze(AnalyzeRequest(input=source, out=work / "out", created=datetime(2026, 11, 21, tzinfo=UTC)))
        state = "measured" if done.exit_code == 0 else "not_evaluable"
        outcome = Outcome(case=f"1.2.{number}", fingerprint="f", state=state, message=done.message, seconds=1.0, files=3, input=what)
        folder.finish(outcome, work, Keep.ALL)
    write_tables(folder)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert "weighted mean 101.0 mg/cm3" in printed
    assert "FRACTURED" in printed
