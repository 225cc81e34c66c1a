"""Who goes first: studies of callers that send what is urgent, then all others, then those fetched from an archive."""

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from trabecula_service.ledger.backfill import is_backfilled
from trabecula_service.ledger.schema import associations, instances, studies, versions
from trabecula_service.queue.port import Priority
from trabecula_service.receive.callers import CallerList


class PriorityRule:
    """Decides the priority of a study when its analysis is asked for, unless a person has said it.

    Parameters
    ----------
    stat_callers : in the form of ``receive.allowed_callers``.
    """

    def __init__(self, stat_callers: Sequence[str] = ()) -> None:
        self._stat = CallerList(tuple(stat_callers)) if stat_callers else None

    def __call__(self, connection: Connection, version_id: int) -> int:
        """The priority of the study that a version belongs to; entered with the study."""
        query = select(studies.c.id, studies.c.priority, studies.c.study_instance_uid).join(versions, versions.c.study_id == studies.c.id)
        study = connection.execute(query.where(versions.c.id == version_id)).one()
        if study.priority != Priority.ROUTINE:
            return int(study.priority)
        priority = Priority.ROUTINE
        if self._sent_urgently(connection, study.id):
            priority = Priority.STAT
        elif is_backfilled(connection, study.study_instance_uid):
            priority = Priority.BACKFILL
        if priority is not Priority.ROUTINE:
            connection.execute(update(studies).where(studies.c.id == study.id).values(priority=priority))
        return int(priority)

    def _sent_urgently(self, connection: Connection, study_id: str) -> bool:
        if self._stat is None:
            return False
        query = (
            select(associations.c.calling_ae_title, associations.c.address)
            .join(instances, instances.c.association_id == associations.c.id)
            .where(instances.c.study_id == study_id)
            .distinct()
        )
        return any(self._allows(row.calling_ae_title, row.address) for row in connection.execute(query))

    def _allows(self, title: str, address: str) -> bool:
        try:
            return self._stat is not None and self._stat.allows(title, address)
        except ValueError:
            return False
