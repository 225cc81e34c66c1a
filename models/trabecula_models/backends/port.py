"""The port that every backend fills."""

from collections.abc import Callable
from typing import Protocol

from trabecula_models.segmentation import SpineSegmentation
from trabecula_morphometry.volume import Volume

Progress = Callable[[str, float], None]
"""Called with the name of the stage ("locate" or "delineate") and the share of it that is done, 0 to 1."""


class Backend(Protocol):
    """Finds, outlines and names the vertebrae of a volume. Built once per process and kept; the same volume gives the same answer."""

    weights_sha256: str
    """Hash of the weights, for the result."""

    def segment(self, volume: Volume, progress: Progress | None = None) -> SpineSegmentation | None:
        """Vertebrae of a volume, or None where no thoracic or lumbar vertebra is in view.

        Masks lie on an LPS-parallel grid of equal spacing; bodies and posterior elements are apart; levels are in order, each once.
        """
        ...
