"""A PostgreSQL server of our own on a free loopback port, one for the whole run, and a fresh database for each test."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from builders.peers import need_program
from builders.service import wait_ticks

_USER = "trabecula"


class PostgresServer:
    """A server process; started without fsync, because a test never cuts the power."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._binaries = folder, _binaries()
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        if self._as_user:
            # The server refuses to run as root.
            shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "-D", str(folder / "data"), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")

    def start(self) -> None:
        """Start and wait until it answers. The server ends with us, however that happens."""
        settings = (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=200")
        options = [part for setting in settings for part in ("-c", setting)]
        command = [
            "setpriv",
            "--pdeathsig=INT",
            *self._as_user,
            str(self._binaries / "postgres"),
            "-D",
            str(self._folder / "data"),
            *options,
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in wait_ticks(60):
            try:
                psycopg.connect(self.address("postgres")).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None:
                    break
            else:
                return
        raise RuntimeError(f"PostgreSQL did not start:\n{(self._folder / 'log').read_text()}")

    def stop(self, *, how: str = "fast") -> None:
        """Stop; "immediate" is what a crash leaves."""
        if self._process is not None:
            self._process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[how])
            self._process.wait(60)
            self._process = None

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
        command = [*(["setpriv", *self._as_user] if self._as_user else []), str(self._binaries / program), *arguments]
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
