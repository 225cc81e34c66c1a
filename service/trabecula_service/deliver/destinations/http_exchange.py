"""What all destinations over HTTP share: one POST, no redirects, and what transport errors and status codes mean."""

import ssl
from collections.abc import Mapping

import httpx2

from trabecula_service.deliver.port import Refused, Unavailable
from trabecula_service.settings.deliver import FhirDestination, StowDestination, WebhookDestination

HttpSettings = FhirDestination | StowDestination | WebhookDestination

_PASSING = frozenset({408, 425, 429})
"""Client error codes that ask for another try (RFC 9110, RFC 8470, RFC 6585)."""


def post(settings: HttpSettings, url: str, content: bytes, headers: Mapping[str, str]) -> httpx2.Response | Unavailable:
    """POST and wait for the whole answer.

    A redirect is not followed: the documents hold patient data, and only the configured address may get them.
    """
    try:
        token = {"Authorization": f"Bearer {settings.bearer_token_file.read_text().strip()}"} if settings.bearer_token_file else {}
        with httpx2.Client(verify=_tls(settings), timeout=settings.timeout_seconds, follow_redirects=False, trust_env=False) as client:
            return client.post(url, content=content, headers={**headers, **token})
    except httpx2.TimeoutException:
        return Unavailable("the server does not answer")
    except httpx2.TransportError as error:
        return Unavailable(f"no connection ({type(error).__name__})")
    except ssl.SSLError as error:
        return Unavailable(f"the certificates cannot be used ({error.reason or 'unreadable'})")
    except OSError as error:
        return Unavailable(f"the token or certificate file cannot be read ({error.strerror})")


def failure_of(status: int) -> Unavailable | Refused:
    """What a status that is no success means: the server's own trouble passes, a refusal of the request does not."""
    if status >= 500 or status in _PASSING:
        return Unavailable(f"the server cannot take it now (HTTP {status})")
    return Refused(f"the server refuses it (HTTP {status})")


def base_url(settings: FhirDestination | StowDestination) -> str:
    """The configured address without a slash at its end."""
    return str(settings.url).rstrip("/")


def _tls(settings: HttpSettings) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=str(settings.ca_file)) if settings.ca_file else True
