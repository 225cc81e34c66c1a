"""The audit trail as DICOM audit messages (PS3.15 A.5), for a site's audit repository."""

from datetime import UTC, datetime
from xml.etree import ElementTree

from trabecula_service.security.audit import AuditEntry

_EVENTS = {
    # action: (event id, its meaning, event type, its meaning, action code), PS3.16 CID 400 and 401
    "login": ("110114", "User Authentication", "110122", "Login", "E"),
    "logout": ("110114", "User Authentication", "110123", "Logout", "E"),
    "read": ("110103", "DICOM Instances Accessed", "", "", "R"),
    "change": ("110103", "DICOM Instances Accessed", "", "", "U"),
    "export": ("110106", "Export", "", "", "R"),
    "delete": ("110105", "DICOM Study Deleted", "", "", "D"),
    "import": ("110107", "Import", "", "", "C"),
    "key": ("110113", "Security Alert", "110137", "User Security Attributes Changed", "U"),
    "refused": ("110113", "Security Alert", "110126", "Node Authentication", "E"),
}
_OTHER = ("110100", "Application Activity", "", "", "E")
_SUCCESS, _MINOR_FAILURE = "0", "4"


def audit_message(entry: AuditEntry) -> str:
    """One line of the trail as one ``AuditMessage``."""
    event_id, event_text, type_id, type_text, action_code = _EVENTS.get(entry.action, _OTHER)
    message = ElementTree.Element("AuditMessage")
    event = ElementTree.SubElement(
        message,
        "EventIdentification",
        EventActionCode=action_code,
        EventDateTime=datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=_SUCCESS if entry.outcome == "ok" else _MINOR_FAILURE,
    )
    _code(event, "EventID", event_id, event_text)
    if type_id:
        _code(event, "EventTypeCode", type_id, type_text)
    who = ElementTree.SubElement(message, "ActiveParticipant", UserID=entry.actor or "unknown", UserIsRequestor="true")
    if entry.address:
        who.set("NetworkAccessPointID", entry.address)
        who.set("NetworkAccessPointTypeCode", "2")
    ElementTree.SubElement(message, "AuditSourceIdentification", AuditSourceID="Trabecula")
    if entry.study_id:
        # Type 2 "system object", role 3 "report": our own id of the study, which says nothing of the patient outside of this system.
        study = ElementTree.SubElement(
            message,
            "ParticipantObjectIdentification",
            ParticipantObjectID=entry.study_id,
            ParticipantObjectTypeCode="2",
            ParticipantObjectTypeCodeRole="3",
        )
        _code(study, "ParticipantObjectIDTypeCode", "12", "URI", system="RFC-3881")
    return ElementTree.tostring(message, encoding="unicode")


def _code(parent: ElementTree.Element, tag: str, value: str, text: str, *, system: str = "DCM") -> None:
    ElementTree.SubElement(parent, tag, {"csd-code": value, "codeSystemName": system, "originalText": text})
