"""The migrations make exactly the tables that the code uses, on both databases and from every released schema."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from builders.ledger import enter
from builders.postgres import PostgresServer
from builders.small_ct import small_ct
from trabecula_morphometry.errors import SettingsError
from trabecula_service.ledger.database import Ledger, migrate, newest_revision, open_ledger, revisions
from trabecula_service.ledger.outbox import outbox_counts
from trabecula_service.ledger.queries import count_instances, count_states
from trabecula_service.ledger.schema import deliveries, documents, instances, metadata, studies, versions
from trabecula_service.ledger.states import State
from trabecula_service.receive.header import ObjectHeader
from trabecula_service.receive.intake import StoredObject, record_object

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(params=DATABASES)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """Where a ledger can be made; nothing is there yet."""
    if request.param == "sqlite":
        yield tmp_path / "ledger.sqlite"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create()
    yield server.address(name)
    server.drop(name)


@pytest.fixture(params=DATABASES)
def any_ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """A ledger of the newest schema."""
    if request.param == "sqlite":
        yield request.getfixturevalue("ledger")
        return
    opened = Ledger(request.getfixturevalue("postgres_address"))
    yield opened
    opened.close()


def test_the_migrated_schema_is_the_schema_of_the_code(any_ledger: Ledger) -> None:
    def ours(_object: object, name: str | None, _type: str, _reflected: bool, _compared: object) -> bool:
        return not str(name).startswith(("procrastinate_", "idx_procrastinate_"))

    with any_ledger.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"include_object": ours}), metadata) == []


def test_commits_are_synced_and_readers_do_not_wait(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def _a_study_of_the_first_schema(connection: Connection, study: str) -> None:
    """Rows as the first schema had them: every later one must take and keep them."""
    connection.execute(
        text(
            "INSERT INTO studies (id, study_instance_uid, patient_key, patient_name, patient_id, accession_number, study_date, "
            "study_description, first_received_at, latest_version) VALUES (:id, :id, 'k', 'n', 'p', 'a', 'd', 's', 5.0, 2)"
        ),
        {"id": study},
    )
    for number, state in ((1, "superseded"), (2, "done")):
        connection.execute(
            text(
                "INSERT INTO versions (study_id, number, state, reason, state_since, first_object_at, last_activity_at) "
                "VALUES (:id, :number, :state, 'r', 5.0, 5.0, 5.0)"
            ),
            {"id": study, "number": number, "state": state},
        )
    connection.execute(
        text(
            "INSERT INTO instances (sop_instance_uid, sop_class_uid, transfer_syntax_uid, series_instance_uid, study_id, kind, reason, "
            "sha256, size_bytes, received_at, repeats) VALUES (:id, 'c', 't', '1.2', :id, 'ct', 'r', 'h', 7, 5.0, 3)"
        ),
        {"id": study},
    )


def test_a_ledger_of_every_released_schema_is_brought_up_with_its_rows(empty_database: Path | str) -> None:
    old = Ledger(empty_database)
    released = revisions()[:-1]
    for revision in released:
        # A study of each schema goes through all later ones.
        migrate(old, revision)
        with old.write() as connection:
            _a_study_of_the_first_schema(connection, f"made in {revision}")
    old.close()
    ledger = open_ledger(empty_database)
    with ledger.read() as connection:
        rows = connection.execute(select(studies.c.id, studies.c.state, studies.c.priority).order_by(studies.c.id)).all()
        assert [tuple(row) for row in rows] == [(f"made in {revision}", "done", 0) for revision in released]
        assert connection.execute(select(instances.c.size_bytes)).scalars().all() == [7] * len(released)
        assert count_states(connection)[State.DONE] == len(released)
        counted = count_instances(connection)
        assert (counted["ct"], counted["repeats"]) == (len(released), 3 * len(released))
    ledger.close()


def test_a_ledger_of_a_newer_program_is_refused_in_words(empty_database: Path | str) -> None:
    ledger = open_ledger(empty_database)
    with ledger.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    ledger.close()
    with pytest.raises(SettingsError, match="newer version"):
        open_ledger(empty_database)


def test_a_role_that_may_not_migrate_asks_for_it(empty_database: Path | str) -> None:
    Ledger(empty_database).close()
    with pytest.raises(SettingsError, match="trabecula migrate"):
        open_ledger(empty_database, may_migrate=False)
    open_ledger(empty_database).close()
    open_ledger(empty_database, may_migrate=False).close()


def test_the_counts_kept_by_triggers_are_those_of_the_rows(any_ledger: Ledger) -> None:
    first, second, third = small_ct(slices=3)
    enter(any_ledger, first, 0.0)
    enter(any_ledger, first, 1.0)
    enter(any_ledger, small_ct(slices=1, PatientID="other")[0], 1.0)
    with any_ledger.write() as connection:
        connection.execute(versions.update().values(state="done"))
    enter(any_ledger, second, 2.0)
    changed = third.copy()
    enter(any_ledger, third, 3.0)
    changed.PixelData = b"\x07" * len(third.PixelData)
    enter(any_ledger, changed, 4.0)
    with any_ledger.read() as connection:
        latest = (versions.c.study_id == studies.c.id) & (versions.c.number == studies.c.latest_version)
        rows = connection.execute(
            select(versions.c.state, func.count()).select_from(studies).join(versions, latest).group_by(versions.c.state)
        )
        counted = {state: count for state, count in count_states(connection).items() if count}
        assert counted == {State(state): count for state, count in rows} == {State.RECEIVING: 1, State.DONE: 1}
        kinds = connection.execute(select(instances.c.kind, func.count()).group_by(instances.c.kind))
        tallies = count_instances(connection)
        assert {kind: tallies[kind] for kind, _ in kinds.all()} == {"ct": 4, "conflict": 1}
        assert tallies["repeats"] == 1


def test_the_counts_of_parcels_are_those_of_the_rows(any_ledger: Ledger) -> None:
    enter(any_ledger, small_ct(slices=1)[0], 0.0)
    with any_ledger.write() as connection:
        version_id = connection.execute(select(versions.c.id)).scalar_one()
        document = {"version_id": version_id, "name": "a", "path": "a", "sha256": "0", "size_bytes": 1}
        document_id = connection.execute(insert(documents).values(document).returning(documents.c.id)).scalar_one()
        parcel = {"document_id": document_id, "version_id": version_id, "state": "pending", "created_at": 0.0, "available_at": 0.0}
        connection.execute(insert(deliveries), [{**parcel, "destination": name} for name in ("pacs", "ward 7", "ris")])
        connection.execute(deliveries.update().where(deliveries.c.destination == "pacs").values(state="delivered"))
        connection.execute(deliveries.delete().where(deliveries.c.destination == "ris"))
    with any_ledger.read() as connection:
        assert outbox_counts(connection) == {("pacs", "delivered"): 1, ("ward 7", "pending"): 1}


@pytest.mark.parametrize("change", ["UPDATE calibration_entries SET toml = ''", "DELETE FROM calibration_entries"])
def test_what_is_append_only_cannot_be_changed(any_ledger: Ledger, change: str) -> None:
    def attempt() -> None:
        with any_ledger.write() as connection:
            connection.execute(text("INSERT INTO calibration_entries VALUES ('a', 'h', 't', 0.0, 'x')"))
            connection.execute(text(change))

    with pytest.raises(DBAPIError, match="append-only"):
        attempt()


def test_a_writer_waits_for_its_turn(any_ledger: Ledger, run_in_thread: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
    order: list[str] = []

    def second() -> None:
        with any_ledger.write() as connection:
            count = connection.execute(select(func.count()).select_from(studies)).scalar_one()
            order.append(f"second sees {count}")

    with any_ledger.write() as connection:
        connection.execute(select(func.count()).select_from(studies))
        wait = run_in_thread(second)
        order.append("first")
        connection.execute(text("INSERT INTO processes VALUES ('r', 'w', 'h', 0.0, 0.0)"))
    wait()
    assert order == ["first", "second sees 0"]


@pytest.mark.parametrize("written", ["A" * 250, "Miller\x00^Jo", "Müller^山田"])
def test_what_a_sender_writes_never_keeps_an_object_out(any_ledger: Ledger, written: str) -> None:
    stored = StoredObject(
        sop_instance_uid="1.2.3", sop_class_uid="1.2", transfer_syntax_uid="1.2.1", sha256="0", size_bytes=2**33, association_id=None
    )
    uids = {"sop_class_uid": "1.2", "sop_instance_uid": "1.2.3", "study_instance_uid": written, "series_instance_uid": written}
    header = ObjectHeader(**uids, patient_name=written, patient_id=written, accession_number=written, study_date=written)
    with any_ledger.write() as connection:
        record_object(connection, stored, header, 0.0)
    with any_ledger.read() as connection:
        names = connection.execute(select(studies.c.patient_name)).scalar_one()
        size = connection.execute(select(instances.c.size_bytes)).scalar_one()
    assert (names.replace("\x00", ""), size) == (written.replace("\x00", ""), 2**33)


def test_the_newest_revision_is_the_last_of_one_line() -> None:
    assert newest_revision() == max(revisions())
