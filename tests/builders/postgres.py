"""A PostgreSQL server of our own on a free loopback port, one for the whole run, and a fresh database for each test."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from builders.peers import need_program

_USER = "trabecula"


class PostgresServer:
    """A server process; started without fsync, because a test never cuts the power."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._binaries = folder, _binaries()
        self.port = _free_port()
        self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        if self._as_user:
            # The server refuses to run as root.
            shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "-D", str(folder / "data"), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")

    def start(self) -> None:
        """Start and wait until it answers."""
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories= -p {self.port} -c fsync=off -c max_connections=200"
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-o", options, "-l", str(self._folder / "log"), "-w", "-t", "60", "start")

    def stop(self, *, how: str = "fast") -> None:
        """Stop; "immediate" is what a crash leaves."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", how, "-w", "-t", "60", "stop")

    def address(self, database: str) -> str:
        """Address of a database as the settings take it."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def create(self, *, like: str | None = None) -> str:
        """A fresh database, empty or a copy of another one; its name."""
        name = f"t{secrets.token_hex(6)}"
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like or 'template0'}")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._binaries / program), *arguments]
        done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode()}")


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server in a folder of its own; skips where none is installed."""
    with tempfile.TemporaryDirectory(prefix="trabecula-postgres-", dir="/tmp") as name:
        server = PostgresServer(Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop(how="immediate")


def _binaries() -> Path:
    # Debian keeps them out of the search path, one folder per version.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else Path(need_program("initdb")).parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
