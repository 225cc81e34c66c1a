"""Where results go, and when received images are deleted."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, HttpUrl

from trabecula_service.settings.section import AeTitle, Seconds, Section


class CStoreDestination(Section):
    """A PACS that takes the documents by C-STORE."""

    kind: Literal["c-store"]
    """Always "c-store"."""
    host: str
    """Name or address of the PACS."""
    port: Annotated[int, Field(ge=1, le=65535)]
    """TCP port of the PACS."""
    ae_title: AeTitle
    """AE title of the PACS."""
    calling_ae_title: AeTitle = "TRABECULA"
    """Our AE title towards this PACS."""
    timeout_seconds: Seconds = 30.0
    """Longest wait for any answer of the PACS, seconds."""
    commitment: bool = False
    """Whether the PACS is asked for storage commitment: a document then counts as delivered only when it has promised to keep it, and is
    sent again if it says that it does not. The report comes to our listener: `calling_ae_title` must be `receive.ae_title`, and the PACS
    one of `receive.allowed_callers`, unless it reports on the association of the request."""
    commitment_seconds: Seconds = 300.0
    """So long the report is waited for before the PACS is asked again, seconds; it doubles up to `deliver.retry_cap_seconds`, if that is
    longer."""
    documents: tuple[str, ...] = ("report.sr.dcm", "segmentation.seg.dcm", "report.pdf.dcm", "capture.sc.dcm")
    """Documents that this PACS gets."""


class FolderDestination(Section):
    """A folder that gets a copy of the documents, one folder per study version."""

    kind: Literal["folder"]
    """Always "folder"."""
    path: Path
    """The folder; it must exist, so that a share that is not mounted is noticed."""
    documents: tuple[str, ...] = ("result.json", "report.pdf", "report.sr.dcm", "segmentation.seg.dcm", "report.pdf.dcm", "capture.sc.dcm")
    """Documents that this folder gets."""


class MllpDestination(Section):
    """A hospital information system or integration engine that takes HL7 v2 messages by MLLP."""

    kind: Literal["mllp"]
    """Always "mllp"."""
    host: str
    """Name or address of the receiver."""
    port: Annotated[int, Field(ge=1, le=65535)]
    """TCP port of the receiver."""
    tls: bool = False
    """Whether the connection is encrypted. Off, because few receivers offer it; without it only inside a protected network."""
    ca_file: Path | None = None
    """Certificates (PEM) that the receiver's certificate is checked against; those of the system by default."""
    timeout_seconds: Seconds = 30.0
    """Longest wait for any answer, seconds."""
    documents: tuple[str, ...] = ("report.oru.hl7",)
    """Documents that are sent: "report.oru.hl7" (numbers and sentences) or "report-pdf.oru.hl7" (the same with the PDF), not both."""


class _HttpDestination(Section):
    ca_file: Path | None = None
    """Certificates (PEM) that the server's certificate is checked against; those of the system by default."""
    bearer_token_file: Path | None = None
    """File with a token that is sent as "Authorization: Bearer"; read again for each try, so that it can be renewed."""
    timeout_seconds: Seconds = 60.0
    """Longest wait for any answer, seconds."""


class FhirDestination(_HttpDestination):
    """A FHIR R4 or R4B server that takes transaction bundles."""

    kind: Literal["fhir"]
    """Always "fhir"."""
    url: HttpUrl
    """Base address of the server, such as "https://fhir.example.org/r4"."""
    documents: tuple[str, ...] = ("report.fhir.json",)
    """Documents that are sent."""


class StowDestination(_HttpDestination):
    """A DICOMweb archive that takes objects by STOW-RS."""

    kind: Literal["stow-rs"]
    """Always "stow-rs"."""
    url: HttpUrl
    """Base address of DICOMweb, such as "https://pacs.example.org/dicom-web"; "/studies" is added."""
    documents: tuple[str, ...] = ("report.sr.dcm", "segmentation.seg.dcm", "report.pdf.dcm", "capture.sc.dcm")
    """Documents that this archive gets."""


class WebhookDestination(_HttpDestination):
    """A program of yours that is told of each document by a signed POST."""

    kind: Literal["webhook"]
    """Always "webhook"."""
    url: HttpUrl
    """Address that is called."""
    secret_file: Path
    """File with the secret that signs the calls (HMAC-SHA256); at least 16 bytes."""
    documents: tuple[str, ...] = ("result.json",)
    """Documents of which the program is told. The call holds our id of the study, the version and the hash of the document; "result.json"
    is inside the call."""


DESTINATION_KINDS = (CStoreDestination, FolderDestination, MllpDestination, FhirDestination, StowDestination, WebhookDestination)
"""Every kind of destination, for the documentation."""

DestinationSettings = Annotated[
    CStoreDestination | FolderDestination | MllpDestination | FhirDestination | StowDestination | WebhookDestination,
    Field(discriminator="kind"),
]


class DeliverSettings(Section):
    """The outbox."""

    destinations: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")], DestinationSettings] = Field(default_factory=dict)
    """One table per destination, `[deliver.destinations.NAME]`; the name appears in the work list, logs and metrics. None by default:
    results are then on the page only."""
    retry_seconds: Seconds = 5.0
    """Wait before the second try of an object, seconds; it doubles with each one."""
    retry_cap_seconds: Seconds = 300.0
    """Longest wait between two tries, seconds."""
    give_up_hours: Seconds = 168.0
    """After so many hours an object that could not be delivered is failed and waits for a person. A week, so that a PACS may be down
    over a weekend."""
    rejected_attempts: Annotated[int, Field(ge=1)] = 5
    """An object that the PACS itself refuses (not "out of resources") is failed after so many tries."""
    not_evaluable: bool = False
    """Whether the documents of a study that could not be evaluated are delivered too. Off, because a PACS does not want a report for
    each head CT; the reason is in the work list."""


class RetentionSettings(Section):
    """When received images are deleted. Results, documents and the history stay."""

    days: Annotated[float, Field(gt=0)] | None = None
    """The received objects of a study, and the pictures of the reading room, are deleted so many days after its last document was
    delivered. Never those of a study of which anything is undelivered, waits, failed, was skipped, is in conflict or was opened within
    a day; never where there is no destination. By default nothing is ever deleted."""
    only_signed: bool = False
    """Whether images also stay until a reader has signed the result. Afterwards it can only be signed if the study is sent again."""
