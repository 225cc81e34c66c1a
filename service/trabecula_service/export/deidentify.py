"""One CT image without the patient: PS3.15 Basic Profile with Retain Patient Characteristics and Retain Device Identity.

Only what ``kept_elements`` names is taken over into a new data set. Pixels are unpacked, so that nothing can hide in a compressed stream.
"""

import hashlib
import hmac
import re
import secrets
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import get_expected_length
from pydicom.tag import BaseTag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from trabecula_morphometry.errors import InputError, TrabeculaError
from trabecula_service.dicom import jpeg_lossless
from trabecula_service.dicom.acquisition import age_years, contrast_given, contrast_of
from trabecula_service.export.kept_elements import EMPTIED, ESSENTIAL, KEPT, METHODS, NEW_UIDS, SEQUENCES, TYPE_2
from trabecula_service.pipeline.files import write_durably
from trabecula_service.receive.object_kinds import is_ct

OLDEST_AGE_YEARS = 90
"""Who is older is given as this old: so few people are that the age alone may name them (45 CFR 164.514(b)(2)(i)(C))."""
_SHORTEST_SECRET = 4
"""Letters of a name or number that are looked for in what is kept; a shorter one is found everywhere."""
_PATIENT_GROUP = 0x0010
_TEXTS = frozenset(["AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"])
_SCREEN = re.compile(r"SCREEN|CAPTURE|DOSE|PATIENT.?PROTOCOL", re.IGNORECASE)
_KEY_BYTES = 32


class NotDeidentifiableError(TrabeculaError):
    """An image that may show the patient's name, or that cannot be taken apart; it is left out."""


class UidKey:
    """Turns UIDs into others that belong together in the same way, by a secret of the site."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def at(cls, path: Path) -> "UidKey":
        """The key in a file, made there if there is none.

        Raises
        ------
        InputError : the file cannot be read, or holds no key.
        """
        if not path.exists():
            write_durably(path, secrets.token_hex(_KEY_BYTES).encode() + b"\n")
            path.chmod(0o600)
        try:
            secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except (OSError, ValueError) as error:
            raise InputError("the key cannot be read", where=path.name, hint="give the file that an earlier export made") from error
        if len(secret) < _KEY_BYTES:
            raise InputError("the key is too short", where=path.name, hint="give the file that an earlier export made")
        return cls(secret)

    def uid(self, original: str) -> str:
        """Another UID, always the same for the same original (PS3.5 B.2)."""
        digest = hmac.new(self._secret, original.encode(), hashlib.sha256).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"


@dataclass
class Removed:
    """How often each element was removed, by keyword or tag; never a value."""

    counts: Counter[str] = field(default_factory=Counter)

    def note(self, element_tag: BaseTag, keyword: str) -> None:
        """One more."""
        self.counts["private elements" if element_tag.is_private else keyword or str(element_tag)] += 1


def deidentified(original: Dataset, subject: str, key: UidKey, removed: Removed) -> Dataset:
    """A new data set with what may stay, under another name.

    Raises
    ------
    NotDeidentifiableError : names may stand in the pixels, or the pixels cannot be unpacked.
    """
    _refuse_burned_in(original)
    _unpack(original)
    clean = _cleaned(original, key, removed, _secrets_of(original))
    age = age_years(original)
    if age is not None:
        clean.PatientAge = f"{min(int(age), OLDEST_AGE_YEARS):03d}Y" if age >= 1 else "000Y"
    agent = _contrast_agent(original)
    if agent:
        clean.ContrastBolusAgent = agent
    for keyword in EMPTIED:
        setattr(clean, keyword, "")
    for keyword in TYPE_2 if clean.SOPClassUID == CTImageStorage else ("PatientSex",):
        clean.setdefault(keyword, None)
    clean["PixelData"].VR = "OW" if clean.BitsAllocated > 8 else "OB"
    clean.PatientName = clean.PatientID = subject
    clean.SpecificCharacterSet = "ISO_IR 192"
    _say_so(clean)
    clean.file_meta = FileMetaDataset()
    clean.file_meta.MediaStorageSOPClassUID = clean.SOPClassUID
    clean.file_meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    clean.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return clean


def _refuse_burned_in(original: Dataset) -> None:
    sop_class = str(original.get("SOPClassUID", ""))
    if not is_ct(sop_class):
        raise NotDeidentifiableError("no CT image: names may stand in its pixels", where=sop_class, hint="only CT images are exported")
    kinds = "\\".join(original.get("ImageType") or [])
    if str(original.get("BurnedInAnnotation", "")).upper() == "YES" or _SCREEN.search(kinds) or original.get("SamplesPerPixel", 1) != 1:
        raise NotDeidentifiableError("a picture of a screen: names may stand in its pixels", where="image", hint="left out")
    if any((group, 0x3000) not in original for group in _overlay_groups(original)):
        raise NotDeidentifiableError("an overlay lies in the unused bits of its pixels", where="image", hint="left out")


def _unpack(original: Dataset) -> None:
    """Pixels as they are written below: not compressed, little endian."""
    if "PixelData" not in original:
        raise NotDeidentifiableError("it has no pixels", where="image", hint="left out")
    jpeg_lossless.register()
    syntax = original.file_meta.TransferSyntaxUID
    try:
        if syntax.is_compressed and syntax.is_encapsulated:
            original.decompress(generate_instance_uid=False)
        elif not syntax.is_little_endian and original.BitsAllocated == 16:
            original.PixelData = np.frombuffer(original.PixelData, ">u2").astype("<u2").tobytes()
    # Decoders raise many kinds of errors; each means that these pixels cannot be looked into.
    except Exception as error:
        raise NotDeidentifiableError("its pixels cannot be unpacked", where="image", hint=type(error).__name__) from error
    if len(original.PixelData) < get_expected_length(original):
        raise NotDeidentifiableError("its pixels are cut off", where="image", hint="left out")


def _overlay_groups(original: Dataset) -> set[int]:
    return {tag.group for tag in original.keys() if 0x6000 <= tag.group <= 0x60FF and not tag.is_private}  # noqa: SIM118 - no values are read


def _cleaned(original: Dataset, key: UidKey, removed: Removed, private_texts: frozenset[str]) -> Dataset:
    clean = Dataset()
    for tag in original.keys():  # noqa: SIM118 - a value that cannot be read must not end the loop
        keyword = "" if tag.is_private else keyword_for_tag(tag)
        if keyword not in KEPT | NEW_UIDS | SEQUENCES:
            if keyword not in _WRITTEN_ANEW:
                removed.note(tag, keyword)
            continue
        try:
            element = original[tag]
            taken = _taken_over(element, keyword, key, removed, private_texts)
        # Headers that break the standard raise many kinds of errors.
        except (NotDeidentifiableError, MemoryError):
            raise
        except Exception as error:
            if keyword in ESSENTIAL:
                raise NotDeidentifiableError(f"its {keyword} breaks the standard", where="image", hint="left out") from error
            taken = None
        if taken is None:
            removed.note(tag, keyword)
        else:
            clean.add(taken)
    return clean


def _taken_over(element: DataElement, keyword: str, key: UidKey, removed: Removed, private_texts: frozenset[str]) -> DataElement | None:
    """The element as it may stay; None where somebody has written about the patient where a scanner's word belongs."""
    if keyword in SEQUENCES:
        return DataElement(element.tag, "SQ", [_cleaned(item, key, removed, private_texts) for item in element.value or []])
    if keyword in NEW_UIDS:
        return DataElement(element.tag, "UI", key.uid(str(element.value)))
    text = str(element.value).casefold() if element.VR in _TEXTS | {"IS"} else ""
    if text in private_texts or (element.VR in _TEXTS and any(private in text for private in private_texts)):
        return None
    return DataElement(element.tag, element.VR, element.value)


_WRITTEN_ANEW = frozenset({*EMPTIED, "PatientName", "PatientID", "PatientAge", "ContrastBolusAgent", "SpecificCharacterSet"})


def _secrets_of(original: Dataset) -> frozenset[str]:
    """Words of the patient module, of names of people and of the accession number, in small letters."""
    found: set[str] = set()
    for tag in original.keys():  # noqa: SIM118
        try:
            element = original[tag]
        except Exception:  # noqa: S112 - what cannot be read is not taken over either
            continue
        if (tag.group == _PATIENT_GROUP and element.VR in _TEXTS | {"DA"}) or element.VR == "PN" or element.keyword == "AccessionNumber":
            found.update(re.split(r"[\^=\\\s,]+", str(element.value).casefold()))
    return frozenset(word for word in found if len(word) >= _SHORTEST_SECRET)


def _contrast_agent(original: Dataset) -> str:
    """The contrast in our words: what was typed there may hold anything."""
    given = contrast_given(original)
    if given is None:
        return ""
    phase = contrast_of(original).phase
    return "none" if not given else "contrast" if phase == "unknown" else f"contrast {phase.replace('_', ' ')}"


def _say_so(clean: Dataset) -> None:
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = "Trabecula export: named elements kept, all others removed"
    clean.LongitudinalTemporalInformationModified = "REMOVED"
    clean.DeidentificationMethodCodeSequence = []
    for code, meaning in METHODS:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", meaning
        clean.DeidentificationMethodCodeSequence.append(item)
