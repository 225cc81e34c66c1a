"""The seconds that a foreign backend took, under the stage names of the built-in one."""

import time
from dataclasses import replace

from trabecula_models.segmentation import SpineSegmentation


def with_timing(spine: SpineSegmentation | None, started: float, predicted: float) -> SpineSegmentation | None:
    """The segmentation with the time of the prediction and of what followed it; ``started``, ``predicted`` by ``time.perf_counter``."""
    if spine is None:
        return None
    return replace(spine, timing_s={"delineate": predicted - started, "name": time.perf_counter() - predicted})
