"""Reading the settings file; what is wrong in it is told by its key."""

import os
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from trabecula_morphometry.errors import SettingsError
from trabecula_service.settings.deliver import DESTINATION_KINDS
from trabecula_service.settings.model import Settings

CONFIG_VARIABLE = "TRABECULA_CONFIG"


def read_settings(config: Path | None, *, data: Path | None = None) -> Settings:
    """Read the settings file.

    Parameters
    ----------
    config : the file; if None, the one that ``TRABECULA_CONFIG`` names; if that is unset too, the defaults.
    data : data folder that replaces the file's.

    Raises
    ------
    SettingsError
        With the key, what is wrong with it and what can be written there.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = config or (Path(named) if named else None)
    values = _read_toml(path) if path else {}
    if data is not None:
        values["data"] = data
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise _readable(error, path) from error
    _check_exposure(settings, path)
    return settings


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError("the settings file cannot be read", where=str(path), hint=error.strerror or "check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("the settings file is not valid TOML", where=str(path), hint=str(error)) from error


_KIND_NAMES = frozenset(get_args(kind.model_fields["kind"].annotation)[0] for kind in DESTINATION_KINDS)


def _readable(error: ValidationError, path: Path | None) -> SettingsError:
    lines = []
    for entry in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in entry["loc"] if part not in _KIND_NAMES)
        if entry["type"] == "extra_forbidden":
            lines.append(f"{key} is not a setting (docs/settings.md lists all)")
        else:
            lines.append(f"{key}: {entry['msg']}")
    return SettingsError("wrong settings", where=str(path or "defaults"), hint="; ".join(lines))


def _check_exposure(settings: Settings, path: Path | None) -> None:
    if settings.api.host in ("127.0.0.1", "::1", "localhost") or settings.api.allow_remote:
        return
    raise SettingsError(
        f"api.host = {settings.api.host!r} would answer other machines",
        where=str(path or "defaults"),
        hint="keep 127.0.0.1, or set api.allow_remote = true with api.tls_certificate and api.tls_key, or behind a proxy that brings TLS, "
        "and api.allowed_hosts to its names",
    )
