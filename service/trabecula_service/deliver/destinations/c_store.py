"""A PACS that takes objects by C-STORE."""

from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config, build_context
from pynetdicom.association import Association

from trabecula_service.deliver.port import Accepted, Item, Refused, Stored, Unavailable
from trabecula_service.requestor import associate
from trabecula_service.settings.deliver import CStoreDestination

_SUCCESS = 0x0000
_DUPLICATE = 0x0111
"""PS3.7 annex C: the object is there already. One UID never has two contents here, so it is the one we send."""
_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_STORED_WITH_WARNING = range(0xB000, 0xC000)


class CStore:
    """Sends the stored bytes as they are: no decoding, no change of transfer syntax."""

    def __init__(self, settings: CStoreDestination) -> None:
        self._settings = settings
        # The bytes of the file go out as they lie on the disk.
        _config.STORE_SEND_CHUNKED_DATASET = True

    def deliver(self, item: Item) -> Accepted | Stored | Unavailable | Refused:
        """One association, one object, one answer."""
        meta = read_file_meta_info(item.path)
        association = self._associate(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
        if association.is_rejected:
            return Unavailable("the PACS rejects the association; are our AE title and address known to it?")
        if association.rejected_contexts:
            return Refused(f"the PACS does not take objects of this kind ({meta.MediaStorageSOPClassUID.name})")
        if not association.is_established:
            return Unavailable("the PACS does not answer")
        try:
            status = association.send_c_store(item.path)
        # pynetdicom raises on a connection that breaks while sending.
        except (RuntimeError, ValueError, OSError) as error:
            return Unavailable(f"the association broke ({type(error).__name__})")
        finally:
            if association.is_established:
                association.release()
        outcome = outcome_of(status.get("Status"))
        if self._settings.commitment and isinstance(outcome, Accepted):
            return Stored(outcome.note, str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID))
        return outcome

    def _associate(self, sop_class_uid: str, transfer_syntax_uid: str) -> Association:
        ae = AE(ae_title=self._settings.calling_ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = self._settings.timeout_seconds
        contexts = [build_context(sop_class_uid, transfer_syntax_uid)]
        return associate(ae, self._settings.host, self._settings.port, contexts=contexts, ae_title=self._settings.ae_title)


def outcome_of(status: int | None) -> Accepted | Unavailable | Refused:
    """What a C-STORE status means (PS3.4 table B.2-1, PS3.7 annex C); no status is no answer, and never a success."""
    if status is None:
        return Unavailable("the PACS gave no answer to the object")
    text = f"0x{status:04X}"
    if status == _SUCCESS:
        return Accepted(f"stored ({text})")
    if status == _DUPLICATE:
        return Accepted(f"was there already ({text})")
    if status in _WARNINGS or status in _STORED_WITH_WARNING:
        return Accepted(f"stored with a warning ({text})")
    if status in _OUT_OF_RESOURCES:
        return Unavailable(f"the PACS is out of resources ({text})")
    return Refused(f"the PACS refuses the object ({text})")
