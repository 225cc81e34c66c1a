"""The work list on both databases: the order of reading, the lists, and the search for a patient in any spelling."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from trabecula_service.ledger.database import Ledger, open_ledger
from trabecula_service.ledger.reviews import Attention
from trabecula_service.ledger.schema import studies, versions
from trabecula_service.ledger.states import State
from trabecula_service.ledger.work_list import Show, WorkFilter, count_work, list_work

NAMES = ("MÜLLER^ANNA", "Müller^Zoë", "Yamada^Tarou=山田^太郎", "O'Brien^Pat", "Smith_Jones^A", "Smithers^B")


@pytest.fixture(params=("sqlite", "postgresql"))
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    sqlite = request.param == "sqlite"
    opened = open_ledger(tmp_path / "ledger.sqlite") if sqlite else Ledger(request.getfixturevalue("postgres_address"))
    yield opened
    opened.close()


def add(
    ledger: Ledger, number: int, *, name: str = "X^Y", attention: Attention = Attention.ROUTINE, verdict: str = "", state: str = "done"
) -> None:
    row = {
        "id": f"{number:016x}", "study_instance_uid": f"1.2.{number}", "patient_key": "k", "patient_name": name, "patient_id": f"P{number}",
        "accession_number": f"A{number}", "study_date": "", "study_description": "", "first_received_at": float(number),
        "latest_version": 1, "attention": int(attention), "verdict": verdict,
    }  # fmt: skip
    with ledger.write() as connection:
        connection.execute(insert(studies).values(**row))
        connection.execute(
            insert(versions).values(
                study_id=row["id"], number=1, state=State(state), reason="r", state_since=0.0, first_object_at=0.0, last_activity_at=0.0
            )
        )


def found(ledger: Ledger, **wanted: object) -> list[int]:
    with ledger.read() as connection:
        rows = list_work(connection, WorkFilter(**wanted), limit=50, offset=0)  # type: ignore[arg-type]
        assert count_work(connection, WorkFilter(**wanted)) == len(rows)  # type: ignore[arg-type]
    return [int(row.id, 16) for row in rows]


def test_what_is_urgent_is_read_first_and_what_is_signed_or_not_measured_is_not_there(ledger: Ledger) -> None:
    for number, attention, verdict, state in (
        (1, Attention.FIRST, "", "done"),
        (2, Attention.ROUTINE, "", "done"),
        (3, Attention.NOTE, "", "delivering"),
        (4, Attention.FIRST, "amended", "done"),
        (5, Attention.NONE, "", "failed"),
        (6, Attention.FIRST, "", "done"),
        (7, Attention.ROUTINE, "accepted", "done"),
    ):
        add(ledger, number, attention=attention, verdict=verdict, state=state)
    assert found(ledger, show=Show.TO_READ) == [6, 1, 3, 2]
    assert found(ledger, show=Show.TO_READ, attention=Attention.NOTE) == [3]
    assert found(ledger, show=Show.SIGNED) == [7, 4]
    assert found(ledger, show=Show.TROUBLE) == [5]
    assert found(ledger, show=Show.ALL) == [7, 6, 5, 4, 3, 2, 1]
    with ledger.read() as connection:
        pages = [list_work(connection, WorkFilter(show=Show.TO_READ), limit=3, offset=offset) for offset in (0, 3)]
    assert [int(row.id, 16) for page in pages for row in page] == [6, 1, 3, 2]


def test_a_patient_is_found_by_the_beginning_of_the_name_or_by_a_whole_number(ledger: Ledger) -> None:
    for number, name in enumerate(NAMES):
        add(ledger, number, name=name)
    wanted: dict[str, list[int]] = {
        "müller": [1, 0],
        "Müller, Z": [1],
        "MÜLL": [1, 0],
        "山田": [2],
        "yam": [2],
        "o'brien": [3],
        "smith": [5, 4],
        "Smith_": [4],
        "P3": [3],
        "A4": [4],
        "ller": [],
        "%": [],
        "'; DROP TABLE studies; --": [],
    }
    assert {text: found(ledger, patient=text) for text in wanted} == wanted
