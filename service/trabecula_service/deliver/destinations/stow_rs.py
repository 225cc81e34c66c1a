"""A DICOMweb archive that takes objects by STOW-RS (PS3.18 section 10.5)."""

import hashlib
import json
from typing import Any

from pydicom.filereader import read_file_meta_info

from trabecula_service.deliver.destinations.http_exchange import base_url, failure_of, post
from trabecula_service.deliver.port import Accepted, Item, Refused, Unavailable
from trabecula_service.settings.deliver import StowDestination

_REFERENCED, _FAILED = "00081199", "00081198"
_INSTANCE_UID, _FAILURE_REASON = "00081155", "00081197"
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_DUPLICATE = 0x0111


class StowRs:
    """One object per request; the status of HTTP says little here, the sequences in the answer decide."""

    def __init__(self, settings: StowDestination) -> None:
        self._settings = settings

    def deliver(self, item: Item) -> Accepted | Unavailable | Refused:
        """Store one object, the bytes as they lie on the disk."""
        content = item.path.read_bytes()
        # Made from the content, so that it cannot stand inside it but by a broken hash.
        boundary = hashlib.sha256(content).hexdigest()
        body = b"".join((f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(), content, f"\r\n--{boundary}--\r\n".encode()))
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        }
        answer = post(self._settings, f"{base_url(self._settings)}/studies", body, headers)
        if isinstance(answer, Unavailable):
            return answer
        # 409 holds the reasons for a failure of all objects, 202 for some (PS3.18 table 10.5.3-1).
        if answer.status_code not in (200, 202, 409):
            return failure_of(answer.status_code)
        return outcome_of(answer.content, str(read_file_meta_info(item.path).MediaStorageSOPInstanceUID))


def outcome_of(answer: bytes, sop_instance_uid: str) -> Accepted | Unavailable | Refused:
    """What the answer says about this object; one that does not name it has not stored it, whatever its status."""
    try:
        dataset = json.loads(answer)
        dataset = dataset[0] if isinstance(dataset, list) else dataset
        stored = [_first(entry, _INSTANCE_UID) for entry in dataset.get(_REFERENCED, {}).get("Value", [])]
        failed = {_first(entry, _INSTANCE_UID): _first(entry, _FAILURE_REASON) for entry in dataset.get(_FAILED, {}).get("Value", [])}
    except (ValueError, AttributeError, IndexError, TypeError):
        return Unavailable("the archive's answer cannot be read")
    if sop_instance_uid in failed:
        return _failure(failed[sop_instance_uid])
    if sop_instance_uid in stored:
        return Accepted("stored")
    return Unavailable("the archive's answer does not name the object")


def _failure(reason: Any) -> Accepted | Unavailable | Refused:
    code = reason if isinstance(reason, int) else -1
    text = f"0x{code:04X}" if code >= 0 else "no reason given"
    if code == _DUPLICATE:
        return Accepted(f"was there already ({text})")
    if code in _OUT_OF_RESOURCES:
        return Unavailable(f"the archive is out of resources ({text})")
    return Refused(f"the archive refuses the object ({text})")


def _first(dataset: dict[str, Any], tag: str) -> Any:
    values = dataset.get(tag, {}).get("Value", [])
    return values[0] if values else None
