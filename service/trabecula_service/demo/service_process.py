"""A service of its own for the demonstration: the real ``trabecula serve`` on free loopback ports over a data folder of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from trabecula_service.demo.errors import DemoError
from trabecula_service.demo.loopback_pacs import AE_TITLE

_START_SECONDS, _STOP_SECONDS = 60.0, 45.0
FINAL_STATES = frozenset({"done", "skipped", "failed"})


class ServiceProcess:
    """Context manager; while open a service runs that delivers to a PACS on this machine.

    Parameters
    ----------
    folder : for the settings file and the data; holds images while the service runs.
    log_path : where the service's log is kept.
    pacs_port : port of the PACS on 127.0.0.1.
    calibration_file : calibration entries of the service, if any.
    """

    def __init__(self, folder: Path, log_path: Path, *, pacs_port: int, calibration_file: Path | None) -> None:
        self._settings = folder / "trabecula.toml"
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self.dicom_port, self.url = 0, ""
        folder.mkdir(parents=True, exist_ok=True)
        self._settings.write_text(_settings_text(folder / "data", pacs_port, calibration_file), encoding="utf-8")

    def __enter__(self) -> Self:
        """Start the service and wait until its doors are open."""
        with self._log_path.open("wb") as log:
            command = [sys.executable, "-m", "trabecula_service.cli", "serve", "--config", str(self._settings)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            started = self._wait(_START_SECONDS, self._started_line, "the service does not start")
        except BaseException:
            self._end()
            raise
        self.dicom_port, self.url = int(started["port"]), str(started["url"])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the service."""
        self._end()

    def wait_for_study(self, study_uid: str, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
        """The work list's row of a study once nothing more will happen to it; ``say`` hears of every state on the way.

        Raises
        ------
        DemoError
            If the study does not get there in time or the service ends.
        """
        seen = ""

        def finished() -> dict[str, Any] | None:
            nonlocal seen
            row = next((row for row in self._get("/api/v1/studies")["studies"] if row["study_instance_uid"] == study_uid), None)
            if row is not None and row["state"] != seen:
                seen = str(row["state"])
                say(seen)
            return row if row is not None and row["state"] in FINAL_STATES else None

        return self._wait(seconds, finished, "the study is not finished in time")

    def result_text(self, study_id: str) -> str | None:
        """``result.json`` of a study, or None if it has none."""
        answer = httpx2.get(f"{self.url}/api/v1/results/{study_id}", timeout=10)
        return answer.text if answer.status_code == 200 else None

    def document(self, study_id: str, version: int, name: str) -> bytes | None:
        """A document of a result, or None if there is none of this name."""
        answer = httpx2.get(f"{self.url}/api/v1/studies/{study_id}/versions/{version}/documents/{name}", timeout=10)
        return answer.content if answer.status_code == 200 else None

    def _get(self, path: str) -> Any:
        return httpx2.get(self.url + path, timeout=10).json()

    def _started_line(self) -> dict[str, Any] | None:
        for line in self._log_path.read_text(encoding="utf-8", errors="replace").splitlines():
            if '"started"' in line:
                entry: dict[str, Any] = json.loads(line)
                return entry
        return None

    def _wait(self, seconds: float, look: Callable[[], dict[str, Any] | None], what: str) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = look()
            if found is not None:
                return found
            if self._process is not None and self._process.poll() is not None:
                raise DemoError("the service ended by itself", where=str(self._log_path), hint="its log says why")
            time.sleep(0.2)
        raise DemoError(what, where=f"{seconds:.0f} s", hint=f"read {self._log_path}")

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _settings_text(data: Path, pacs_port: int, calibration_file: Path | None) -> str:
    calibration = f"calibration_file = {json.dumps(str(calibration_file))}\n" if calibration_file else ""
    return f"""data = {json.dumps(str(data))}
[receive]
bind = "127.0.0.1"
port = 0
reserve_free_gib = 0.5
[series]
quiet_seconds = 1.0
[work]
poll_seconds = 0.2
max_attempts = 1
{calibration}[deliver.destinations.pacs]
kind = "c-store"
host = "127.0.0.1"
port = {pacs_port}
ae_title = "{AE_TITLE}"
[api]
port = 0
"""
