"""A PACS on loopback that keeps nothing and answers each object as soon as its last byte is there."""

import socket
from threading import Thread

from trabecula_service.receive.storing import SUCCESS, Answer
from trabecula_service.receive.upper_layer import PeerConnection


class QuickPacs:
    """One association after another, until it is closed."""

    def __init__(self) -> None:
        self.answered = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connected, _ = self._listening.accept()
            except OSError:
                return
            with connected:
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer = PeerConnection(connected, max_pdu_bytes=131_072, idle_seconds=60.0)
                peer.accept(peer.read_request(60.0), {})
                peer.serve(lambda command, _syntax: Answer(command, SUCCESS))
            self.answered += 1
