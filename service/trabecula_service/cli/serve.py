"""``trabecula serve``: the whole service in one process; ``listen``, ``work``, ``deliver``, ``api``: one role each; ``migrate``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trabecula_service.bootstrap import Role
    from trabecula_service.settings.model import Settings

Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file (TOML); TRABECULA_CONFIG names one too. Every key has a default.")
]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder; replaces the key `data` of the file.")]
HealthPort = Annotated[
    int | None, typer.Option("--health-port", min=0, max=65535, help="Also answer /healthz and /metrics on this port (of receive.bind).")
]


def serve(config: Config = None, data: Data = None) -> None:
    """Receive studies, analyse them, deliver the documents and show the work list."""
    from trabecula_service.bootstrap import Role

    _run(config, data, frozenset(Role), None)


def listen(config: Config = None, data: Data = None, health_port: HealthPort = None) -> None:
    """Only receive studies. The other roles run as processes of their own, here or on other machines."""
    from trabecula_service.bootstrap import Role

    _run(config, data, frozenset({Role.LISTEN}), health_port)


def work(config: Config = None, data: Data = None, health_port: HealthPort = None) -> None:
    """Only analyse. Start one for each GPU (CUDA_VISIBLE_DEVICES), or for every two CPU cores."""
    from trabecula_service.bootstrap import Role

    _run(config, data, frozenset({Role.WORK}), health_port)


def deliver(config: Config = None, data: Data = None, health_port: HealthPort = None) -> None:
    """Only deliver documents."""
    from trabecula_service.bootstrap import Role

    _run(config, data, frozenset({Role.DELIVER}), health_port)


def api(config: Config = None, data: Data = None) -> None:
    """Only serve the page and the REST interface."""
    from trabecula_service.bootstrap import Role

    _run(config, data, frozenset({Role.API}), None)


def migrate(config: Config = None, data: Data = None) -> None:
    """Bring the ledger to the schema of this version; safe to repeat."""
    from trabecula_service.ledger.database import current_revision, ledger_place, open_ledger

    with _settings(config, data) as settings:
        if settings.ledger.postgresql is None:
            settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        ledger = open_ledger(ledger_place(settings.ledger, settings.data))
        typer.echo(f"the ledger is at revision {current_revision(ledger)}")
        ledger.close()


def _run(config: Path | None, data: Path | None, roles: "frozenset[Role]", health_port: int | None) -> None:
    from trabecula_service.bootstrap import Service

    with _settings(config, data) as settings:
        Service(settings, roles=roles, health_port=health_port).run()


@contextmanager
def _settings(config: Path | None, data: Path | None) -> "Iterator[Settings]":
    """The settings, with the log set up; a wrong one ends the program with 2 and one line."""
    from trabecula_morphometry.errors import SettingsError
    from trabecula_service.ops.logs import set_up_logs
    from trabecula_service.settings.read import read_settings

    try:
        settings = read_settings(config, data=data)
        set_up_logs(settings.log)
        yield settings
    except SettingsError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(2) from error
