"""A backup of a running service is a whole installation."""

from pathlib import Path
from threading import Thread

import pytest

from builders.service import launch, running_service, send, write_settings
from builders.small_ct import small_ct
from trabecula_morphometry.errors import SettingsError
from trabecula_service.ops.backup import back_up, restore


def test_a_backup_taken_while_studies_come_in_starts_as_a_service_of_its_own(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with running_service(tmp_path / "one") as service:
        assert send(service.dicom_port, small_ct(PatientID="first")) == [0] * 3
        service.wait_for("done")
        first = back_up(tmp_path / "one" / "data", backup)
        assert (first.objects, first.copied) == (3, first.objects + first.documents)
        statuses: list[int] = []
        sender = Thread(target=lambda: statuses.extend(send(service.dicom_port, small_ct(slices=20, PatientID="second"))))
        sender.start()
        second = back_up(tmp_path / "one" / "data", backup)
        sender.join()
        assert statuses == [0] * 20
        assert 3 <= second.objects <= 23
        assert second.copied == second.objects - 3 + second.documents - first.documents, "what was there is not copied again"
    restored = restore(backup, tmp_path / "two" / "data")
    assert (restored.objects, restored.damaged) == (second.objects, 0)
    again = launch(write_settings(tmp_path / "two"))
    try:
        rows = again.wait_for("done", count=1)
        assert {"ct": 3} in [again.study(row["id"])["objects"] for row in rows]
        assert again.stop() == 0
    finally:
        if again.process.poll() is None:
            again.kill()


def test_a_damaged_backup_is_noticed_and_nothing_is_overwritten(tmp_path: Path) -> None:
    with running_service(tmp_path / "one") as service:
        send(service.dicom_port, small_ct())
        service.wait_for("done")
    back_up(tmp_path / "one" / "data", tmp_path / "backup")
    one, other = sorted((tmp_path / "backup" / "objects").rglob("*.dcm"))[:2]
    one.write_bytes(one.read_bytes()[:-1] + b"\x55")
    other.unlink()
    assert restore(tmp_path / "backup", tmp_path / "two").damaged == 2
    with pytest.raises(SettingsError, match="not empty"):
        restore(tmp_path / "backup", tmp_path / "two")
    with pytest.raises(SettingsError, match="no ledger to back up"):
        back_up(tmp_path / "nothing", tmp_path / "backup")
