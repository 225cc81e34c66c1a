"""Where the ledger and the objects are kept."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, HttpUrl

from trabecula_service.settings.section import Seconds, Section


def _postgresql(text: str) -> str:
    address = urlsplit(text)
    if address.scheme not in ("postgresql", "postgres") or not address.hostname or not address.path.strip("/"):
        raise ValueError('write "postgresql://user@host:5432/database"')
    if address.password is not None:
        raise ValueError("keep the password out of the settings: put it into a file and name that in ledger.password_file")
    return text.replace("postgres://", "postgresql://", 1)


class LedgerSettings(Section):
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


class ObjectsSettings(Section):
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
