"""The archive from which old studies are fetched."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, HttpUrl, model_validator

from trabecula_service.settings.section import AeTitle, Port, Seconds, Section


class BackfillSettings(Section):
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
