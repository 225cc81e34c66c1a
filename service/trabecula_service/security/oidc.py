"""Log-in by the site's identity provider: OpenID Connect, code with PKCE; Authlib speaks it, joserfc checks what comes back."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trabecula_morphometry.errors import SettingsError, TrabeculaError
from trabecula_service.security.rights import Principal, UserRole
from trabecula_service.settings.access import OidcSettings

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Signatures with a public key only: a shared secret, or none, would let anybody who reads our settings make a token."""
_KEEP_SECONDS = 3600.0
_TIMEOUT_SECONDS = 10.0
_LEEWAY_SECONDS = 60
_STRONGEST_FIRST = (UserRole.ADMIN, UserRole.PHYSICIST, UserRole.REVIEWER, UserRole.VIEWER, UserRole.SENDER)


class LoginRefusedError(TrabeculaError):
    """The identity provider, or what it says, does not let this person in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunLogin:
    """Where to send the browser, and what must match when it comes back."""

    url: str
    state: str
    nonce: str
    verifier: str


class IdentityProvider:
    """One provider, known by its issuer.

    Raises
    ------
    SettingsError
        A part of the settings is missing, or the packages of the extra ``auth`` are not installed.
    """

    def __init__(self, settings: OidcSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            import authlib.integrations.httpx_client  # noqa: F401
            import joserfc  # noqa: F401
        except ModuleNotFoundError as error:
            hint = 'pip install "trabecula[auth]"'
            raise SettingsError("the packages for log-in are not installed", where="auth.oidc", hint=hint) from error
        if not settings.client_id or not settings.roles:
            raise SettingsError("client_id and roles are needed", where="auth.oidc", hint="see docs/administrator.md")
        self._settings, self._clock = settings, clock
        self._metadata: dict[str, Any] = {}
        self._keys: Any = None
        self._read_at = float("-inf")

    def begin(self, redirect_url: str) -> BegunLogin:
        """What to send the browser away with.

        Raises
        ------
        LoginRefusedError
            The provider cannot be reached.
        """
        self._refresh()
        nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        with self._client(redirect_url) as client:
            url, state = client.create_authorization_url(self._metadata["authorization_endpoint"], nonce=nonce, code_verifier=verifier)
        return BegunLogin(url=str(url), state=str(state), nonce=nonce, verifier=verifier)

    def finish(self, code: str, *, verifier: str, nonce: str, redirect_url: str, now: float) -> Principal:
        """Who has logged in.

        Raises
        ------
        LoginRefusedError
            With the reason, for the person who tries.
        """
        from authlib.common.errors import AuthlibBaseError
        from httpx2 import HTTPError

        self._refresh()
        try:
            with self._client(redirect_url) as client:
                token = client.fetch_token(self._metadata["token_endpoint"], code=code, code_verifier=verifier)
        except (AuthlibBaseError, HTTPError, ValueError, KeyError) as error:
            raise LoginRefusedError("the identity provider did not confirm the log-in", hint="please try again") from error
        claims = self._claims(str(token.get("id_token", "")), nonce, now)
        role = self._role(claims)
        if role is None:
            hint = "ask the administrator; auth.oidc.roles says which groups have one"
            raise LoginRefusedError("your account has no role here", hint=hint)
        name = str(claims.get("preferred_username") or claims.get("email") or claims["sub"])
        return Principal(name=name[:64], role=role, via="session")

    def _claims(self, id_token: str, nonce: str, now: float) -> Mapping[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        registry = jwt.JWTClaimsRegistry(
            now=int(now),
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self._metadata["issuer"]},
            aud={"essential": True, "value": self._settings.client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            decoded = jwt.decode(id_token, self._keys, algorithms=_ALGORITHMS)
            registry.validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise LoginRefusedError(f"the identity provider's answer cannot be trusted ({type(error).__name__})") from error
        return decoded.claims

    def _role(self, claims: Mapping[str, Any]) -> UserRole | None:
        value: Any = claims
        for part in self._settings.roles_claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        groups = {value} if isinstance(value, str) else set(value or [])
        found = {UserRole(role) for group, role in self._settings.roles.items() if group in groups}
        return next((role for role in _STRONGEST_FIRST if role in found), None)

    def _client(self, redirect_url: str) -> Any:
        from authlib.integrations.httpx_client import OAuth2Client

        return OAuth2Client(
            client_id=self._settings.client_id,
            client_secret=self._secret(),
            scope=self._settings.scope,
            redirect_uri=redirect_url,
            code_challenge_method="S256",
            timeout=_TIMEOUT_SECONDS,
        )

    def _secret(self) -> str | None:
        file = self._settings.client_secret_file
        try:
            return file.read_text(encoding="utf-8").strip() if file else None
        except OSError as error:
            raise LoginRefusedError("the secret of the log-in cannot be read", hint="the administrator can mend that") from error

    def _refresh(self) -> None:
        import httpx2
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        if self._clock() - self._read_at < _KEEP_SECONDS:
            return
        issuer = str(self._settings.issuer).rstrip("/")
        try:
            with httpx2.Client(timeout=_TIMEOUT_SECONDS) as client:
                metadata = client.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()
                keys = client.get(metadata["jwks_uri"]).raise_for_status().json()
            self._keys = KeySet.import_key_set(keys)
        except (httpx2.HTTPError, ValueError, KeyError, TypeError, JoseError) as error:
            raise LoginRefusedError("the identity provider cannot be reached", hint="please try again, or log in with a key") from error
        if str(metadata.get("issuer", "")).rstrip("/") != issuer:
            raise LoginRefusedError("the identity provider gives another name than auth.oidc.issuer")
        self._metadata, self._read_at = metadata, self._clock()
