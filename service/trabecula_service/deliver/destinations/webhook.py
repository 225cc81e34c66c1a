"""A program of the site that is told of each document by a signed POST."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable

from trabecula_service.deliver.destinations.http_exchange import failure_of, post
from trabecula_service.deliver.port import Accepted, Item, Refused, Unavailable
from trabecula_service.settings.deliver import WebhookDestination

_SHORTEST_SECRET = 16
_INSIDE = "result.json"
"""Holds no identity of the patient, so it may travel in the call; other documents are fetched over REST."""


class Webhook:
    """Signs time and body with a shared secret, so that the program can tell our calls from others' and old ones from new."""

    def __init__(self, settings: WebhookDestination, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock

    def deliver(self, item: Item) -> Accepted | Unavailable | Refused:
        """One call; the delivery id is the same for each try, by which the program knows a repetition."""
        try:
            secret = self._settings.secret_file.read_bytes().strip()
        except OSError as error:
            return Unavailable(f"the secret cannot be read ({error.strerror})")
        if len(secret) < _SHORTEST_SECRET:
            return Unavailable(f"the secret is shorter than {_SHORTEST_SECRET} bytes")
        body = body_of(item)
        headers = {
            "Content-Type": "application/json",
            "Trabecula-Delivery": f"{item.study_id}-v{item.version_number}-{item.document}",
            "Trabecula-Signature": signature(secret, body, int(self._clock())),
        }
        answer = post(self._settings, str(self._settings.url), body, headers)
        if isinstance(answer, Unavailable):
            return answer
        return Accepted(f"taken (HTTP {answer.status_code})") if answer.is_success else failure_of(answer.status_code)


def body_of(item: Item) -> bytes:
    """What a call says: our names, the hash of the document, and for ``result.json`` its content."""
    content = item.path.read_bytes()
    said: dict[str, object] = {
        "event": "document",
        "study_id": item.study_id,
        "version": item.version_number,
        "document": item.document,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    if item.document == _INSIDE:
        said["result"] = json.loads(content)
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def signature(secret: bytes, body: bytes, seconds: int) -> str:
    """``t=<seconds since 1970>,v1=<HMAC-SHA256 of "seconds.body" in hexadecimal>``."""
    digest = hmac.new(secret, f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"
