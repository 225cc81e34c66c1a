"""Every document of every real case before readers of others: ``./run evidence documents [CASE ...]`` prints one line per case.

dciodvfy for each DICOM object, dcmqi for the report's numbers and the segments, DCMTK's dcmpschk for the presentation state, hl7apy, a FHIR
model, poppler for PDF/A; and the numbers of report, message and bundle against ``result.json``.
"""

import os
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from builders.read_back import folder_faults, numbers_of
from evidence.real_cases import CASES, RealCase
from trabecula_service.pipeline.analyze import analyze_input
from trabecula_service.pipeline.request import AnalyzeRequest


def check_case(case: RealCase, shared: Path, work: Path) -> str:
    """One line: which documents were made, how many numbers were compared, what was found wrong."""
    out, scratch = work / "out", work / "scratch"
    scratch.mkdir(parents=True)
    created = datetime(2026, 1, 1, tzinfo=UTC)
    image = shared / "ct" / case.image
    outcome = analyze_input(AnalyzeRequest(input=image, out=out, created=created, acquisition_number=case.acquisition_number))
    if outcome.result is None:
        return f"{case.name:<18} no result: {outcome.message}"
    faults = folder_faults(out, scratch)
    kinds = Counter(name.partition(".")[2] for name in faults)
    made = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    wrong = "; ".join(f"{name}: {', '.join(said)}" for name, said in faults.items() if said) or "no fault"
    return f"{case.name:<18} {len(faults)} files ({made}); {len(numbers_of(outcome.result))} numbers; {wrong}"


def main(wanted: list[str]) -> None:
    """Check the named cases, or all."""
    from conftest import shared_folder

    shared = shared_folder()
    if shared is None:
        sys.stdout.write("real CT cases are not here (set TRABECULA_SHARED)\n")
        return
    for case in CASES:
        if not wanted or case.name in wanted:
            with tempfile.TemporaryDirectory() as work:
                sys.stdout.write(check_case(case, shared, Path(work)) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("CI", "true")  # A reader that is missing is a failure here, not a test to be skipped.
    main(sys.argv[1:])
