"""What is received, and when a study is complete."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from trabecula_service.settings.section import AeTitle, Caller, HostAndPort, Port, Seconds, Section


class ReceiveSettings(Section):
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
    commitment_peers: dict[AeTitle, HostAndPort] = Field(default_factory=dict)
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


class SeriesSettings(Section):
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
