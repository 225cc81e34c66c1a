"""Every route of the OpenAPI description, called with what it allows and with what it does not: never an error of ours."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from builders.ledger import enter
from builders.small_ct import small_ct
from trabecula_service.api.app import build_app
from trabecula_service.api.context import WebContext
from trabecula_service.ledger.database import open_ledger
from trabecula_service.ops.data_folder import DataFolder
from trabecula_service.ops.loops import Heartbeats
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.security.keys import new_key
from trabecula_service.security.rights import UserRole
from trabecula_service.settings.model import Settings

EXAMPLES = int(os.environ.get("TRABECULA_OPENAPI_EXAMPLES", "5"))
"""For each route; a few in CI, hundreds by hand."""


@schemathesis.serializer("application/toml", "multipart/related", "application/dicom", "application/dicom+json", "application/zip")
def _any_bytes(_context: Any, value: Any) -> bytes:
    # Any bytes may come in any of these forms: whoever reads them has to say so.
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def key_and_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    folder = DataFolder(tmp_path_factory.mktemp("data"))
    folder.open()
    ledger = open_ledger(folder.ledger)
    enter(ledger, small_ct(slices=1)[0], 0.0)
    with ledger.write() as connection:
        key = new_key(connection, name="fuzzer", role=UserRole.ADMIN, by="test", now=0.0)
    chosen = Settings(data=folder.root)
    context = WebContext(
        ledger=ledger, queue=LeaseTable(lease_seconds=60), settings=chosen, heartbeats=Heartbeats(), data=folder.root, clock=time.time
    )
    yield key, build_app(context)
    ledger.close()
    folder.close()


def test_no_call_makes_the_service_fail(key_and_app: tuple[str, Any]) -> None:
    key, app = key_and_app
    headers = {"Authorization": f"Bearer {key}", "Host": "localhost"}
    description = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=headers)
    called = 0
    for result in description.get_all_operations():
        operation = result.ok()
        for mode in GenerationMode:
            called += _call_often(operation, mode, headers)
    assert called > 2 * EXAMPLES


def _call_often(operation: Any, mode: GenerationMode, headers: dict[str, str]) -> int:
    count = 0

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def call(case: Any) -> None:
        nonlocal count
        answer = case.call(headers={**(case.headers or {}), **headers})
        count += 1
        assert answer.status_code not in (401, 421), "the call never reached its route"
        if not (case.path == "/healthz" and answer.status_code == 503):  # nothing listens or works beside this test
            case.validate_response(answer, checks=[not_a_server_error])

    try:
        call()
    except Unsatisfiable:
        # A route that takes nothing cannot be called wrongly.
        return 0
    return count


def test_the_description_names_every_route_of_the_interface(key_and_app: tuple[str, Any]) -> None:
    paths = key_and_app[1].openapi()["paths"]
    assert {"/api/v1/studies", "/api/v1/studies/{study_id}", "/api/v1/calibrations", "/healthz"} <= paths.keys()
