"""An S3 server on loopback: moto, where it is installed."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from builders.service import wait_ticks


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Address of a server that has the bucket "bone"; skips where there is no ``moto_server``."""
    program = shutil.which("moto_server")
    if program is None:
        # Not one of the locked packages: it brings forty others. The same tests run over a folder everywhere.
        pytest.skip('no S3 server here (pip install "moto[server]" brings moto_server)')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        for _ in wait_ticks(60):
            try:
                if httpx2.put(f"{url}/bone", timeout=5).status_code == 200:
                    break
            except httpx2.TransportError:
                continue
        yield url
    finally:
        process.kill()
        process.wait()


def bucket_lines(url: str, folder: Path) -> str:
    """The settings of a bucket on such a server, with its credentials in a file."""
    credentials = folder / "credentials.toml"
    credentials.write_text('access_key_id = "testing"\nsecret_access_key = "testing"\n')
    return f'url = "s3://bone/site"\nendpoint = "{url}"\ncredentials_file = "{credentials}"\ntimeout_seconds = 10\n'
