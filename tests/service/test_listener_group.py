"""Several listener processes on one port."""

import json
import os
import signal
from pathlib import Path

from builders.service import running_service, send, wait_ticks
from builders.small_ct import small_ct


def test_a_killed_listener_is_replaced_and_its_study_goes_on(tmp_path: Path) -> None:
    with running_service(tmp_path, receive="processes = 2") as service:
        images = small_ct(slices=4)
        assert send(service.dicom_port, images[:2]) == [0, 0]
        for process in _listeners(service.process.pid):
            os.kill(process, signal.SIGKILL)
        for _ in wait_ticks(60):
            if service.log().count('"listener_ended"') == 2:
                break
        statuses: list[int] = []
        for _ in wait_ticks(60):
            statuses = statuses or send(service.dicom_port, images[2:])
            if statuses:
                break
        assert statuses == [0, 0]
        (row,) = service.wait_for("done")
        assert service.study(row["id"])["objects"] == {"ct": 4}
        assert service.stop() == 0
    assert {json.loads(line)["event"] for line in service.log().splitlines() if line.startswith("{")} >= {"listener_ended", "stopped"}


def _listeners(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            command = status.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == parent and b"spawn_main" in command:
            found.append(int(status.parent.name))
    return found
