"""An answer that comes before we look for it is not lost."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pydicom import dcmwrite
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider

from builders.quick_pacs import QuickPacs
from builders.small_ct import small_ct
from trabecula_service.deliver.destinations import c_store
from trabecula_service.deliver.port import Accepted, Item
from trabecula_service.settings.deliver import CStoreDestination


@pytest.fixture
def pacs() -> Iterator[QuickPacs]:
    opened = QuickPacs()
    yield opened
    opened.close()


def _deliver(pacs: QuickPacs, tmp_path: Path, times: int) -> list[object]:
    path = tmp_path / "object.dcm"
    (image,) = small_ct(slices=1)
    dcmwrite(path, image, enforce_file_format=True)
    item = Item(path=path, document="capture.sc.dcm", study_id="0123456789abcdef", version_number=1)
    destination = c_store.CStore(CStoreDestination(kind="c-store", host="127.0.0.1", port=pacs.port, ae_title="PACS", timeout_seconds=10.0))
    return [destination.deliver(item) for _ in range(times)]


def test_no_answer_of_a_quick_pacs_is_lost(pacs: QuickPacs, tmp_path: Path) -> None:
    assert _deliver(pacs, tmp_path, 200) == [Accepted("stored (0x0000)")] * 200
    assert pacs.answered == 200


def test_no_answer_is_lost_where_the_sender_is_slower_than_the_reactor(
    pacs: QuickPacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a busy machine does now and then: pynetdicom's own thread is late to stop, and the sender later still to look."""

    class LateEvent(Event):
        def wait(self, timeout: float | None = None) -> bool:
            passed = super().wait(timeout)
            time.sleep(0.1)
            return passed

    begin, look, ask = Association.__init__, DIMSEServiceProvider.get_msg, c_store.associate

    def with_a_late_reactor(self: Any, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        self._reactor_checkpoint = LateEvent()
        self._reactor_checkpoint.set()

    def look_late(self: Any, block: bool = False) -> Any:
        time.sleep(0.3 if block else 0.0)
        return look(self, block)

    def ask_and_pause(*arguments: Any, **options: Any) -> Association:
        association = ask(*arguments, **options)
        time.sleep(0.05)
        return association

    monkeypatch.setattr(Association, "__init__", with_a_late_reactor)
    monkeypatch.setattr(c_store, "associate", ask_and_pause)
    monkeypatch.setattr(DIMSEServiceProvider, "get_msg", look_late)
    assert _deliver(pacs, tmp_path, 3) == [Accepted("stored (0x0000)")] * 3
