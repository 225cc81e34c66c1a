"""The outbox: one row per document and destination, each with its own fate."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from trabecula_service.ledger.queries import tally
from trabecula_service.ledger.schema import deliveries, documents, versions
from trabecula_service.ledger.states import State, move

_ACTOR = "deliver"
_NUMBER_OF_SERIES = re.compile(r"-\d+(?=\.)")
_TO_SEND = ("pending", "sending")
ON_THEIR_WAY = (*_TO_SEND, "stored")
"""States of a parcel that has not ended; "stored" was taken by a destination that has not promised yet to keep it."""
SENDING_SECONDS = 600.0
"""A parcel that is on its way for so long belongs to a deliverer that is gone; it is sent again, the same bytes under the same UID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One document on its way to one destination."""

    delivery_id: int
    version_id: int
    study_id: str
    version_number: int
    destination: str
    document: str
    path: str
    sha256: str
    attempts: int
    rejections: int
    created_at: float


def kind_of_document(name: str) -> str:
    """The name by which settings ask for a document: ``segmentation-2.seg.dcm``, of the second series, is a ``segmentation.seg.dcm``."""
    return _NUMBER_OF_SERIES.sub("", name)


def post(connection: Connection, version_id: int, recipients: Mapping[str, Sequence[str]], now: float) -> int:
    """Put the documents of a version into the outbox of each destination that wants them; how many parcels that makes."""
    rows = connection.execute(select(documents.c.id, documents.c.name).where(documents.c.version_id == version_id)).all()
    parcels = [
        {"document_id": row.id, "version_id": version_id, "destination": name, "state": "pending", "created_at": now, "available_at": now}
        for name, wanted in recipients.items()
        for row in rows
        if kind_of_document(row.name) in wanted
    ]
    if parcels:
        connection.execute(insert(deliveries), parcels)
    return len(parcels)


def bring_forward(connection: Connection, destination: str, now: float, longest_wait_seconds: float) -> None:
    """Make due what no wait can explain: a clock that was set back since would leave it waiting for as long as it went back."""
    waiting = (deliveries.c.destination == destination) & deliveries.c.state.in_(_TO_SEND)
    limit = now + 2.0 * max(longest_wait_seconds, SENDING_SECONDS)
    connection.execute(update(deliveries).where(waiting, deliveries.c.available_at > limit).values(available_at=now))


def take_parcel(connection: Connection, destination: str, now: float) -> Parcel | None:
    """The next parcel that is due for this destination, marked as being sent and counted as an attempt."""
    row = connection.execute(
        select(
            deliveries.c.id,
            deliveries.c.version_id,
            deliveries.c.attempts,
            deliveries.c.rejections,
            deliveries.c.created_at,
            documents.c.name,
            documents.c.path,
            documents.c.sha256,
            versions.c.number,
            versions.c.study_id,
        )
        .join(documents, documents.c.id == deliveries.c.document_id)
        .join(versions, versions.c.id == deliveries.c.version_id)
        .where(deliveries.c.destination == destination, deliveries.c.state.in_(_TO_SEND), deliveries.c.available_at <= now)
        .order_by(deliveries.c.available_at, deliveries.c.id)
        .limit(1)
    ).first()
    if row is None:
        return None
    values = {"state": "sending", "attempts": row.attempts + 1, "available_at": now + SENDING_SECONDS}
    connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(**values))
    return Parcel(
        delivery_id=row.id,
        version_id=row.version_id,
        study_id=row.study_id,
        version_number=row.number,
        destination=destination,
        document=row.name,
        path=row.path,
        sha256=row.sha256,
        attempts=row.attempts + 1,
        rejections=row.rejections,
        created_at=row.created_at,
    )


def mark_delivered(connection: Connection, parcel: Parcel, note: str, now: float) -> None:
    """The destination has said that it keeps the document; the version is done when all have."""
    connection.execute(
        update(deliveries).where(deliveries.c.id == parcel.delivery_id).values(state="delivered", note=note, delivered_at=now)
    )
    close_version(connection, parcel.version_id, now)


def mark_stored(connection: Connection, parcel: Parcel, note: str, sop_class_uid: str, sop_instance_uid: str, now: float) -> None:
    """The destination has taken the document; it is delivered when it has promised to keep it."""
    values = {"state": "stored", "note": note, "available_at": now, "sop_class_uid": sop_class_uid, "sop_instance_uid": sop_instance_uid}
    connection.execute(update(deliveries).where(deliveries.c.id == parcel.delivery_id, deliveries.c.state == "sending").values(**values))


def mark_retry(connection: Connection, parcel: Parcel, note: str, *, rejected: bool, available_at: float) -> None:
    """The document was not taken; it is tried again later. A parcel that was cancelled meanwhile stays so."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == parcel.delivery_id, deliveries.c.state == "sending")
        .values(state="pending", note=note, available_at=available_at, rejections=parcel.rejections + (1 if rejected else 0))
    )


def mark_failed(connection: Connection, parcel: Parcel, note: str, now: float) -> None:
    """The document is given up; a person is asked."""
    connection.execute(
        update(deliveries).where(deliveries.c.id == parcel.delivery_id, deliveries.c.state == "sending").values(state="failed", note=note)
    )
    close_version(connection, parcel.version_id, now)


def close_version(connection: Connection, version_id: int, now: float) -> None:
    """End a version whose parcels have all ended: done if each was delivered, failed otherwise."""
    state = connection.execute(select(versions.c.state).where(versions.c.id == version_id)).scalar_one()
    if state != State.DELIVERING:
        return
    rows = connection.execute(
        select(deliveries.c.state, func.count()).where(deliveries.c.version_id == version_id).group_by(deliveries.c.state)
    )
    counts = {str(row[0]): int(row[1]) for row in rows}
    if any(counts.get(state, 0) for state in ON_THEIR_WAY):
        return
    if counts.get("failed", 0):
        row = connection.execute(
            select(deliveries.c.destination, documents.c.name, deliveries.c.note)
            .join(documents, documents.c.id == deliveries.c.document_id)
            .where(deliveries.c.version_id == version_id, deliveries.c.state == "failed")
            .limit(1)
        ).one()
        reason = f"{counts['failed']} of {sum(counts.values())} documents were not delivered; {row.name} to {row.destination}: {row.note}"
        move(connection, version_id, State.FAILED, reason=reason, actor=_ACTOR, now=now)
    else:
        reason = f"all {counts.get('delivered', 0)} documents delivered and confirmed"
        move(connection, version_id, State.DONE, reason=reason, actor=_ACTOR, now=now)


def cancel_deliveries(connection: Connection, version_id: int, reason: str) -> None:
    """Take the open parcels of a version back."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.version_id == version_id, deliveries.c.state.in_(ON_THEIR_WAY))
        .values(state="cancelled", note=reason)
    )


def repost_failed(connection: Connection, version_id: int, now: float) -> int:
    """Try the given-up parcels of a version again; how many there are."""
    changed = connection.execute(
        update(deliveries)
        .where(deliveries.c.version_id == version_id, deliveries.c.state == "failed")
        .values(state="pending", attempts=0, rejections=0, asks=0, created_at=now, available_at=now)
    )
    return changed.rowcount


def recover_parcels(
    connection: Connection, configured: Sequence[str], now: float, *, confirming: Sequence[str] = (), alone: bool = True
) -> int:
    """At the start: what was being sent when the service stopped is sent again; what has no destination any more fails by name.

    The receiver may get an object twice that way: the same bytes under the same UID, which a PACS stores once.

    Parameters
    ----------
    confirming : destinations that are asked whether they keep what they took. What another one took counts as delivered.
    alone : no other deliverer is at work. With others about, what they are sending is left alone until ``SENDING_SECONDS`` are over.
    """
    again = update(deliveries).where(deliveries.c.state == "sending").values(state="pending", available_at=now)
    interrupted = connection.execute(again).rowcount if alone else 0
    orphans = connection.execute(
        select(deliveries.c.id, deliveries.c.version_id, deliveries.c.destination).where(
            deliveries.c.state == "pending", deliveries.c.destination.not_in(list(configured))
        )
    ).all()
    for orphan in orphans:
        note = f'the destination "{orphan.destination}" is no longer in the settings'
        connection.execute(update(deliveries).where(deliveries.c.id == orphan.id).values(state="failed", note=note))
        close_version(connection, orphan.version_id, now)
    unasked = connection.execute(
        select(deliveries.c.id, deliveries.c.version_id).where(
            deliveries.c.state == "stored", deliveries.c.destination.not_in(list(confirming))
        )
    ).all()
    for parcel in unasked:
        values = {"state": "delivered", "note": "stored; by the settings no commitment is asked for any more", "delivered_at": now}
        connection.execute(update(deliveries).where(deliveries.c.id == parcel.id).values(**values))
        close_version(connection, parcel.version_id, now)
    return interrupted


def outbox_counts(connection: Connection) -> dict[tuple[str, str], int]:
    """Number of parcels by destination and state."""
    counted = {tuple(name.split(" ", 1)): count for name, count in tally(connection, "parcel").items() if count}
    return {(destination, state): count for (state, destination), count in counted.items()}
