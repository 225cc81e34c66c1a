"""Writing a file so that it is either whole or not there."""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> Path:
    """Write, flush to disk, then rename into place: a crash leaves the old file or the new one, never half of it.

    Returns
    -------
    path : the file written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    return path
