"""An archive that answers QIDO-RS and WADO-RS: we fetch a study and hand it to our listener, so that it goes the way of all others."""

import tempfile
from collections.abc import Iterator
from datetime import date
from email.message import Message
from pathlib import Path
from typing import IO

import httpx2
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom import AE, build_context

from trabecula_service.backfill.port import ArchiveError, Fetched, NotFetched
from trabecula_service.requestor import associate
from trabecula_service.settings.backfill import BackfillSettings

_PAGE = 200
_STUDY_UID, _MODALITIES = "0020000D", "00080061"
_CHUNK_BYTES = 1 << 20
_LONGEST_PART_HEADER_BYTES = 16_384


class DicomwebArchive:
    """``Archive`` by DICOMweb.

    Parameters
    ----------
    listener : host, port and AE title of our listener.
    folder : where a study lies for a moment; below the data folder, because it holds patient data.
    """

    def __init__(self, settings: BackfillSettings, *, listener: tuple[str, int, str], folder: Path) -> None:
        self._settings, self._listener, self._folder = settings, listener, folder
        self._base = str(settings.url).rstrip("/")

    def find(self, day: date) -> list[str]:
        """Study Instance UIDs of the CT studies of one day."""
        found: list[str] = []
        seen = 0
        try:
            with self._client() as client:
                while True:
                    query: dict[str, str | int] = {
                        "StudyDate": day.strftime("%Y%m%d"),
                        "ModalitiesInStudy": "CT",
                        "limit": _PAGE,
                        "offset": len(found),
                    }
                    answer = client.get(f"{self._base}/studies", params=query, headers={"Accept": "application/dicom+json"})
                    rows = [] if answer.status_code == 204 else answer.raise_for_status().json()
                    seen += len(rows)
                    # Some archives leave the modality out of the search and give all studies of the day.
                    found += [str(row[_STUDY_UID]["Value"][0]) for row in rows if "CT" in row.get(_MODALITIES, {}).get("Value", ["CT"])]
                    if len(rows) < _PAGE:
                        return list(dict.fromkeys(found))
        except (httpx2.HTTPError, OSError) as error:
            raise ArchiveError(f"the archive does not answer ({type(error).__name__})", where=f"backfill.url = {self._base}") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ArchiveError("the archive's answer is not that of QIDO-RS", where=f"backfill.url = {self._base}") from error

    def fetch(self, study_instance_uid: str) -> Fetched | NotFetched:
        """Fetch one study and store it with our listener."""
        headers = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        try:
            with tempfile.TemporaryDirectory(dir=self._folder) as name:
                with (
                    self._client() as client,
                    client.stream("GET", f"{self._base}/studies/{study_instance_uid}", headers=headers) as answer,
                ):
                    if answer.status_code != 200:
                        return NotFetched(f"the archive answers HTTP {answer.status_code}")
                    whole = Path(name) / "answer"
                    with whole.open("wb") as file:
                        for chunk in answer.iter_bytes(_CHUNK_BYTES):
                            file.write(chunk)
                    boundary = _boundary(answer.headers.get("content-type", ""))
                parts = list(_split(whole, boundary, Path(name)))
                whole.unlink()
                return self._store(parts)
        except httpx2.HTTPError as error:
            return NotFetched(f"the archive does not answer ({type(error).__name__})")
        except (OSError, ValueError, InvalidDicomError) as error:
            return NotFetched(f"the archive's answer cannot be used ({type(error).__name__})")

    def _store(self, parts: list[Path]) -> Fetched | NotFetched:
        host, port, title = self._listener
        entity = AE(ae_title="BACKFILL")
        metas = [dcmread(part, stop_before_pixels=True, specific_tags=["SOPClassUID"]).file_meta for part in parts]
        pairs = sorted({(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)) for meta in metas})
        association = associate(entity, host, port, contexts=[build_context(*pair) for pair in pairs[:128]], ae_title=title)
        if not association.is_established:
            return NotFetched("our own listener does not answer, or does not allow this machine to send")
        try:
            for part in parts:
                status = association.send_c_store(part).get("Status")
                if status != 0x0000:
                    return NotFetched("our own listener did not take an object")
        finally:
            association.release()
        return Fetched(len(parts)) if parts else NotFetched("the archive sent nothing")

    def _client(self) -> httpx2.Client:
        settings = self._settings
        token = {"Authorization": f"Bearer {settings.bearer_token_file.read_text().strip()}"} if settings.bearer_token_file else {}
        return httpx2.Client(timeout=settings.timeout_seconds, follow_redirects=False, trust_env=False, headers=token)


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_maintype() != "multipart" or not isinstance(boundary, str) or not boundary:
        raise ValueError("the answer is not multipart")
    return boundary.encode("latin-1")


def _split(whole: Path, boundary: bytes, folder: Path) -> Iterator[Path]:
    """Write each part into a file of its own; one study may be larger than the memory, one object may not."""
    delimiter = b"\r\n--" + boundary
    with whole.open("rb") as file:
        # The first delimiter has no line end before it.
        buffer = b"\r\n" + file.read(_CHUNK_BYTES)
        buffer, ended = _skip_to(file, buffer, delimiter), False
        number = 0
        while not ended:
            while len(buffer) < 2:
                buffer += _more(file)
            if buffer.startswith(b"--"):
                return
            buffer, header_end = _fill_until(file, buffer, b"\r\n\r\n", _LONGEST_PART_HEADER_BYTES)
            buffer = buffer[header_end + 4 :]
            number += 1
            part = folder / f"{number:06d}.dcm"
            with part.open("wb") as out:
                buffer = _copy_until(file, buffer, delimiter, out)
            yield part


def _more(file: IO[bytes]) -> bytes:
    chunk = file.read(_CHUNK_BYTES)
    if not chunk:
        raise ValueError("the answer ends in the middle")
    return chunk


def _skip_to(file: IO[bytes], buffer: bytes, mark: bytes) -> bytes:
    buffer, at = _fill_until(file, buffer, mark, _CHUNK_BYTES * 2)
    return buffer[at + len(mark) :]


def _fill_until(file: IO[bytes], buffer: bytes, mark: bytes, longest: int) -> tuple[bytes, int]:
    while (at := buffer.find(mark)) < 0:
        if len(buffer) > longest:
            raise ValueError("a header of the answer is too long")
        buffer += _more(file)
    return buffer, at


def _copy_until(file: IO[bytes], buffer: bytes, mark: bytes, out: IO[bytes]) -> bytes:
    while (at := buffer.find(mark)) < 0:
        keep = len(mark) - 1
        out.write(buffer[:-keep])
        buffer = buffer[-keep:] + _more(file)
    out.write(buffer[:at])
    return buffer[at + len(mark) :]
