"""An archive that answers C-FIND and C-MOVE: it sends to our listener itself, so it must know our AE title and address."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelMove

from trabecula_service.backfill.port import ArchiveError, Fetched, NotFetched
from trabecula_service.requestor import associate
from trabecula_service.settings.backfill import BackfillSettings

_SUCCESS, _WARNING = 0x0000, 0xB000
_PENDING = (0xFF00, 0xFF01)
_MOVE_DESTINATION_UNKNOWN = 0xA801


class DimseArchive:
    """``Archive`` by C-FIND and C-MOVE.

    Parameters
    ----------
    destination : our AE title, as the archive knows it.
    """

    def __init__(self, settings: BackfillSettings, *, destination: str) -> None:
        self._settings, self._destination = settings, destination

    def find(self, day: date) -> list[str]:
        """Study Instance UIDs of the CT studies of one day."""
        query = Dataset()
        query.QueryRetrieveLevel, query.StudyDate, query.ModalitiesInStudy = "STUDY", day.strftime("%Y%m%d"), "CT"
        query.StudyInstanceUID = ""
        found = []
        with self._association() as association:
            for status, answer in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
                code = status.get("Status")
                if code not in (_SUCCESS, *_PENDING):
                    text = "no answer" if code is None else f"status 0x{code:04X}"
                    raise ArchiveError(f"the archive does not search ({text})", where=day.isoformat(), hint="look at its log")
                # Some archives leave the modality out of the search and give all studies of the day.
                if code in _PENDING and answer is not None and "CT" in _values(answer, "ModalitiesInStudy", missing="CT"):
                    found.append(str(answer.StudyInstanceUID))
        return list(dict.fromkeys(found))

    def fetch(self, study_instance_uid: str) -> Fetched | NotFetched:
        """Have one study sent to our listener."""
        query = Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_instance_uid
        last = Dataset()
        try:
            with self._association() as association:
                for status, _ in association.send_c_move(query, self._destination, StudyRootQueryRetrieveInformationModelMove):
                    last = status
        except ArchiveError as error:
            return NotFetched(error.what)
        code = last.get("Status")
        done, failed = int(last.get("NumberOfCompletedSuboperations", 0)), int(last.get("NumberOfFailedSuboperations", 0))
        done += int(last.get("NumberOfWarningSuboperations", 0))
        if code in (_SUCCESS, _WARNING) and failed == 0:
            return Fetched(done) if done else NotFetched("the archive sent nothing")
        if code == _MOVE_DESTINATION_UNKNOWN:
            return NotFetched(f'the archive does not know the AE title "{self._destination}"')
        text = "the connection broke" if code is None else f"status 0x{code:04X}, {done} objects sent, {failed} not"
        return NotFetched(f"the archive did not send all of it ({text})")

    @contextmanager
    def _association(self) -> Iterator[Any]:
        settings = self._settings
        entity = AE(ae_title=settings.calling_ae_title)
        entity.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
        entity.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = settings.timeout_seconds
        association = associate(entity, settings.host, settings.port, ae_title=settings.ae_title)
        where = f"backfill.host, backfill.port = {settings.host}:{settings.port}"
        if not association.is_established:
            hint = f'does it know "{settings.calling_ae_title}" as a caller, and itself as "{settings.ae_title}"?'
            raise ArchiveError("the archive does not answer, or refuses us", where=where, hint=hint)
        try:
            if not association.accepted_contexts:
                raise ArchiveError("the archive has neither C-FIND nor C-MOVE for us", where=where, hint="look at its log")
            yield association
        except ValueError as error:
            raise ArchiveError("the archive does not offer what is needed", where=where, hint=str(error)) from error
        finally:
            association.release()


def _values(answer: Dataset, keyword: str, *, missing: str) -> list[str]:
    value = answer.get(keyword)
    if value is None or value == "":
        return [missing]
    return [value] if isinstance(value, str) else [str(part) for part in value]
