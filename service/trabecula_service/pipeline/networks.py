"""The backend of this process: loaded at the first study, kept for all later ones."""

from functools import lru_cache
from typing import TYPE_CHECKING

from trabecula_models.backends.choice import BackendChoice

if TYPE_CHECKING:
    from trabecula_models.backends.port import Backend


@lru_cache(maxsize=1)
def resident_backend(choice: BackendChoice) -> "Backend":
    """The chosen backend with its weights. May import torch, which takes seconds: only a process that measures calls this.

    Raises
    ------
    ModelError : its package, model or weights are missing.
    """
    from trabecula_models.backends.registry import build_backend

    return build_backend(choice)
