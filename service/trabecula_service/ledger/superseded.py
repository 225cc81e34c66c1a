"""What earlier versions of a study sent out, for the note that takes it back."""

from sqlalchemy import Connection, select

from trabecula_service.ledger.schema import deliveries, documents, versions

NOTE_NAME = "rejection.ko.dcm"


def posted_dicom_paths(connection: Connection, study_id: str, before_version: int) -> list[str]:
    """Paths, below the data folder, of the DICOM documents of earlier versions that a destination was to get, in their order.

    Whether each arrived is not asked: one whose answer was lost may be there all the same, and the list stays what it is however often
    the version is made. Earlier notes are left out.
    """
    posted = select(deliveries.c.document_id)
    found = connection.execute(
        select(documents.c.path)
        .join(versions, versions.c.id == documents.c.version_id)
        .where(
            versions.c.study_id == study_id,
            versions.c.number < before_version,
            documents.c.name.like("%.dcm"),
            documents.c.name != NOTE_NAME,
            documents.c.id.in_(posted),
        )
        .order_by(versions.c.number, documents.c.name)
    )
    return [str(path) for path in found.scalars()]
