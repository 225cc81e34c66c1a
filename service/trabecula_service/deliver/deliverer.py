"""Takes parcels from the outbox of one destination and hands them over."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from trabecula_service.deliver.port import Accepted, Destination, Item, Refused, Stored, Unavailable
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.outbox import Parcel, bring_forward, mark_delivered, mark_failed, mark_retry, mark_stored, take_parcel
from trabecula_service.ops.bucket import Bucket
from trabecula_service.ops.data_files import DataFiles
from trabecula_service.settings.deliver import DeliverSettings

_FEWEST_TRIES = 10
"""An object that could not be delivered is never given up before so many tries."""

log = structlog.get_logger("trabecula.deliver")


class Deliverer:
    """One per destination, so that a PACS that is down holds up no other."""

    def __init__(
        self,
        name: str,
        destination: Destination,
        settings: DeliverSettings,
        ledger: Ledger,
        *,
        data: Path,
        bucket: Bucket | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name, self._destination, self._settings, self._ledger, self._clock = name, destination, settings, ledger, clock
        self._files = DataFiles(data, bucket)

    def step(self) -> bool:
        """Hand over one parcel that is due; False if there is none."""
        with self._ledger.write() as connection:
            now = self._clock()
            bring_forward(connection, self._name, now, self._settings.retry_cap_seconds)
            parcel = take_parcel(connection, self._name, now)
        if parcel is None:
            return False
        outcome = self._hand_over(parcel)
        self._write_down(parcel, outcome)
        log.info(
            "delivery_tried",
            destination=self._name,
            document=parcel.document,
            study_id=parcel.study_id,
            version=parcel.version_number,
            attempt=parcel.attempts,
            outcome=type(outcome).__name__.lower(),
            note=outcome.note,
        )
        return True

    def _hand_over(self, parcel: Parcel) -> Accepted | Stored | Unavailable | Refused:
        try:
            path = self._files.local(parcel.path)
            intact = hashlib.sha256(path.read_bytes()).hexdigest() == parcel.sha256
        except OSError as error:
            return Unavailable(f"our copy cannot be read ({error.strerror or error})")
        if not intact:
            return Refused("our copy is damaged: its hash is not the ledger's")
        item = Item(path=path, document=parcel.document, study_id=parcel.study_id, version_number=parcel.version_number)
        return self._destination.deliver(item)

    def _write_down(self, parcel: Parcel, outcome: Accepted | Stored | Unavailable | Refused) -> None:
        now = self._clock()
        with self._ledger.write() as connection:
            if isinstance(outcome, Accepted):
                mark_delivered(connection, parcel, outcome.note, now)
            elif isinstance(outcome, Stored):
                if parcel.rejections >= self._settings.rejected_attempts:
                    note = f"the PACS took it again and again and never kept it ({parcel.rejections} times)"
                    mark_failed(connection, parcel, note, now)
                else:
                    mark_stored(connection, parcel, outcome.note, outcome.sop_class_uid, outcome.sop_instance_uid, now)
            elif self._is_hopeless(parcel, outcome, now):
                mark_failed(connection, parcel, outcome.note, now)
            else:
                wait = retry_wait_seconds(parcel.attempts, self._settings)
                mark_retry(connection, parcel, outcome.note, rejected=isinstance(outcome, Refused), available_at=now + wait)

    def _is_hopeless(self, parcel: Parcel, outcome: Unavailable | Refused, now: float) -> bool:
        # Not by the clock alone: one that jumps ahead by a month must not end what was tried once.
        too_long = now - parcel.created_at > self._settings.give_up_hours * 3600.0 and parcel.attempts >= _FEWEST_TRIES
        return too_long or (isinstance(outcome, Refused) and parcel.rejections + 1 >= self._settings.rejected_attempts)


def retry_wait_seconds(attempts: int, settings: DeliverSettings) -> float:
    """Wait after so many tries: doubling from ``retry_seconds`` up to the cap."""
    # The exponent is bounded because a week of tries would overflow a float.
    return float(min(settings.retry_cap_seconds, settings.retry_seconds * 2.0 ** min(attempts - 1, 30)))
