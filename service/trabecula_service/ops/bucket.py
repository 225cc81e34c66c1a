"""A bucket (S3 and what speaks like it) in which several machines keep the files of one data folder between them."""

import tomllib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from trabecula_morphometry.errors import SettingsError
from trabecula_service.settings.storage import ObjectsSettings

_PART = ".part"
_TRIES = 3
_AT_ONCE = 1000
"""Names in one request to delete (S3 DeleteObjects)."""


class Bucket:
    """Files under their names below the data folder. Every method raises OSError where the bucket cannot be reached.

    Parameters
    ----------
    url : such as "s3://bucket/prefix"; also "gs://", "az://", and "file:///folder" for trials.
    options : of the store, as obstore names them.
    """

    def __init__(self, url: str, options: dict[str, Any] | None = None) -> None:
        import obstore
        from obstore.store import from_url

        self._obstore = obstore
        self._store: Any = from_url(url, **(options or {}))

    def put(self, name: str, path: Path) -> None:
        """Keep a file; when this returns the bucket has it whole."""
        with _as_os_error():
            self._obstore.put(self._store, name, path)

    def fetch(self, name: str, path: Path) -> None:
        """Bring a file here, whole or not at all; FileNotFoundError where the bucket does not have it."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Others may fetch the same file at the same time.
        part = path.with_name(f".{path.name}.{id(path):x}{_PART}")
        try:
            with _as_os_error(), part.open("wb") as file:
                for chunk in self._obstore.get(self._store, name).stream():
                    file.write(chunk)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def size_of(self, name: str) -> int | None:
        """Bytes of a file, None where the bucket does not have it."""
        try:
            with _as_os_error():
                return int(self._obstore.head(self._store, name)["size"])
        except FileNotFoundError:
            return None

    def delete(self, names: Sequence[str]) -> None:
        """Delete files; one that is not there is as good as deleted."""
        for start in range(0, len(names), _AT_ONCE):
            try:
                with _as_os_error():
                    self._obstore.delete(self._store, list(names[start : start + _AT_ONCE]))
            except FileNotFoundError:
                # A folder says so for the first that is missing and does not go on; a bucket never does.
                for name in names[start : start + _AT_ONCE]:
                    self._delete_one(name)

    def _delete_one(self, name: str) -> None:
        try:
            with _as_os_error():
                self._obstore.delete(self._store, name)
        except FileNotFoundError:
            return


class _as_os_error:  # noqa: N801 - reads as a statement
    """What the store raises becomes OSError: whoever keeps files knows what to do with that, as with a full disk."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from obstore.exceptions import BaseError, NotFoundError

        if isinstance(error, NotFoundError):
            raise FileNotFoundError("the bucket does not have the file") from error
        if isinstance(error, BaseError):
            raise OSError(f"the bucket gave no answer to rely on ({type(error).__name__})") from error


def open_bucket(settings: ObjectsSettings) -> Bucket | None:
    """The bucket of the settings; None where files stay in the data folder.

    Raises
    ------
    SettingsError
        The package is not installed, or the address or the credentials cannot be used.
    """
    if settings.url is None:
        return None
    options: dict[str, Any] = {}
    if settings.url.startswith("s3://"):
        config = {"region": settings.region, **_credentials(settings.credentials_file)}
        if settings.endpoint is not None:
            config["endpoint"] = str(settings.endpoint).rstrip("/")
        plain = settings.endpoint is not None and settings.endpoint.scheme == "http"
        # Few tries: whoever asked has a better idea of how to wait, from the sender of an object to the deliverer of a document.
        retry = {"max_retries": _TRIES - 1, "retry_timeout": timedelta(seconds=settings.timeout_seconds)}
        client = {"allow_http": plain, "timeout": timedelta(seconds=settings.timeout_seconds)}
        options = {"config": config, "client_options": client, "retry_config": retry}
    elif settings.url.startswith("file://"):
        options = {"mkdir": True}
    try:
        return Bucket(settings.url, options)
    except ModuleNotFoundError as error:
        raise SettingsError("the package for buckets is not installed", where="objects.url", hint='pip install "trabecula[s3]"') from error
    # The store names its own kinds of errors for an address that it cannot take apart.
    except Exception as error:
        raise SettingsError("the bucket cannot be used", where="objects.url", hint=type(error).__name__) from error


def _credentials(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        where = f"objects.credentials_file = {path}"
        raise SettingsError("the credentials cannot be read", where=where, hint=type(error).__name__) from error
    names = ("access_key_id", "secret_access_key", "session_token")
    if not set(found) <= set(names) or not {"access_key_id", "secret_access_key"} <= set(found):
        hint = 'write access_key_id = "..." and secret_access_key = "...", and session_token if there is one'
        raise SettingsError("the credentials are not complete", where=f"objects.credentials_file = {path}", hint=hint)
    return {name: str(value) for name, value in found.items()}
