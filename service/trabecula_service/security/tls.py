"""Certificates of our servers, taken anew when their files change, so that a renewal needs no restart."""

import ssl
from pathlib import Path
from threading import Lock

import structlog

from trabecula_morphometry.errors import SettingsError

log = structlog.get_logger("trabecula.security")


class ServerTls:
    """The TLS context for the next connection (PS3.15 B.12, BCP 195: TLS 1.2 or newer).

    Parameters
    ----------
    client_ca : certificates that a client's is checked against; with it every client must show one.
    section : of the settings, for what is said about them.

    Raises
    ------
    SettingsError
        At the start, if the files cannot be used. A renewal that cannot be used is logged and the present certificate stays.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None, *, section: str) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._lock = Lock()
        self._seen = self._state()
        try:
            self._context = self._load()
        except (OSError, ssl.SSLError) as error:
            hint = f"{_reason(error)}; certificate and key must be PEM files that belong together and that this user can read"
            where = f"{section}.tls_certificate, {section}.tls_key"
            raise SettingsError("the TLS files cannot be used", where=where, hint=hint) from error

    def context(self) -> ssl.SSLContext:
        """The present context."""
        with self._lock:
            state = self._state()
            if state != self._seen:
                self._seen = state
                try:
                    self._context = self._load()
                    log.info("certificate_reloaded")
                except (OSError, ssl.SSLError) as error:
                    log.error("certificate_not_reloaded", error=type(error).__name__)
            return self._context

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certificate, self._key)
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _state(self) -> tuple[tuple[int, int], ...]:
        return tuple(_stamp(path) for path in (self._certificate, self._key, self._client_ca) if path is not None)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        # A renewal that removes the file before it writes the new one.
        return (0, 0)
    return (status.st_mtime_ns, status.st_ino)


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
