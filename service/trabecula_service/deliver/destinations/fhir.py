"""A FHIR server that takes transaction bundles."""

import json

from trabecula_service.deliver.destinations.http_exchange import base_url, failure_of, post
from trabecula_service.deliver.port import Accepted, Item, Refused, Unavailable
from trabecula_service.settings.deliver import FhirDestination

_FHIR_JSON = "application/fhir+json"


class Fhir:
    """POSTs the bundle to the base address; every entry is a PUT to an id of ours, so a repetition changes nothing."""

    def __init__(self, settings: FhirDestination) -> None:
        self._settings = settings

    def deliver(self, item: Item) -> Accepted | Unavailable | Refused:
        """One transaction."""
        content = item.path.read_bytes()
        headers = {"Content-Type": _FHIR_JSON, "Accept": _FHIR_JSON, "Prefer": "return=minimal"}
        answer = post(self._settings, base_url(self._settings), content, headers)
        if isinstance(answer, Unavailable):
            return answer
        if answer.status_code != 200:
            return failure_of(answer.status_code)
        return outcome_of(answer.content, len(json.loads(content)["entry"]))


def outcome_of(answer: bytes, entries: int) -> Accepted | Unavailable | Refused:
    """The answer to a transaction: accepted only if it names a success for every entry (FHIR R4, 3.1.0.11.2)."""
    try:
        bundle = json.loads(answer)
        statuses = [str(entry["response"]["status"]) for entry in bundle["entry"]]
    except (ValueError, KeyError, TypeError):
        return Unavailable("the server's answer is no transaction response")
    bad = [status for status in statuses if not status.startswith("2")]
    if bad:
        return Refused(f"the server refuses {len(bad)} of {entries} resources (HTTP {bad[0][:3]})")
    if len(statuses) != entries:
        return Unavailable(f"the server answered to {len(statuses)} of {entries} resources")
    return Accepted(f"{entries} resources written")
