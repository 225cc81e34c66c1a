"""The page and the REST interface, and who may use them."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, HttpUrl, model_validator

from trabecula_service.settings.section import Port, Section


class ApiSettings(Section):
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


_RoleName = Literal["viewer", "reviewer", "physicist", "sender", "admin"]


class OidcSettings(Section):
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
    roles: dict[str, _RoleName] = Field(default_factory=dict)
    """Which group has which role: `"bone-readers" = "reviewer"`. Whoever is in several has the strongest; whoever is in none is refused."""


class AuthSettings(Section):
    """Who may see and do what on the page and in the REST interface."""

    loopback_role: Literal["none", "viewer", "reviewer", "physicist", "admin"] = "admin"
    """Role of callers from this machine itself, who need no log-in. "none" where several people work on this machine."""
    session_hours: Annotated[float, Field(gt=0, le=168)] = 12.0
    """After so many hours one has to log in again: a shift."""
    oidc: OidcSettings = OidcSettings()
