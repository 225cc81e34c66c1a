"""The HTTP server in a thread of its own, on a port that is known before it starts."""

import socket
from threading import Thread

import uvicorn
from fastapi import FastAPI

from trabecula_morphometry.errors import SettingsError
from trabecula_service.settings import ApiSettings

_LEAVE_SECONDS = 5


class WebServer:
    """Serves one application."""

    def __init__(self, app: FastAPI, settings: ApiSettings) -> None:
        self._settings = settings
        self._socket = _listening_socket(settings)
        config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=_LEAVE_SECONDS)
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, name="trabecula-api", daemon=True)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{self._settings.host}:{self._socket.getsockname()[1]}"

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def stop(self) -> None:
        """End after the requests that are under way."""
        self._server.should_exit = True
        self._thread.join(_LEAVE_SECONDS * 2)
        self._socket.close()


def _listening_socket(settings: ApiSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        hint = f"{error.strerror}; stop the other program or set another port"
        raise SettingsError("the page cannot start", where=f"api.host, api.port = {settings.host}:{settings.port}", hint=hint) from error
    return listening
