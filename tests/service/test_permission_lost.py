"""The folder of received objects cannot be written for a while: senders are told, nothing is lost, and it goes on by itself."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_context

from builders.service import running_service, wait_ticks
from builders.small_ct import small_ct
from trabecula_service.requestor import associate

OUT_OF_RESOURCES = 0xA700


class ObjectsFolder:
    """A folder whose permission can be taken: by its mode, or, where the tests run as root and modes mean nothing, by its mount."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._as_root = os.geteuid() == 0
        path.mkdir(parents=True)
        if self._as_root and subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(path)], capture_output=True).returncode:
            pytest.skip("as root this needs a mount of its own, which is not allowed here")

    def forbid(self) -> None:
        """No writing from now on."""
        if self._as_root:
            self._remount("ro")
            return
        for folder in (self.path, *(entry for entry in self.path.rglob("*") if entry.is_dir())):
            folder.chmod(0o500)

    def allow(self) -> None:
        """Writing again."""
        if self._as_root:
            self._remount("rw")
            return
        # A folder can be looked into only after its own turn.
        self.path.chmod(0o700)
        for folder in [entry for entry in self.path.rglob("*") if entry.is_dir()]:
            folder.chmod(0o700)

    def _remount(self, mode: str) -> None:
        for _ in wait_ticks(20):
            # Busy as long as a file is open for writing.
            if subprocess.run(["mount", "-o", f"remount,{mode}", str(self.path)], capture_output=True).returncode == 0:
                return
        raise AssertionError(f"the folder could not be mounted {mode}")

    def close(self) -> None:
        """Leave nothing mounted."""
        if self._as_root:
            subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[ObjectsFolder]:
    folder = ObjectsFolder(tmp_path / "data" / "objects")
    yield folder
    folder.allow()
    folder.close()


def test_a_store_that_may_not_be_written_is_told_to_the_sender_and_nothing_is_lost(tmp_path: Path, objects: ObjectsFolder) -> None:
    images = small_ct(slices=9)
    with running_service(tmp_path, quiet_seconds=0.5) as service:
        contexts = [build_context(images[0].SOPClassUID, ExplicitVRLittleEndian)]
        association = associate(AE(ae_title="SCANNER"), "127.0.0.1", service.dicom_port, contexts=contexts, ae_title="TRABECULA")

        def store(some: list[Dataset]) -> set[int]:
            return {int(association.send_c_store(image).Status) for image in some}

        def known() -> int:
            return int(service.get("/api/v1/studies").json()["objects"]["ct"])

        assert store(images[:3]) == {0}
        objects.forbid()
        assert store(images[3:6]) == {OUT_OF_RESOURCES}
        assert known() == 3, "what was refused is in no list"
        assert service.get("/livez").status_code == 200, "no reason to restart anything"
        assert "objects cannot be written" in service.get("/healthz").json()["problems"][0]
        objects.allow()
        assert store(images[3:]) == {0}, "the same association, the same process"
        assert service.get("/healthz").json()["problems"] == []
        association.release()
        (row,) = service.wait_for("done")
        assert service.get(f"/api/v1/results/{row['id']}").json()["source"]["file_count"] == 9
        assert (row["version"], known()) == (1, 9)
        assert "object_not_stored" in service.log()
        assert service.stop() == 0
