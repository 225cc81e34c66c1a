"""Results of earlier studies of the same patient, for the trend of a report."""

from sqlalchemy import Connection, select

from trabecula_service.ledger.schema import studies, versions
from trabecula_service.ledger.states import State
from trabecula_service.result import Result

MOST_STUDIES = 20
"""The latest of a patient; a report shows fewer."""

_FINISHED = (State.MEASURED, State.DELIVERING, State.DONE)


def prior_results(connection: Connection, study_id: str) -> tuple[Result, ...]:
    """The latest version of each other study of a study's patient that gave a result, the newest first.

    A study without a patient ID has no earlier ones: every nameless patient would be the same.
    """
    own = connection.execute(select(studies.c.patient_key, studies.c.patient_id).where(studies.c.id == study_id)).one()
    if not own.patient_id:
        return ()
    rows = connection.execute(
        select(versions.c.result_json)
        .join(studies, (versions.c.study_id == studies.c.id) & (versions.c.number == studies.c.latest_version))
        .where(
            studies.c.patient_key == own.patient_key,
            studies.c.id != study_id,
            versions.c.state.in_(_FINISHED),
            versions.c.result_json.is_not(None),
        )
        .order_by(studies.c.study_date.desc(), studies.c.id)
        .limit(MOST_STUDIES)
    ).scalars()
    return tuple(Result.from_json(text) for text in rows)
