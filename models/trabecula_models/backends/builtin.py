"""The built-in networks."""

from trabecula_models.backends.choice import BackendChoice
from trabecula_models.backends.port import Backend
from trabecula_models.bundle import WEIGHTS_FOLDER
from trabecula_models.segment import SpineSegmenter


def build(choice: BackendChoice) -> Backend:
    """Both networks that come with the package, or those of the folder ``model`` (`trabecula train --finetune` writes one); ``labels`` and
    ``orientation`` have no meaning for them.
    """
    return SpineSegmenter(choice.model or WEIGHTS_FOLDER, compute=choice.compute)
