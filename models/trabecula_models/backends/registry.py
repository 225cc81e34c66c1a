"""All backends, name to factory. A new one is a file with a ``build`` function and a line here."""

from collections.abc import Callable
from importlib import import_module

from trabecula_models.backends.choice import BackendChoice, BackendName
from trabecula_models.backends.port import Backend

_MODULES: dict[BackendName, str] = {
    BackendName.BUILTIN: "trabecula_models.backends.builtin",
    BackendName.TOTALSEGMENTATOR: "trabecula_models.backends.totalsegmentator",
    BackendName.NNUNET: "trabecula_models.backends.nnunet",
    BackendName.MONAI_BUNDLE: "trabecula_models.backends.monai_bundle",
}
"""Modules by name, imported when chosen: each loads a framework of its own."""


def build_backend(choice: BackendChoice) -> Backend:
    """The chosen backend with its weights loaded.

    Raises
    ------
    ModelError : its package is not installed, its model is missing, or its labels are not known.
    """
    build: Callable[[BackendChoice], Backend] = import_module(_MODULES[choice.name]).build
    return build(choice)
