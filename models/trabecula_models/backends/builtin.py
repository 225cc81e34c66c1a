"""The built-in networks."""

from trabecula_models.backends.choice import BackendChoice
from trabecula_models.backends.port import Backend
from trabecula_models.segment import SpineSegmenter


def build(choice: BackendChoice) -> Backend:
    """Both networks that come with the package; ``model``, ``labels`` and ``orientation`` have no meaning for them."""
    return SpineSegmenter(compute=choice.compute)
