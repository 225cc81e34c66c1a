"""Earlier studies of a patient are found by the patient's identifier, and never by its absence."""

from sqlalchemy import select, update

from builders.ledger import enter
from builders.small_ct import small_ct
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.priors import prior_results
from trabecula_service.ledger.schema import studies, versions
from trabecula_service.result import Result, Software, Source


def finished(ledger: Ledger, study_uid: str, patient_id: str, *, state: str = "done") -> str:
    """A study with a result; its id."""
    (image,) = small_ct(slices=1, study_uid=study_uid, PatientID=patient_id)
    enter(ledger, image, 1.0)
    result = Result(
        status="partial",
        software=Software(version="t", backend="t", weights_sha256=""),
        source=Source(study_instance_uid=study_uid, series_instance_uid="1", file_count=1, matrix=(8, 8, 1), spacing_mm=(1, 1, 1)),
    )
    with ledger.write() as connection:
        study_id = connection.execute(select(studies.c.id).where(studies.c.study_instance_uid == study_uid)).scalar_one()
        connection.execute(update(versions).where(versions.c.study_id == study_id).values(result_json=result.to_json(), state=state))
    return str(study_id)


def uids(ledger: Ledger, study_id: str) -> set[str | None]:
    with ledger.read() as connection:
        return {result.source.study_instance_uid for result in prior_results(connection, study_id)}


def test_other_studies_of_the_same_patient_with_a_result(ledger: Ledger) -> None:
    own = finished(ledger, "1.2.1", "P1")
    finished(ledger, "1.2.2", "P1")
    finished(ledger, "1.2.3", "P2")
    finished(ledger, "1.2.4", "P1", state="failed")
    assert uids(ledger, own) == {"1.2.2"}


def test_patients_without_an_identifier_share_nothing(ledger: Ledger) -> None:
    own = finished(ledger, "1.2.1", "")
    finished(ledger, "1.2.2", "")
    assert uids(ledger, own) == set()
