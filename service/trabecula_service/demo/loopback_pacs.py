"""A small PACS on the loopback interface: it takes every object by C-STORE and keeps it in a folder."""

from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from pynetdicom import AE, AllStoragePresentationContexts, evt

AE_TITLE = "DEMOPACS"

_NAME_OF_MODALITY = {"SR": "report.sr.dcm", "SEG": "segmentation.seg.dcm", "DOC": "report.pdf.dcm", "OT": "capture.sc.dcm"}


class LoopbackPacs:
    """Context manager; while open it listens on ``port`` of 127.0.0.1.

    Parameters
    ----------
    folder : where received objects are kept, one DICOM file each, named after what they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._received: dict[str, Path] = {}
        self._lock = Lock()
        self._ae = AE(ae_title=AE_TITLE)
        for context in AllStoragePresentationContexts:
            self._ae.add_supported_context(context.abstract_syntax, context.transfer_syntax)
        self.port = 0

    def __enter__(self) -> Self:
        """Start to listen on a free port."""
        self._folder.mkdir(parents=True, exist_ok=True)
        server = self._ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.port = int(server.socket.getsockname()[1])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop listening."""
        self._ae.shutdown()

    @property
    def received(self) -> dict[str, Path]:
        """Objects so far, by their file name."""
        with self._lock:
            return dict(self._received)

    def _store(self, event: Any) -> int:
        name = _NAME_OF_MODALITY.get(str(event.dataset.get("Modality", "")), f"{event.request.AffectedSOPInstanceUID.name}.dcm")
        path = self._folder / name
        path.write_bytes(event.encoded_dataset())
        with self._lock:
            self._received[name] = path
        return 0x0000
