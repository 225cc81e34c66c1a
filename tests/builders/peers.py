"""Programs of other makers that tests hold the product against."""

import os
import shutil

import pytest


def need_program(name: str) -> str:
    """Path of an installed program; skips where it is missing, but fails under CI, where all peers are to be installed."""
    found = shutil.which(name)
    if found:
        return found
    reason = f"peer program {name} is not installed (./run test installs it on Debian)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
