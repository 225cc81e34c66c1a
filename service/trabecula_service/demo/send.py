"""Sending a folder of images to a service by C-STORE, in the transfer syntax that they are stored in."""

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from trabecula_morphometry.errors import InputError
from trabecula_service.demo.errors import DemoError


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


def send_files(files: Sequence[Path], *, port: int, called_ae_title: str = "TRABECULA") -> int:
    """Send files over one association to a listener on this machine; returns how many were stored.

    An image without an answer is sent once more over a new association: pynetdicom's own thread now and then takes a quick answer on a
    busy machine (it reads its pause flag too late), and then waits for it in vain. A receiver takes the same object twice without harm.

    Raises
    ------
    DemoError
        If the listener does not take the association, refuses an object, or answers neither time.
    """
    kinds = sorted({(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)) for meta in (_meta(path) for path in files)})
    association = _associate(kinds, port, called_ae_title)
    try:
        for path in files:
            status = association.send_c_store(path).get("Status")
            if status is None:
                association = _associate(kinds, port, called_ae_title)
                status = association.send_c_store(path).get("Status")
            if status is None:
                raise DemoError("the service does not answer", where=path.name, hint="read the service's log")
            if status != 0x0000:
                raise DemoError(f"the service answers an image with {status:#06x}", where=path.name, hint="read the service's log")
    finally:
        if association.is_established:
            association.release()
    return len(files)


def _associate(kinds: Sequence[tuple[str, str]], port: int, called_ae_title: str) -> Association:
    ae = AE(ae_title="DEMO")
    association = ae.associate("127.0.0.1", port, contexts=[build_context(*kind) for kind in kinds], ae_title=called_ae_title)
    if not association.is_established:
        raise DemoError("the service does not take the association", where=f"127.0.0.1:{port}", hint="read the service's log")
    return association


def _meta(path: Path) -> FileMetaDataset:
    return read_file_meta_info(path)


def _is_dicom(path: Path) -> bool:
    try:
        _meta(path)
    except InvalidDicomError:
        return False
    return True
