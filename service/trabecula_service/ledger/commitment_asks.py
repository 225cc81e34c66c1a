"""Documents that a destination has taken and not yet promised to keep: when it was asked, and what it answered."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from trabecula_service.ledger.outbox import close_version
from trabecula_service.ledger.schema import commitment_asks, deliveries

_AT_ONCE = 100
_OUT_OF_RESOURCES = 0x0213
_FIRST_SENT_AGAIN_SECONDS, _LONGEST_SENT_AGAIN_SECONDS = 1.0, 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconfirmed:
    """One document that was taken; ``asks`` counts this time too."""

    delivery_id: int
    version_id: int
    sop_class_uid: str
    sop_instance_uid: str
    asks: int
    rejections: int
    created_at: float


def take_unconfirmed(
    connection: Connection,
    destination: str,
    transaction_uid: str,
    now: float,
    *,
    first_wait_seconds: float,
    longest_wait_seconds: float,
) -> list[Unconfirmed]:
    """What this destination is to be asked about now, entered under the transaction; each waits longer for the next time."""
    stored = (deliveries.c.destination == destination) & (deliveries.c.state == "stored")
    # A clock that was set back would leave it waiting for as long as it went back.
    too_far = deliveries.c.available_at > now + 2.0 * longest_wait_seconds
    connection.execute(update(deliveries).where(stored, too_far).values(available_at=now))
    due = select(deliveries).where(stored, deliveries.c.available_at <= now)
    rows = connection.execute(due.order_by(deliveries.c.available_at, deliveries.c.id).limit(_AT_ONCE)).all()
    for row in rows:
        wait = min(first_wait_seconds * 2.0 ** min(row.asks, 30), longest_wait_seconds)
        connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(asks=row.asks + 1, available_at=now + wait))
    if rows:
        connection.execute(
            insert(commitment_asks), [{"transaction_uid": transaction_uid, "delivery_id": row.id, "asked_at": now} for row in rows]
        )
    return [
        Unconfirmed(
            delivery_id=row.id,
            version_id=row.version_id,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            asks=row.asks + 1,
            rejections=row.rejections,
            created_at=row.created_at,
        )
        for row in rows
    ]


def note_answer(connection: Connection, parcels: Sequence[Unconfirmed], note: str, *, refused: bool) -> None:
    """The destination was asked and has not reported yet."""
    mine = deliveries.c.id.in_([parcel.delivery_id for parcel in parcels])
    values = {"note": note, "rejections": deliveries.c.rejections + (1 if refused else 0)}
    connection.execute(update(deliveries).where(mine, deliveries.c.state == "stored").values(**values))


def fail_unconfirmed(connection: Connection, parcels: Sequence[Unconfirmed], note: str, now: float) -> None:
    """A person is asked: the documents were taken, and nobody says that they are kept."""
    for parcel in parcels:
        this = (deliveries.c.id == parcel.delivery_id) & (deliveries.c.state == "stored")
        connection.execute(update(deliveries).where(this).values(state="failed", note=note))
        close_version(connection, parcel.version_id, now)


def take_report(connection: Connection, transaction_uid: str, kept: Collection[str], failed: Mapping[str, int], now: float) -> int:
    """Enter what a destination reported: what it keeps is delivered, what it does not keep is sent again. How many documents it is about.

    A report counts for the request that it names, also one that was followed by others meanwhile.
    """
    rows = connection.execute(
        select(deliveries.c.id, deliveries.c.version_id, deliveries.c.state, deliveries.c.rejections, deliveries.c.sop_instance_uid)
        .join(commitment_asks, commitment_asks.c.delivery_id == deliveries.c.id)
        .where(commitment_asks.c.transaction_uid == transaction_uid)
        .order_by(deliveries.c.id)
    ).all()
    for row in rows:
        this = deliveries.c.id == row.id
        if row.sop_instance_uid in kept and row.state in ("stored", "pending", "sending"):
            note = "stored, and the PACS has promised to keep it"
            connection.execute(update(deliveries).where(this).values(state="delivered", note=note, delivered_at=now))
            close_version(connection, row.version_id, now)
        elif row.sop_instance_uid in failed and row.state == "stored":
            reason = failed[row.sop_instance_uid]
            rejections = row.rejections + (0 if reason == _OUT_OF_RESOURCES else 1)
            wait = min(_FIRST_SENT_AGAIN_SECONDS * 2.0 ** min(rejections, 30), _LONGEST_SENT_AGAIN_SECONDS)
            note = f"the PACS took it but does not keep it (0x{reason:04X}); it is sent again"
            connection.execute(
                update(deliveries).where(this).values(state="pending", note=note, rejections=rejections, available_at=now + wait)
            )
    return len(rows)
