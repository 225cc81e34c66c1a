"""A ledger in a temporary folder, and objects entered into it without a network."""

import hashlib
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import encode
from sqlalchemy import select

from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.schema import versions
from trabecula_service.receive.header import read_header
from trabecula_service.receive.intake import Intake, StoredObject, record_object


def enter(ledger: Ledger, dataset: Dataset, now: float, *, association_id: int | None = None) -> Intake:
    """Enter one object as the listener would after storing it."""
    encoded = encode(dataset, False, True) or b""
    stored = StoredObject(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        sha256=hashlib.sha256(encoded).hexdigest(),
        size_bytes=len(encoded),
        association_id=association_id,
    )
    with ledger.write() as connection:
        return record_object(connection, stored, read_header(encoded, ExplicitVRLittleEndian), now)


def states_of(ledger: Ledger) -> list[tuple[int, str]]:
    """Number and state of each version, in the order in which they were made."""
    with ledger.read() as connection:
        rows = connection.execute(select(versions.c.number, versions.c.state).order_by(versions.c.id))
        return [(row.number, row.state) for row in rows]


def keep_object(folder: Path, intake_hash: str) -> Path:
    """An empty file where the object with this hash would lie."""
    path = folder / intake_hash[:2] / f"{intake_hash}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path
