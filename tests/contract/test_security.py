"""Who may do what, from where; what the audit trail keeps of it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from builders.identity_provider import Provider, identity_provider
from builders.ledger import enter
from builders.small_ct import small_ct
from trabecula_service.api.app import build_app
from trabecula_service.api.context import WebContext
from trabecula_service.ledger.database import open_ledger
from trabecula_service.ops.loops import Heartbeats
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.security.audit import AuditEntry, append, check_chain, read_all
from trabecula_service.security.dicom_audit import audit_message
from trabecula_service.security.keys import list_keys, new_key, revoke_key
from trabecula_service.security.rights import UserRole, is_named, right_for
from trabecula_service.settings.access import AuthSettings, OidcSettings
from trabecula_service.settings.model import Settings

HERE, ELSEWHERE = ("127.0.0.1", 40000), ("10.20.0.7", 40000)


class House:
    """A ledger, and callers of the service from different places."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, 1_800_000_000.0
        self.ledger = open_ledger(folder / "ledger.sqlite")
        enter(self.ledger, small_ct(slices=1)[0], 0.0)

    def app(self, **auth: Any) -> Any:
        settings = Settings(data=self.folder, auth=AuthSettings(**auth))
        return build_app(
            WebContext(
                ledger=self.ledger,
                queue=LeaseTable(lease_seconds=60),
                settings=settings,
                heartbeats=Heartbeats(),
                data=self.folder,
                clock=lambda: self.now,
            )
        )

    def caller(self, address: tuple[str, int], *, key: str | None = None, **auth: Any) -> TestClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return TestClient(self.app(**auth), base_url="http://localhost", client=address, headers=headers, follow_redirects=False)

    def key(self, role: UserRole, **options: Any) -> str:
        with self.ledger.write() as connection:
            return new_key(connection, name=f"a {role}", role=role, by="test", now=self.now, **options)

    def study(self) -> str:
        with self.ledger.read() as connection:
            return str(connection.execute(text("SELECT id FROM studies")).scalar_one())

    def trail(self) -> list[AuditEntry]:
        with self.ledger.read() as connection:
            return [entry for _, entry, _ in read_all(connection)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = House(tmp_path)
    yield opened
    opened.ledger.close()


def test_this_machine_needs_no_log_in_and_nobody_else_gets_in_without(house: House) -> None:
    assert house.caller(HERE).get("/api/v1/studies").status_code == 200
    refused = house.caller(ELSEWHERE).get("/api/v1/studies")
    assert refused.status_code == 401
    assert "trabecula key add" in refused.json()["detail"], "the line that helps"


def test_a_proxy_on_this_machine_does_not_make_its_callers_local(house: House) -> None:
    assert house.caller(HERE).get("/api/v1/studies", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401


def test_a_machine_with_several_people_can_ask_them_all(house: House) -> None:
    assert house.caller(HERE, loopback_role="none").get("/api/v1/studies").status_code == 401
    assert house.caller(HERE, loopback_role="viewer").post(f"/api/v1/studies/{house.study()}/retry").status_code == 403


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/metrics", "/login"])
def test_what_says_nothing_of_a_patient_is_open(house: House, path: str) -> None:
    assert house.caller(ELSEWHERE).get(path).status_code == 200


@pytest.mark.parametrize(
    ("role", "may_read", "may_retry", "may_calibrate"),
    [
        (UserRole.VIEWER, True, False, False),
        (UserRole.REVIEWER, True, True, False),
        (UserRole.PHYSICIST, True, False, True),
        (UserRole.SENDER, False, False, False),
        (UserRole.ADMIN, True, True, True),
    ],
)
def test_each_role_has_its_rights_and_no_more(house: House, role: UserRole, may_read: bool, may_retry: bool, may_calibrate: bool) -> None:
    caller = house.caller(ELSEWHERE, key=house.key(role))
    assert (caller.get("/api/v1/studies").status_code != 403) is may_read
    assert (caller.post(f"/api/v1/studies/{house.study()}/retry").status_code != 403) is may_retry
    assert (caller.post("/api/v1/calibrations", content="x").status_code != 403) is may_calibrate


def test_every_route_that_changes_something_is_in_the_table_of_rights(house: House) -> None:
    schema = house.app().openapi()
    unsafe = {"post", "put", "patch", "delete"}
    calls = [(method.upper(), path) for path, methods in schema["paths"].items() for method in methods.keys() & unsafe]
    calls += [(method, route.path) for route in _all_routes(house.app().routes) for method in route.methods or ()]
    assert len(calls) > 10
    assert [call for call in calls if not is_named(call[0], call[1].replace("{", "").replace("}", ""))] == []


def _all_routes(routes: Any) -> Iterator[Any]:
    for route in routes:
        if getattr(route, "original_router", None) is not None:
            yield from _all_routes(route.original_router.routes)
        elif getattr(route, "methods", None):
            yield route


def test_what_nobody_thought_of_needs_the_highest_right() -> None:
    assert right_for("DELETE", "/api/v1/studies/0123456789abcdef") == "administer"
    assert right_for("POST", "/something/new") == "administer"


def _changed(key: str) -> str:
    return key[:-1] + ("A" if key[-1] != "A" else "B")


@pytest.mark.parametrize("wrong", [_changed, lambda key: key.upper(), lambda key: "", lambda key: "Bearer", lambda key: key + key])
def test_a_wrong_key_is_nobody_even_on_this_machine(house: House, wrong: Callable[[str], str]) -> None:
    caller = house.caller(HERE)
    answer = caller.get("/api/v1/studies", headers={"Authorization": f"Bearer {wrong(house.key(UserRole.ADMIN))}"})
    assert answer.status_code == 401


def test_a_key_ends_with_its_time_or_when_it_is_revoked(house: House) -> None:
    short, long = house.key(UserRole.VIEWER, expires_at=house.now + 60.0), house.key(UserRole.ADMIN)
    assert house.caller(ELSEWHERE, key=short).get("/api/v1/studies").status_code == 200
    house.now += 61.0
    assert house.caller(ELSEWHERE, key=short).get("/api/v1/studies").status_code == 401
    assert house.caller(ELSEWHERE, key=long).get("/api/v1/studies").status_code == 200
    with house.ledger.write() as connection:
        assert revoke_key(connection, next(row.id for row in list_keys(connection) if row.role == UserRole.ADMIN), house.now)
    assert house.caller(ELSEWHERE, key=long).get("/api/v1/studies").status_code == 401


def test_the_ledger_does_not_hold_keys_or_cookies(house: House) -> None:
    key = house.key(UserRole.VIEWER)
    browser = house.caller(ELSEWHERE)
    cookie = browser.post("/login", data={"key": key}).cookies["trabecula_session"]
    stored = (house.folder / "ledger.sqlite").read_bytes() + (house.folder / "ledger.sqlite-wal").read_bytes()
    assert key.split("_", 2)[2].encode() not in stored  # the secret itself may hold a "_"
    assert cookie.encode() not in stored


def test_a_person_logs_in_with_a_key_comes_back_to_where_they_were_and_logs_out(house: House) -> None:
    browser = house.caller(ELSEWHERE)
    sent_away = browser.get("/?state=failed", headers={"Accept": "text/html"})
    assert (sent_away.status_code, sent_away.headers["location"]) == (303, "/login?next=%2F%3Fstate%3Dfailed")
    assert browser.post("/login", data={"key": "wrong", "next": "/"}).status_code == 401
    back = browser.post("/login", data={"key": house.key(UserRole.VIEWER), "next": "/?state=failed"})
    assert (back.status_code, back.headers["location"]) == (303, "/?state=failed")
    assert "httponly" in back.headers["set-cookie"].lower()
    assert "samesite=lax" in back.headers["set-cookie"].lower()
    assert browser.get("/").status_code == 200
    assert browser.post("/logout").status_code == 303
    assert browser.get("/api/v1/studies").status_code == 401
    assert [(entry.action, entry.outcome) for entry in house.trail()] == [("login", "refused"), ("login", "ok"), ("logout", "ok")]


def test_a_session_ends_after_its_hours_and_with_its_key(house: House) -> None:
    browser = house.caller(ELSEWHERE)
    browser.post("/login", data={"key": house.key(UserRole.VIEWER)})
    house.now += 11.9 * 3600.0
    assert browser.get("/api/v1/studies").status_code == 200
    house.now += 0.2 * 3600.0
    assert browser.get("/api/v1/studies").status_code == 401
    other = house.caller(ELSEWHERE)
    other.post("/login", data={"key": house.key(UserRole.REVIEWER)})
    with house.ledger.write() as connection:
        revoke_key(connection, next(row.id for row in list_keys(connection) if row.role == UserRole.REVIEWER), house.now)
    assert other.get("/api/v1/studies").status_code == 401


@pytest.mark.parametrize("forged", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/\nevil"])
def test_the_log_in_leads_to_this_site_only(house: House, forged: str) -> None:
    back = house.caller(ELSEWHERE).post("/login", data={"key": house.key(UserRole.VIEWER), "next": forged})
    assert back.headers["location"] == "/"
    assert "evil" not in house.caller(ELSEWHERE).get("/login", params={"next": forged}).text


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_page_of_another_site_cannot_act_through_a_browser(house: House, headers: dict[str, str]) -> None:
    browser = house.caller(ELSEWHERE)
    browser.post("/login", data={"key": house.key(UserRole.ADMIN)})
    for caller in (browser, house.caller(HERE)):
        assert caller.post(f"/api/v1/studies/{house.study()}/retry", headers=headers).status_code == 403


def test_every_answer_carries_the_headers_that_bound_a_browser(house: House) -> None:
    for answer in (house.caller(ELSEWHERE).get("/api/v1/studies"), house.caller(HERE).get("/"), house.caller(ELSEWHERE).get("/login")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert {"Referrer-Policy", "Cross-Origin-Opener-Policy", "Permissions-Policy"} <= {name.title() for name in answer.headers}


def test_the_trail_notes_who_saw_a_study_changed_something_or_was_refused(house: House) -> None:
    study, key = house.study(), house.key(UserRole.VIEWER)
    caller = house.caller(ELSEWHERE, key=key)
    for _ in range(3):
        caller.get(f"/api/v1/studies/{study}")
    caller.post(f"/api/v1/studies/{study}/retry")
    house.caller(HERE).post(f"/api/v1/studies/{study}/retry")
    house.caller(ELSEWHERE, key="trabecula_wrong").get("/api/v1/studies")
    assert [(entry.actor, entry.action, entry.study_id, entry.outcome) for entry in house.trail()] == [
        ("a viewer", "read", study, "ok"),
        ("a viewer", "refused", study, "403"),
        ("this machine", "change", study, "409"),
        ("", "refused", "", "401"),
    ]


def test_the_trail_cannot_be_changed_and_shows_it_where_the_database_was_forced(house: House) -> None:
    with house.ledger.write() as connection:
        for number in range(5):
            append(connection, _line(f"reader {number}"))
        assert check_chain(connection).broken_at is None

    def forge() -> None:
        with house.ledger.write() as connection:
            connection.execute(text("UPDATE audit SET actor = 'nobody' WHERE id = 3"))

    with pytest.raises(DBAPIError, match="append-only"):
        forge()
    with house.ledger.write() as connection:
        connection.execute(text("DROP TRIGGER audit_no_update"))
    forge()
    with house.ledger.read() as connection:
        found = check_chain(connection)
    assert (found.rows, found.broken_at) == (2, 3)


def _line(actor: str, action: str = "read") -> AuditEntry:
    return AuditEntry(
        at=1_800_000_000.25, actor=actor, role="viewer", via="key", address="10.0.0.1", action=action, study_id="0" * 16, outcome="ok"
    )


def test_a_line_of_the_trail_is_a_dicom_audit_message() -> None:
    from xml.etree import ElementTree

    message = ElementTree.fromstring(audit_message(_line('Rita <"R"> Reader', "export")))
    assert message.tag == "AuditMessage"
    event = message.find("EventIdentification")
    assert event is not None
    assert event.attrib == {"EventActionCode": "R", "EventDateTime": "2027-01-15T08:00:00.250+00:00", "EventOutcomeIndicator": "0"}
    event_id, participant = message.find("EventIdentification/EventID"), message.find("ActiveParticipant")
    assert event_id is not None
    assert participant is not None
    assert (event_id.get("csd-code"), event_id.get("codeSystemName")) == ("110106", "DCM")
    assert participant.get("UserID") == 'Rita <"R"> Reader'


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with identity_provider() as running:
        yield running


@pytest.fixture
def visitor(house: House, provider: Provider) -> TestClient:
    provider.groups, provider.changes, provider.signing_key = ("readers",), {}, None
    house.now = time.time()
    roles = {"readers": "reviewer", "physics": "physicist"}
    return house.caller(ELSEWHERE, oidc=OidcSettings(issuer=provider.issuer, client_id="trabecula", roles=roles))


def _log_in(visitor: TestClient, provider: Provider) -> Any:
    away = visitor.get("/login/oidc", params={"next": "/?state=done"})
    back = urlsplit(provider.authorize(away.headers["location"]))
    return visitor.get(f"{back.path}?{back.query}")


def test_a_person_of_the_sites_identity_provider_gets_the_role_of_their_group(
    house: House, visitor: TestClient, provider: Provider
) -> None:
    answer = _log_in(visitor, provider)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?state=done")
    assert visitor.get("/api/v1/studies").status_code == 200
    assert visitor.post(f"/api/v1/studies/{house.study()}/retry").status_code == 409
    assert visitor.post("/api/v1/calibrations", content="x").status_code == 403
    assert house.trail()[0].actor == "rita.reader"


def test_a_person_without_a_group_of_ours_is_refused(visitor: TestClient, provider: Provider) -> None:
    provider.groups = ("others",)
    answer = _log_in(visitor, provider)
    assert answer.status_code == 401
    assert "no role here" in answer.text


@pytest.mark.parametrize(
    "lie",
    [
        {"iss": "https://evil.example"},
        {"aud": "another-service"},
        {"nonce": "of another log-in"},
        {"exp": 1_700_000_000},
        {"nonce": None},
        {"exp": None},
    ],
    ids=str,
)
def test_an_id_token_that_is_not_for_this_log_in_is_refused(
    visitor: TestClient, provider: Provider, lie: dict[str, Any], house: House
) -> None:
    provider.changes = lie
    assert _log_in(visitor, provider).status_code == 401
    assert visitor.get("/api/v1/studies").status_code == 401


def test_an_id_token_with_another_signature_is_refused(visitor: TestClient, provider: Provider) -> None:
    from joserfc.jwk import RSAKey

    provider.signing_key = RSAKey.generate_key(2048, {"kid": "one"})
    assert _log_in(visitor, provider).status_code == 401


def test_a_log_in_can_be_finished_once_and_only_if_it_was_begun_here(visitor: TestClient, provider: Provider) -> None:
    away = visitor.get("/login/oidc")
    back = urlsplit(provider.authorize(away.headers["location"]))
    assert visitor.get(f"{back.path}?{back.query}").status_code == 303
    assert visitor.get(f"{back.path}?{back.query}").status_code == 401
    assert visitor.get("/login/oidc/callback?state=made-up&code=x").status_code == 401
