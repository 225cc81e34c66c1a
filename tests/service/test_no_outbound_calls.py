"""The service calls nobody but the destinations in its settings."""

from pathlib import Path

import pytest

from builders.service import Collector, running_service, send
from builders.small_ct import small_ct

_HOOK = """
import sys

def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        with open({path!r}, "a") as file:
            file.write(repr((event, arguments[1:] if event in ("socket.connect", "socket.sendto") else arguments[:2])) + "\\n")

sys.addaudithook(note)
"""


def test_a_study_goes_through_without_a_call_to_anybody_but_the_pacs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import builders.service as builder

    calls = tmp_path / "calls"
    calls.touch()
    # The interpreter itself tells of every connection and every name that is looked up, whatever library asks.
    monkeypatch.setattr(builder, "_RUN", _HOOK.format(path=str(calls)) + builder._RUN)
    pacs = Collector().start()
    try:
        with running_service(tmp_path, pacs_port=pacs.port) as service:
            send(service.dicom_port, small_ct())
            service.wait_for("done")
            for page in ("/", "/healthz", "/metrics", "/administration", "/physicist", "/login"):
                service.get(page)
            assert service.stop() == 0
    finally:
        pacs.stop()
    connected = {line for line in calls.read_text().splitlines() if "socket.connect" in line}
    assert connected == {f"('socket.connect', (('127.0.0.1', {pacs.port}),))"}
    looked_up = {line for line in calls.read_text().splitlines() if "getaddrinfo" in line or "gethostbyname" in line}
    assert all("127.0.0.1" in line or "None" in line or "localhost" in line for line in looked_up), looked_up
