"""All settings of the service: one TOML file, every key with a default, each key explained by the text under it.

The file is named by ``--config`` or ``TRABECULA_CONFIG``. The texts below the fields are the reference: ``docs/settings.md`` has the same
keys, and a test holds the two together. Settings are read once, at the start, and passed on; nothing imports them from here.
"""

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from trabecula_models.backends.choice import BackendChoice, BackendName
from trabecula_models.forward import Compute, Engine, Precision
from trabecula_morphometry.errors import SettingsError
from trabecula_morphometry.voi import VoiStyle
from trabecula_service.render.languages import DEFAULT_LANGUAGE, languages

CONFIG_VARIABLE = "TRABECULA_CONFIG"

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


def _ae_title(text: str) -> str:
    # PS3.8 9.3.2: 1 to 16 characters of the default repertoire, no backslash; blanks around it have no meaning.
    if not 1 <= len(text.strip()) <= 16 or "\\" in text or not text.isascii() or not text.isprintable():
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return text.strip()


AeTitle = Annotated[str, AfterValidator(_ae_title)]


def _caller(text: str) -> str:
    ae_title, _, network = text.rpartition("@")
    if ae_title:
        _ae_title(ae_title)
    if network != "*":
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError as error:
            raise ValueError('write "10.1.2.3", "10.1.2.0/24", "CT1@10.1.2.3" or "CT1@*"') from error
    elif not ae_title:
        raise ValueError('"*" alone would allow everybody; write "AETITLE@*" or a network')
    return text


Caller = Annotated[str, AfterValidator(_caller)]


def _host_and_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise ValueError('write "host:port", such as "10.1.2.3:104"')
    return text


def _language(text: str) -> str:
    if text not in languages():
        raise ValueError(f"one of {', '.join(languages())}")
    return text


Language = Annotated[str, AfterValidator(_language)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ReceiveSettings(_Section):
    """The Storage SCP: who may send and where it listens."""

    ae_title: AeTitle = "TRABECULA"
    """Our AE title. A call for another title is refused."""
    bind: str = "0.0.0.0"  # noqa: S104 - see the text
    """Address that the listener binds to. All addresses, because a scanner that is not yet allowed should get a refusal with a reason,
    and you a line with the key to add, not a dead port."""
    port: Port = 11112
    """TCP port of the listener; 0 takes a free one. 11112 is the port registered for DICOM without privileges."""
    allowed_callers: tuple[Caller, ...] = ("127.0.0.0/8",)
    """Who may send: "10.1.2.3", "10.1.2.0/24", "CT1@10.1.2.3" (title and address) or "CT1@*" (title from anywhere). Only this machine
    at first, so that nothing is open by default."""
    max_associations: Annotated[int, Field(ge=1, le=200)] = 16
    """Associations at the same time; more are refused for the moment. Each costs a thread and holds the object it is receiving in
    memory."""
    max_pdu_bytes: Annotated[int, Field(ge=4096, le=1_048_576)] = 131_072
    """Largest protocol data unit, bytes. Larger than the usual 16 KiB because it makes receiving quicker."""
    idle_seconds: Seconds = 60.0
    """An association that sends nothing for so long is closed, seconds."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that listen on the port together, each with its own `max_associations`. One takes 100 to 300 slices a second; more
    help where many senders send at once and cores are free."""
    tls_certificate: Path | None = None
    """Certificate chain (PEM) of the listener; with it and the key every connection must be encrypted (TLS 1.2 or newer). A renewed file
    is taken without a restart. Off by default."""
    tls_key: Path | None = None
    """Private key (PEM) of the certificate."""
    tls_client_ca: Path | None = None
    """Certificates (PEM) that a sender's certificate is checked against; with it every sender must show one (mutual TLS)."""
    commitment_peers: dict[AeTitle, Annotated[str, AfterValidator(_host_and_port)]] = {}
    """Where reports of storage commitment go, `AETITLE = "host:port"`, on an association of our own that is tried until it succeeds. A
    requester that is not named here gets its report at once on the association of its request."""
    reserve_free_gib: Annotated[float, Field(ge=0)] = 5.0
    """With less free disk than this (GiB) new objects are answered 0xA700 "out of resources", so that what was accepted can still be
    finished and the sender keeps its copy."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: give both or none")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        return self


class SeriesSettings(_Section):
    """When a study counts as complete."""

    quiet_seconds: Seconds = 30.0
    """Quiet time after the last object and the end of its association, seconds. Longer for scanners that pause between series; a slice
    that comes later makes a new version of the result, nothing is lost."""
    announced_seconds: Seconds = 300.0
    """Some senders write into each object how many the study has (0020,1208). Then the study is complete as soon as so many have come,
    and if they have not, it waits this long after the last one instead of the quiet time, seconds."""
    hard_cap_seconds: Seconds = 3600.0
    """A study that never falls quiet is analysed this long after its first object, seconds."""
    stat_callers: tuple[Caller, ...] = ()
    """Who sends what is urgent, written as in `receive.allowed_callers`: "CT_ER@*". Their studies are analysed first."""


class WorkSettings(_Section):
    """The analysis."""

    time_limit_seconds: Seconds = 900.0
    """One analysis may take so long, seconds; then its process is ended and the attempt counts as failed."""
    memory_limit_gib: Annotated[float, Field(ge=1)] = 24.0
    """Address space of the analysis process, GiB. Generous, because a network library maps far more than it uses; it stops a run-away,
    not a large study."""
    max_attempts: Annotated[int, Field(ge=1)] = 3
    """Attempts before a study is failed with its reason and waits for a person. An input that is refused is not tried again."""
    retry_seconds: Seconds = 10.0
    """Wait before the second attempt, seconds; it doubles with each one."""
    lease_seconds: Seconds = 60.0
    """A worker that gives no sign of life for so long loses its job to another, seconds."""
    poll_seconds: Seconds = 0.5
    """How often the worker and the settling look into the ledger, seconds."""
    series_rules_file: Path | None = None
    """TOML with the rules that rate the series of a study (see `docs/series-choice.md`); those of the package by default."""
    join_stacks: bool = True
    """Whether a spine that lies in several series of one study (neck, chest, lumbar spine) is measured in each and joined into one result.
    Each series more takes as long as the first."""
    acquisition_file: Path | None = None
    """TOML with facts that override the header of every study (see `trabecula analyze --acquisition`); none by default."""
    calibration_file: Path | None = None
    """TOML with calibration entries (see `trabecula analyze --calibration`); none by default."""
    language: Language = DEFAULT_LANGUAGE
    """Language of the sentences in report, overview, HL7 and FHIR: "en" or "de". Codes and names of measurements stay English."""


class AnalysisSettings(_Section):
    """What finds and outlines the vertebrae. Another backend than the built-in one needs its own package and model."""

    backend: BackendName = BackendName.BUILTIN
    """"builtin", "totalsegmentator", "nnunet" (any nnU-Net v2 model folder) or "monai-bundle"."""
    model: Path | None = None
    """Folder of the model. "nnunet" and "monai-bundle" need it; for "builtin" the weights folder of a `trabecula train --finetune`."""
    labels: str | None = None
    """Which number of a foreign model's mask is which level: "verse", "ctspine1k", "totalsegmentator" or a TOML file like those in
    `models/trabecula_models/backends/label_maps`. By default the names that the model itself declares."""
    orientation: str | None = None
    """Where the array axes x, y, z of the images grow to that an nnU-Net was trained on, for example "LPS" or "RAS". By default what
    the model's reader says, else "LPS". nnU-Net does not turn images: a wrong value gives an empty or a mirrored mask."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """"auto" (a GPU where torch sees one), "cpu", "cuda" or "cuda:0"."""
    engine: Engine = Engine.AUTO
    """What computes the built-in networks: "torch", "openvino", or "auto": on a CPU OpenVINO where it is installed, else torch. The
    labels are the same."""
    precision: Precision = Precision.AUTO
    """"auto": half precision under torch where the machine has units for it (a GPU; a CPU with AMX or AVX512-BF16). "float32": never, so
    that machines of different make give the same outlines to the last voxel."""
    voi: VoiStyle = VoiStyle.TRABECULA
    """Where the HU of a level are taken: "trabecula" (front of the body, clear of cortex and vein), or, to compare with cut-offs published
    for them, "comp2comp" or "totalsegmentator"; a density from these has no category."""

    @model_validator(mode="after")
    def _model_is_named(self) -> Self:
        if self.backend in (BackendName.NNUNET, BackendName.MONAI_BUNDLE) and self.model is None:
            raise ValueError(f'the backend "{self.backend.value}" needs the folder of its model: model = "..."')
        return self

    def choice(self) -> BackendChoice:
        """The same as the models' own type."""
        return BackendChoice(
            name=self.backend,
            model=self.model,
            labels=self.labels,
            orientation=self.orientation,
            compute=Compute(device=self.device, engine=self.engine, precision=self.precision),
        )


class CalibrationSettings(_Section):
    """The calibration registry, its drift limits, and what is done without an entry."""

    allow_estimate: bool = True
    """Whether a density without an entry is estimated from physics (basis "estimate", wide interval, no category). Off: HU only."""
    phantomless: bool = False
    """Whether a density without an entry is calibrated on the patient's own fat and muscle (basis "phantomless", no category) instead of
    being estimated. Off, because it differs from a phantom by 9 mg/cm3 (SD) and more."""
    contrast_correction: bool = True
    """Whether a density of a contrast scan is corrected. Off: the number stays as read, with a wider interval."""
    arterial_mg_cm3: float = 6.0
    """What arterial contrast adds, mg/cm3 (Shetty 2024, Ruehling 2022)."""
    portal_venous_mg_cm3: float = 17.0
    """What portal venous contrast adds, mg/cm3 (the same sources)."""
    delayed_mg_cm3: float = 17.0
    """What delayed contrast adds, mg/cm3; taken as portal venous for want of data."""
    contrast_residual_sd_mg_cm3: Annotated[float, Field(ge=0)] = 9.5
    """SD of what a correction leaves, mg/cm3 (Ruehling 2022)."""
    baseline_count: Annotated[int, Field(ge=2, le=100)] = 10
    """QA scans whose mean is the target of the drift control; until then the certificate's value is."""
    action_percent: Annotated[float, Field(gt=0)] = 1.5
    """Action band around the target, percent: one reading outside warns, two in a row on one side block."""
    block_percent: Annotated[float, Field(gt=0)] = 3.0
    """One reading further off than this, percent, blocks the entry."""
    cusum_slack_sd: Annotated[float, Field(gt=0)] = 0.5
    """Slack k of the CUSUM, SD."""
    cusum_warn_sd: Annotated[float, Field(gt=0)] = 4.0
    """CUSUM that warns, SD."""
    cusum_block_sd: Annotated[float, Field(gt=0)] = 5.0
    """CUSUM that blocks the entry, SD."""
    max_days_without_check: Annotated[int, Field(ge=1)] = 180
    """An entry whose last phantom scan is older, days, counts as expired: wider interval, no category."""


class CStoreDestination(_Section):
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


class FolderDestination(_Section):
    """A folder that gets a copy of the documents, one folder per study version."""

    kind: Literal["folder"]
    """Always "folder"."""
    path: Path
    """The folder; it must exist, so that a share that is not mounted is noticed."""
    documents: tuple[str, ...] = ("result.json", "report.pdf", "report.sr.dcm", "segmentation.seg.dcm", "report.pdf.dcm", "capture.sc.dcm")
    """Documents that this folder gets."""


class MllpDestination(_Section):
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


class _HttpDestination(_Section):
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


class DeliverSettings(_Section):
    """The outbox."""

    destinations: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")], DestinationSettings] = {}
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


class RetentionSettings(_Section):
    """When received images are deleted. Results, documents and the history stay."""

    days: Annotated[float, Field(gt=0)] | None = None
    """The received objects of a study, and the pictures of the reading room, are deleted so many days after its last document was
    delivered. Never those of a study of which anything is undelivered, waits, failed, was skipped, is in conflict or was opened within
    a day; never where there is no destination. By default nothing is ever deleted."""
    only_signed: bool = False
    """Whether images also stay until a reader has signed the result. Afterwards it can only be signed if the study is sent again."""


class ApiSettings(_Section):
    """The page and the REST interface."""

    host: str = "127.0.0.1"
    """Address of the page. This machine only, until somebody decides otherwise."""
    port: Port = 8120
    """TCP port of the page; 0 takes a free one."""
    allow_remote: bool = False
    """Must be true for any other address than this machine's. Callers from elsewhere need a key or a log-in (`[auth]`). Give a
    certificate too, or put a proxy with TLS in front: otherwise names and keys go over the network in the clear."""
    tls_certificate: Path | None = None
    """Certificate chain (PEM) of the page; with it and the key it answers by https only (TLS 1.2 or newer), cookies are sent by https
    only, and browsers are told to call this host by https for a year (HSTS). A renewed file is taken without a restart. Off by default."""
    tls_key: Path | None = None
    """Private key (PEM) of the certificate."""
    redirect_port: Port | None = None
    """With a certificate: a second port that answers plain HTTP with the https address of the same page. None by default."""
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    """Host names under which the page may be called; others are refused, which stops a foreign web page from reading it through a
    visitor's browser."""
    organization: str = "not stated"
    """Your institution, as it stands beside the reader's name in signed reports."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: give both or none")
        if self.redirect_port is not None and self.tls_certificate is None:
            raise ValueError("redirect_port needs tls_certificate and tls_key")
        return self


class BackfillSettings(_Section):
    """The archive from which `trabecula backfill` fetches old studies."""

    source: Literal["none", "c-move", "dicomweb"] = "none"
    """"c-move" (C-FIND and C-MOVE; the archive must know our AE title and address) or "dicomweb" (QIDO-RS and WADO-RS)."""
    host: str = ""
    """Name or address of the archive; for "c-move"."""
    port: Port = 104
    """TCP port of the archive; for "c-move"."""
    ae_title: AeTitle = "ARCHIVE"
    """AE title of the archive; for "c-move"."""
    calling_ae_title: AeTitle = "TRABECULA"
    """Our AE title towards the archive; for "c-move"."""
    url: HttpUrl | None = None
    """Base address of DICOMweb, such as "https://pacs.example.org/dicom-web"; for "dicomweb"."""
    bearer_token_file: Path | None = None
    """File with a token that is sent as "Authorization: Bearer"; for "dicomweb"."""
    listener_host: str = "127.0.0.1"
    """Where our own listener is; for "dicomweb", whose studies are handed to it. It must allow this machine to send."""
    timeout_seconds: Seconds = 300.0
    """Longest wait for an answer of the archive, seconds; some fetch from tape first."""
    studies_per_hour: Annotated[float, Field(gt=0)] = 60.0
    """At most so many studies are fetched in an hour, so that the archive's own work goes on."""
    most_waiting: Annotated[int, Field(ge=1)] = 20
    """No study is fetched while so many wait for their analysis."""
    attempts: Annotated[int, Field(ge=1)] = 3
    """A study that could not be fetched so often is left, with its reason in the summary."""

    @model_validator(mode="after")
    def _archive_is_named(self) -> Self:
        if self.source == "c-move" and not self.host:
            raise ValueError('the source "c-move" needs the archive\'s host = "..."')
        if self.source == "dicomweb" and self.url is None:
            raise ValueError('the source "dicomweb" needs the archive\'s url = "https://..."')
        return self


def _postgresql(text: str) -> str:
    address = urlsplit(text)
    if address.scheme not in ("postgresql", "postgres") or not address.hostname or not address.path.strip("/"):
        raise ValueError('write "postgresql://user@host:5432/database"')
    if address.password is not None:
        raise ValueError("keep the password out of the settings: put it into a file and name that in ledger.password_file")
    return text.replace("postgres://", "postgresql://", 1)


class LedgerSettings(_Section):
    """Where the ledger is kept."""

    postgresql: Annotated[str, AfterValidator(_postgresql)] | None = None
    """Address of a PostgreSQL database, "postgresql://user@host:5432/database", where several machines share the work; `data` is then a
    folder that all of them see. By default the ledger is one file in the data folder, which one machine can use."""
    password_file: Path | None = None
    """File with the password of the database's user; by default what the PostgreSQL client finds itself (~/.pgpass) or none."""
    migrate: bool = True
    """Whether a process brings an older ledger to its own schema when it starts. Off: only `trabecula migrate` does, and the others
    need no right to change tables."""


def _bucket_url(text: str) -> str:
    address = urlsplit(text)
    if address.scheme not in ("s3", "gs", "az", "file") or not (address.netloc or address.path.strip("/")):
        raise ValueError('write "s3://bucket" or "s3://bucket/prefix"')
    if address.username or address.password or address.query:
        raise ValueError("keep credentials out of the address: put them into objects.credentials_file")
    return text


class ObjectsSettings(_Section):
    """Where several machines keep images and documents between them, if not in one folder that all of them see."""

    url: Annotated[str, AfterValidator(_bucket_url)] | None = None
    """Bucket, "s3://bucket/prefix" (also "gs://", "az://"); needs `ledger.postgresql` and the package trabecula[s3]. `data` is then each
    machine's own folder, with copies of what it uses. By default everything is kept in `data`."""
    endpoint: HttpUrl | None = None
    """Address of an S3 server of the site, such as "https://minio.example.org:9000"; Amazon's by default."""
    region: str = "us-east-1"
    """Region of the bucket; servers of a site mostly take any."""
    credentials_file: Path | None = None
    """TOML with access_key_id, secret_access_key and, if there is one, session_token; for "s3". By default what the machine was given:
    the role of the instance or pod, or the usual AWS variables."""
    timeout_seconds: Seconds = 60.0
    """Longest wait for one file, seconds."""
    cache_gib: Annotated[float, Field(ge=1)] = 50.0
    """So much of the bucket is kept as copies in `data` (GiB); what was not used for longest goes first, nothing within an hour."""


_RoleName = Literal["viewer", "reviewer", "physicist", "sender", "admin"]


class OidcSettings(_Section):
    """Log-in by the site's identity provider (OpenID Connect)."""

    issuer: HttpUrl | None = None
    """Address of the provider, such as "https://login.example.org/realms/hospital"; none by default: people log in with keys."""
    client_id: str = ""
    """Name under which the provider knows this service. Its redirect address there is that of the page with "/login/oidc/callback"."""
    client_secret_file: Path | None = None
    """File with the secret that goes with the name; none for a public client."""
    scope: str = "openid profile email"
    """What is asked for; some providers give groups only for "groups"."""
    roles_claim: str = "groups"
    """Claim of the ID token with the person's groups or roles; dots go inside, as in "realm_access.roles"."""
    roles: dict[str, _RoleName] = {}
    """Which group has which role: `"bone-readers" = "reviewer"`. Whoever is in several has the strongest; whoever is in none is refused."""


class AuthSettings(_Section):
    """Who may see and do what on the page and in the REST interface."""

    loopback_role: Literal["none", "viewer", "reviewer", "physicist", "admin"] = "admin"
    """Role of callers from this machine itself, who need no log-in. "none" where several people work on this machine."""
    session_hours: Annotated[float, Field(gt=0, le=168)] = 12.0
    """After so many hours one has to log in again: a shift."""
    oidc: OidcSettings = OidcSettings()


class LogSettings(_Section):
    """The log, on standard error. It never holds patient data."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is written."""
    format: Literal["json", "text"] = "json"
    """"json": one object per line, for collectors. "text": for people."""


class Settings(BaseSettings):
    """The whole file."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    data: Path = Path("trabecula-data")
    """Folder with the ledger, the received objects and the results. It holds patient data: give it to the service's user alone."""
    receive: ReceiveSettings = ReceiveSettings()
    series: SeriesSettings = SeriesSettings()
    work: WorkSettings = WorkSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    deliver: DeliverSettings = DeliverSettings()
    retention: RetentionSettings = RetentionSettings()
    ledger: LedgerSettings = LedgerSettings()
    objects: ObjectsSettings = ObjectsSettings()
    backfill: BackfillSettings = BackfillSettings()
    api: ApiSettings = ApiSettings()
    auth: AuthSettings = AuthSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _bucket_has_a_ledger(self) -> Self:
        if self.objects.url is not None and self.ledger.postgresql is None:
            raise ValueError("objects.url is for several machines and needs ledger.postgresql; one machine keeps everything in data")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: one file says everything, no variable in the environment changes it behind its back."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def read_settings(config: Path | None, *, data: Path | None = None) -> Settings:
    """Read the settings file.

    Parameters
    ----------
    config : the file; if None, the one that ``TRABECULA_CONFIG`` names; if that is unset too, the defaults.
    data : data folder that replaces the file's.

    Raises
    ------
    SettingsError
        With the key, what is wrong with it and what can be written there.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = config or (Path(named) if named else None)
    values = _read_toml(path) if path else {}
    if data is not None:
        values["data"] = data
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise _readable(error, path) from error
    _check_exposure(settings, path)
    return settings


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError("the settings file cannot be read", where=str(path), hint=error.strerror or "check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("the settings file is not valid TOML", where=str(path), hint=str(error)) from error


_KIND_NAMES = frozenset(get_args(kind.model_fields["kind"].annotation)[0] for kind in DESTINATION_KINDS)


def _readable(error: ValidationError, path: Path | None) -> SettingsError:
    lines = []
    for entry in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in entry["loc"] if part not in _KIND_NAMES)
        if entry["type"] == "extra_forbidden":
            lines.append(f"{key} is not a setting (docs/settings.md lists all)")
        else:
            lines.append(f"{key}: {entry['msg']}")
    return SettingsError("wrong settings", where=str(path or "defaults"), hint="; ".join(lines))


def _check_exposure(settings: Settings, path: Path | None) -> None:
    if settings.api.host in ("127.0.0.1", "::1", "localhost") or settings.api.allow_remote:
        return
    raise SettingsError(
        f"api.host = {settings.api.host!r} would answer other machines",
        where=str(path or "defaults"),
        hint="keep 127.0.0.1, or set api.allow_remote = true with api.tls_certificate and api.tls_key, or behind a proxy that brings TLS, "
        "and api.allowed_hosts to its names",
    )
