"""Deterministic UIDs: the same content has the same UID, another content another one (design decision 10)."""

import hashlib
from uuid import UUID, uuid5

from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.shared_parts import once_per_input

_NAMESPACE = UUID("6f0f7d4c-3d0e-5f7b-9a55-0c9d1b3f5a21")
"""Our own name space for version 5 UUIDs; never to be changed."""

IMPLEMENTATION_CLASS_UID = "2.25.148023370418284137193925230337712041121"
"""Names this writer in the file meta information (PS3.7 D.3.3.2)."""

DEVICE_UID = "2.25.210412239463021934312983475098237501932"
"""Names the algorithm as an observer of measurements (TID 1004)."""


def uid_of(*parts: str) -> str:
    """A UID under 2.25 (PS3.5 B.2) that depends on nothing but the parts."""
    return f"2.25.{uuid5(_NAMESPACE, '|'.join(parts)).int}"


def derived_uid(document_input: DocumentInput, kind: str) -> str:
    """UID of a derived series, object or tracked thing of this result version.

    It depends on the input series, the hash of its content, the version of the result and of the software, the kind, and also on the
    numbers of the result and the time the documents carry: two different contents never share a UID, even when a result was
    computed again under one version number (say, with another calibration on the command line).
    """
    result = document_input.result
    return uid_of(
        kind,
        result.source.series_instance_uid or "",
        result.source.content_sha256 or "",
        str(document_input.version),
        result.software.version,
        document_input.created.isoformat(),
        document_input.language,
        _content_hash(document_input),
    )


@once_per_input
def _content_hash(document_input: DocumentInput) -> str:
    # How long the stages took stands in no document, so it must not change their names.
    return hashlib.sha256(document_input.result.model_copy(update={"timing_s": {}}).to_json().encode()).hexdigest()


def frame_of_reference_uid(series_instance_uid: str, given: str | None) -> str:
    """The frame of reference of the input, or one that stands for it where the header has none.

    A segmentation must name a frame of reference (type 1). Without one in the images, positions are only comparable inside their
    own series, which is just what a UID derived from the series says; it is the same for every version of the result.
    """
    return given or uid_of("frame-of-reference", series_instance_uid)


def tracking_uid(study_instance_uid: str, series_instance_uid: str, name: str) -> str:
    """UID of one tracked vertebra: the same in every version of the result of one series, so that versions can be compared."""
    return uid_of("tracking", study_instance_uid, series_instance_uid, name)
