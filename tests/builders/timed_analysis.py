"""Stand-ins for the analysis that take a known time, of the processor or of the clock (TRABECULA_TEST_SECONDS)."""

import os
import time

from builders.fake_analysis import analyze
from trabecula_service.pipeline.request import AnalyzeOutcome, AnalyzeRequest, Progress


def of_the_processor(request: AnalyzeRequest, progress: Progress | None = None) -> AnalyzeOutcome:
    """Computes in one thread for so many seconds of the processor."""
    until = time.thread_time() + float(os.environ["TRABECULA_TEST_SECONDS"])
    while time.thread_time() < until:
        pass
    return analyze(request, progress)


def of_the_clock(request: AnalyzeRequest, progress: Progress | None = None) -> AnalyzeOutcome:
    """Waits for so many seconds and needs nearly none of the processor."""
    time.sleep(float(os.environ["TRABECULA_TEST_SECONDS"]))
    return analyze(request, progress)
