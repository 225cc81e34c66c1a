"""Every branch of what measures and grades is walked by the tests beside this one."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MEASURING = (
    "morphometry/trabecula_morphometry/voi.py",
    "morphometry/trabecula_morphometry/heights.py",
    "morphometry/trabecula_morphometry/endplates.py",
    "morphometry/trabecula_morphometry/endplate_surface.py",
    "morphometry/trabecula_morphometry/edge_response.py",
    "morphometry/trabecula_morphometry/expected.py",
    "morphometry/trabecula_morphometry/genant.py",
    "morphometry/trabecula_morphometry/deformity.py",
    "calibration/trabecula_calibration/density.py",
)
THEIR_TESTS = (
    *(
        f"tests/unit/morphometry/test_{name}.py"
        for name in ("voi", "heights", "endplate_surface", "edge_response", "expected", "genant", "deformity")
    ),
    "tests/unit/calibration/test_density.py",
    "tests/unit/calibration/test_density_basis.py",
)


def test_voi_density_heights_and_grading_are_covered_to_the_last_branch(tmp_path: Path) -> None:
    # Only the quick unit tests run again here: a branch that only a slow test reaches has no test of its own.
    environment = {**os.environ, "COVERAGE_FILE": str(tmp_path / "coverage")}
    coverage = (sys.executable, "-m", "coverage")
    included = "--include=" + ",".join(str(ROOT / path) for path in MEASURING)
    run = (*coverage, "run", "--branch", included, "-m", "pytest", "-q", "-p", "no:cacheprovider", *THEIR_TESTS)
    subprocess.run(run, cwd=ROOT, env=environment, check=True, capture_output=True)
    report = subprocess.run(
        (*coverage, "report", "--show-missing", "--fail-under=100"), cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    assert report.returncode == 0, report.stdout
    assert all(path in report.stdout for path in MEASURING)
