"""A person puts a waiting study first: by REST, by the client and on its page, with a note of who did."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from builders.results import Column, column_result
from builders.site import Site
from trabecula_service.ledger.schema import events, jobs, studies, versions
from trabecula_service.ledger.states import State
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.queue.port import Priority
from trabecula_service.security.rights import Right, right_for

RESULT = column_result(Column(names=("L1",), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80)))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def waiting(site: Site, number: int) -> str:
    """A study in the queue."""
    study_id = site.add(number, RESULT, state=State.QUEUED)
    with site.ledger.write() as connection:
        version_id = connection.execute(select(versions.c.id).where(versions.c.study_id == study_id)).scalar_one()
        LeaseTable(lease_seconds=60.0).enqueue(connection, version_id, 0.0)
    return study_id


def test_it_takes_the_right_to_review() -> None:
    assert {right_for("POST", f"{root}/studies/0123456789abcdef/first") for root in ("", "/api/v1")} == {Right.REVIEW}


def test_the_client_puts_a_study_first_and_its_history_says_so(site: Site) -> None:
    waiting(site, 1)
    wanted = waiting(site, 2)
    assert site.client.put_first(wanted).first
    assert site.client.put_first(wanted).first
    with site.ledger.read() as connection:
        assert connection.execute(select(studies.c.priority).order_by(studies.c.id)).scalars().all() == [Priority.ROUTINE, Priority.STAT]
        assert connection.execute(select(jobs.c.priority).order_by(jobs.c.id)).scalars().all() == [Priority.ROUTINE, Priority.STAT]
        notes = connection.execute(select(events.c.study_id, events.c.reason, events.c.actor)).all()
    assert [tuple(note) for note in notes] == [(wanted, "put before all others by hand", "api")]


def test_the_page_offers_it_while_the_study_waits_and_no_longer(site: Site) -> None:
    study_id = waiting(site, 1)
    page = site.http.get(f"/studies/{study_id}").text
    assert "Analyse first" in page
    after = site.http.post(f"/studies/{study_id}/first").text
    assert "Analyse first" not in after
    assert "goes before all others" in after
    done = site.add(2, RESULT)
    assert "Analyse first" not in site.http.get(f"/studies/{done}").text


def test_what_does_not_wait_is_answered_with_a_reason(site: Site) -> None:
    done = site.add(1, RESULT)
    assert site.http.post(f"/api/v1/studies/{done}/first").status_code == 409
    assert site.http.post(f"/api/v1/studies/{'0' * 16}/first").status_code == 404
    assert site.http.post(f"/studies/{done}/first", follow_redirects=False).status_code == 303
