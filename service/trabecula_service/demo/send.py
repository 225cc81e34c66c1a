"""Sending a folder of images to a receiver by C-STORE, in the transfer syntax that they are stored in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from trabecula_morphometry.errors import InputError
from trabecula_service.demo.errors import DemoError
from trabecula_service.requestor import associate

CALLING_AE_TITLE = "DEMO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Who is sent to."""

    ae_title: str = "TRABECULA"
    host: str = "127.0.0.1"
    port: int

    @classmethod
    def parse(cls, text: str) -> "Receiver":
        """Read ``AETITLE@HOST:PORT``.

        Raises
        ------
        InputError
            If it is none.
        """
        found = re.fullmatch(r"(?P<title>[^@\\]{1,16})@(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@\s]+):(?P<port>\d{1,5})", text)
        if found is None or not 0 < int(found["port"]) < 65536:
            raise InputError("not the address of a PACS", where=text, hint="write AETITLE@HOST:PORT, as in ORTHANC@127.0.0.1:4242")
        return cls(ae_title=found["title"], host=found["host"].strip("[]"), port=int(found["port"]))


def dicom_files(folder: Path) -> list[Path]:
    """DICOM files of a folder and the folders in it, in a fixed order.

    Raises
    ------
    InputError
        If there is none.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_dicom(path)]
    if not files:
        raise InputError("no DICOM file in the folder", where=str(folder), hint="name a folder with the slices of one CT series")
    return files


def send_files(files: Sequence[Path], receiver: Receiver) -> int:
    """Send files over one association; returns how many were stored.

    An image without an answer is sent once more over a new association: pynetdicom's own thread now and then takes a quick answer on a
    busy machine (it reads its pause flag too late), and then waits for it in vain. A receiver takes the same object twice without harm.

    Raises
    ------
    DemoError
        If the receiver does not take the association, refuses an object, or answers neither time.
    """
    kinds = sorted({(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)) for meta in (_meta(path) for path in files)})
    association = _associate(kinds, receiver)
    try:
        for path in files:
            status = association.send_c_store(path).get("Status")
            if status is None:
                association = _associate(kinds, receiver)
                status = association.send_c_store(path).get("Status")
            if status is None:
                raise DemoError(f"{receiver.ae_title} does not answer", where=path.name, hint="read its log")
            if status != 0x0000:
                raise DemoError(f"{receiver.ae_title} answers an image with {status:#06x}", where=path.name, hint="read its log")
    finally:
        if association.is_established:
            association.release()
    return len(files)


def _associate(kinds: Sequence[tuple[str, str]], receiver: Receiver) -> Association:
    ae = AE(ae_title=CALLING_AE_TITLE)
    contexts = [build_context(*kind) for kind in kinds]
    association = associate(ae, receiver.host, receiver.port, contexts=contexts, ae_title=receiver.ae_title)
    if not association.is_established:
        hint = "is it running, and is this its DICOM port?"
        if association.is_rejected:
            hint = f"it must know the AE title {CALLING_AE_TITLE}; its log says more"
        where = f"{receiver.host}:{receiver.port}"
        raise DemoError(f"{receiver.ae_title} does not take the association", where=where, hint=hint)
    return association


def _meta(path: Path) -> FileMetaDataset:
    return read_file_meta_info(path)


def _is_dicom(path: Path) -> bool:
    try:
        _meta(path)
    except InvalidDicomError:
        return False
    return True
