"""The HTTP server in a thread of its own, on a port that is known before it starts; with TLS where there is a certificate."""

import socket
import ssl
from threading import Thread
from typing import Any

import uvicorn

from trabecula_morphometry.errors import SettingsError
from trabecula_service.api.redirect import redirect_to
from trabecula_service.security.tls import ServerTls
from trabecula_service.settings.access import ApiSettings

_LEAVE_SECONDS = 5


class WebServer:
    """Serves one ASGI application.

    Raises
    ------
    SettingsError
        The port is taken, the address is not this machine's, or the TLS files cannot be used.
    """

    def __init__(self, app: Any, settings: ApiSettings) -> None:
        tls = None
        if settings.tls_certificate is not None and settings.tls_key is not None:
            tls = ServerTls(settings.tls_certificate, settings.tls_key, section="api")
        self._scheme, self._host = "http" if tls is None else "https", settings.host
        self._socket = _listening_socket(settings.host, settings.port, "api.host, api.port")
        self._serving = [_Serving(app, self._socket, tls)]
        if tls is not None and settings.redirect_port is not None:
            plain = _listening_socket(settings.host, settings.redirect_port, "api.host, api.redirect_port")
            self.redirect_port = int(plain.getsockname()[1])
            self._serving.append(_Serving(redirect_to(self._port, settings.allowed_hosts), plain, None))

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"{self._scheme}://{self._host}:{self._port}"

    @property
    def _port(self) -> int:
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Serve."""
        for serving in self._serving:
            serving.start()

    def stop(self) -> None:
        """End after the requests that are under way."""
        for serving in self._serving:
            serving.ask_to_stop()
        for serving in self._serving:
            serving.join()


class _Serving:
    """One application on one socket."""

    def __init__(self, app: Any, listening: socket.socket, tls: ServerTls | None) -> None:
        config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=_LEAVE_SECONDS)
        config.load()
        config.ssl = None if tls is None else _renewing(tls)
        self._socket, self._server = listening, uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, kwargs={"sockets": [listening]}, name="trabecula-api", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._server.should_exit = True

    def join(self) -> None:
        self._thread.join(_LEAVE_SECONDS * 2)
        self._socket.close()


def _renewing(tls: ServerTls) -> ssl.SSLContext:
    """A context that gives each new connection the present certificate."""
    context = tls.context()

    def take_present(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = tls.context()

    # Called in every handshake, whether or not the client names a host.
    context.sni_callback = take_present
    return context


def _listening_socket(host: str, port: int, where: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        hint = f"{error.strerror}; stop the other program or set another port"
        raise SettingsError("the page cannot start", where=f"{where} = {host}:{port}", hint=hint) from error
    return listening
