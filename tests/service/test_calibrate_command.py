"""The physicist's way by the commands: practise, fit and add, list, QA, drift that blocks."""

from pathlib import Path

from typer.testing import CliRunner

from trabecula_calibration.registry import parse_registry
from trabecula_service.cli.main import app


def run(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["calibrate", *(str(argument) for argument in arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_from_a_phantom_scan_to_an_entry_that_drift_blocks(tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    scan, later, entry = tmp_path / "scan", tmp_path / "later", tmp_path / "entry.toml"
    truth = run("practice", "--out", scan, "--phantom", "b-mas-200")
    said = run("fit", scan, "--phantom", "b-mas-200", "--add", "--by", "ann", "--out", entry, "--picture", tmp_path / "p.png", *data)
    assert "accepted: dp-1-120-soft-b-mas-200" in said
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    found = parse_registry(entry.read_text(encoding="utf-8")).entries[0]
    assert abs(found.slope_mg_cm3_per_hu / float(truth.split()[2]) - 1) < 0.01
    assert "0 entries, 0 checks and 0 changes added, 1 entries were there already" in run("add", entry, "--by", "bob", *data)
    assert "in control" in run("list", *data)
    run("practice", "--out", later, "--phantom", "b-mas-200", "--drift", "7", "--seed", "2")
    blocked = run("check", later, "--phantom", "b-mas-200", "--charts", tmp_path / "charts", *data, code=3)
    assert "block" in blocked
    assert next((tmp_path / "charts").glob("*.svg")).read_bytes().lstrip().startswith(b"<?xml")
    assert "expired from 2099-01-01 on" in run(
        "changed", "--manufacturer", found.manufacturer, "--serial", found.device_serial, "--what", "new tube", "--on", "2099-01-01", *data
    )
    exported = parse_registry(run("export", *data))
    assert len(exported.changes) == len(exported.checks) == 1
