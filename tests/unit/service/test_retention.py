"""Received images go only after confirmed delivery and the retention time, and nothing else is lost with them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import encode
from sqlalchemy import insert, select, update

from builders.ledger import states_of
from builders.small_ct import small_ct
from trabecula_morphometry.errors import SettingsError
from trabecula_service.deliver.retention import Sweeper
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.outbox import post
from trabecula_service.ledger.queries import count_instances, count_states, find_document, list_documents, list_events, list_studies
from trabecula_service.ledger.retention import RetentionRule, why_kept
from trabecula_service.ledger.retry import retry_study
from trabecula_service.ledger.schema import deletions, deliveries, documents, instances, studies, versions
from trabecula_service.ledger.stages import account
from trabecula_service.ledger.states import State, StateError, move
from trabecula_service.ops.backup import back_up
from trabecula_service.ops.data_folder import DataFolder
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.receive.commitment import judge
from trabecula_service.receive.commits import SharedCommits
from trabecula_service.receive.completion import settle_due
from trabecula_service.receive.intake import Intake
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.receive.storing import Intaker
from trabecula_service.render.reading_images import FILE_NAME
from trabecula_service.security.audit import AuditEntry, append, check_chain, read_all
from trabecula_service.settings.receive import SeriesSettings

DAY = 86400.0
RULE = RetentionRule(seconds=30 * DAY, only_signed=False)
SERIES = SeriesSettings(quiet_seconds=10.0)
LEASES = LeaseTable(lease_seconds=60.0)


class Site:
    """A data folder with a ledger, a door for objects, and a clock that the test turns."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger, self.now = ledger, 1000.0
        self.folder = DataFolder(folder)
        self.folder.open()
        self.store = ObjectStore(self.folder.objects)
        self._commits = SharedCommits(ledger)
        self._intaker = Intaker(self.store, self._commits, data=self.folder.root, reserve_free_gib=0.0, clock=lambda: self.now)

    def send(self, *images: Dataset) -> list[Intake]:
        return [self._keep(image) for image in images]

    def _keep(self, image: Dataset) -> Intake:
        names = str(image.SOPClassUID), str(image.SOPInstanceUID), str(ExplicitVRLittleEndian)
        writer = self._intaker.begin(*names)
        writer.write(encode(image, False, True) or b"")
        return self._intaker.keep(writer, *names, None)

    def deliver(self, study: str) -> None:
        """What worker and deliverer would write."""
        result = self.folder.results / study
        result.mkdir()
        with self.ledger.write() as connection:
            version_id = connection.execute(select(versions.c.id).where(versions.c.study_id == study)).scalars().all()[-1]
            for name in ("report.sr.dcm", FILE_NAME):
                (result / name).write_bytes(name.encode())
                row = {"version_id": version_id, "name": name, "path": f"results/{study}/{name}", "sha256": "0", "size_bytes": len(name)}
                connection.execute(insert(documents).values(**row))
            for state in (State.SETTLED, State.QUEUED, State.RUNNING, State.MEASURED):
                move(connection, version_id, state, reason="test", actor="test", now=self.now)
            post(connection, version_id, {"pacs": ("report.sr.dcm",)}, self.now)
            move(connection, version_id, State.DELIVERING, reason="test", actor="test", now=self.now)
            connection.execute(update(deliveries).values(state="delivered", delivered_at=self.now))
            move(connection, version_id, State.DONE, reason="test", actor="test", now=self.now)

    def sweep(self, rule: RetentionRule = RULE) -> None:
        sweeper = Sweeper(self.ledger, self.store, self.folder.root, rule, clock=lambda: self.now)
        while sweeper.step():
            pass

    def files(self) -> int:
        return sum(1 for path in self.folder.objects.rglob("*.dcm"))

    def study(self):
        with self.ledger.read() as connection:
            (row,) = list_studies(connection, state=None, limit=9, offset=0)
        return row


@pytest.fixture
def site(ledger: Ledger, tmp_path: Path) -> Site:
    return Site(ledger, tmp_path)


@pytest.fixture
def delivered(site: Site) -> tuple[Site, list[Dataset]]:
    """A site with one study of three images that was delivered."""
    images = small_ct(slices=3)
    site.send(*images)
    site.deliver(site.study().id)
    return site, images


def test_images_go_after_the_retention_time_and_documents_stay(delivered: tuple[Site, list[Dataset]]) -> None:
    site, _ = delivered
    site.now += 29 * DAY
    site.sweep()
    assert site.files() == 3
    site.now += 2 * DAY
    site.sweep()
    assert site.files() == 0
    study = site.study()
    assert (study.state, study.images_deleted_at) == (State.DONE, site.now)
    with site.ledger.read() as connection:
        assert [document.name for document in list_documents(connection, study.version_id)] == ["report.sr.dcm"]
        assert find_document(connection, study.id, 1, FILE_NAME) is None
        assert "3 received objects deleted, 30 days after delivery" in list_events(connection, study.id)[0].reason
        ((_, entry, _),) = read_all(connection)
        assert (entry.action, entry.study_id, entry.detail.split(",")[0]) == ("delete", study.id, "3 received objects")
        assert check_chain(connection).broken_at is None
        assert connection.execute(select(deletions.c.finished_at)).scalars().all() == [site.now]
        # What was received was received: the accounts go on adding up.
        assert (count_states(connection)[State.DONE], count_instances(connection)["ct"]) == (1, 3)
        assert account(connection) == {"received": 1, "reported": 1, "refused": 0, "failed": 0, "pending": 0}
    assert (site.folder.results / study.id / "report.sr.dcm").exists()
    assert not (site.folder.results / study.id / FILE_NAME).exists()


def _failed(site: Site, study: str) -> None:
    with site.ledger.write() as connection:
        connection.execute(update(deliveries).values(state="failed"))


def _pending(site: Site, study: str) -> None:
    with site.ledger.write() as connection:
        connection.execute(update(deliveries).values(state="pending"))


def _never_posted(site: Site, study: str) -> None:
    with site.ledger.write() as connection:
        connection.execute(deliveries.delete())


def _delivered_again_lately(site: Site, study: str) -> None:
    with site.ledger.write() as connection:
        connection.execute(update(deliveries).values(delivered_at=site.now - 29 * DAY))


def _failed_state(site: Site, study: str) -> None:
    with site.ledger.write() as connection:
        connection.execute(update(versions).values(state=State.FAILED))


def _in_conflict(site: Site, study: str) -> None:
    with site.ledger.write() as connection:
        connection.execute(update(instances).where(instances.c.id == 1).values(kind="conflict"))


def _being_read(site: Site, study: str) -> None:
    look = {"at": site.now - 3600.0, "actor": "Rita", "role": "reviewer", "via": "session", "address": "", "action": "read"}
    with site.ledger.write() as connection:
        append(connection, AuditEntry(**look, study_id=study, outcome="ok"))


def _late_image(site: Site, study: str) -> None:
    with site.ledger.read() as connection:
        uid = connection.execute(select(studies.c.study_instance_uid)).scalar_one()
    site.send(*small_ct(slices=1, first=9, study_uid=uid))


@pytest.mark.parametrize(
    ("hinder", "why"),
    [
        (_failed, "not every document was delivered"),
        (_pending, "not every document was delivered"),
        (_never_posted, "nothing of it was delivered anywhere"),
        (_delivered_again_lately, "delivered within the retention time"),
        (_failed_state, "the study is failed"),
        (_in_conflict, "set aside"),
        (_being_read, "somebody looked at it"),
        (_late_image, "the study is receiving"),
    ],
)
def test_images_stay_as_long_as_anything_of_the_study_is_open(
    delivered: tuple[Site, list[Dataset]], hinder: Callable[[Site, str], None], why: str
) -> None:
    site, _ = delivered
    site.now += 40 * DAY
    hinder(site, site.study().id)
    before = site.files()
    site.sweep()
    with site.ledger.read() as connection:
        assert why in why_kept(connection, site.study().id, RULE, site.now)
    assert site.files() == before


def test_images_wait_for_a_signature_where_the_site_wants_it(delivered: tuple[Site, list[Dataset]]) -> None:
    site, _ = delivered
    rule = RetentionRule(seconds=RULE.seconds, only_signed=True)
    site.now += 40 * DAY
    site.sweep(rule)
    assert site.files() == 3
    with site.ledger.write() as connection:
        connection.execute(update(studies).values(verdict="accepted"))
    site.sweep(rule)
    assert site.files() == 0


def test_a_stop_between_mark_and_file_is_taken_up(delivered: tuple[Site, list[Dataset]], monkeypatch: pytest.MonkeyPatch) -> None:
    site, _ = delivered
    site.now += 40 * DAY
    real = site.store.delete
    deleted = list[str]()

    def killed(hashes: Sequence[str]) -> set[Path]:
        deleted.extend(hashes[:1])
        real(hashes[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(site.store, "delete", killed)
    with pytest.raises(KeyboardInterrupt):
        site.sweep()
    assert site.files() == 2
    assert site.study().images_deleted_at == site.now, "nothing is said to be there that may be gone"
    monkeypatch.setattr(site.store, "delete", real)
    site.sweep()
    assert site.files() == 0
    with site.ledger.read() as connection:
        assert len(list(read_all(connection))) == 1, "decided once"


def test_what_is_sent_again_after_the_deletion_is_kept_again(delivered: tuple[Site, list[Dataset]]) -> None:
    site, images = delivered
    site.now += 40 * DAY
    site.sweep()
    references = [(str(image.SOPClassUID), str(image.SOPInstanceUID)) for image in images]
    with site.ledger.read() as connection:
        assert [reason for *_, reason in judge(connection, references).failed] == [0x0112] * 3, "no promise for what is gone"
    assert [(intake.repeated, intake.was_deleted) for intake in site.send(*images[:2])] == [(True, True)] * 2
    assert (site.files(), site.study().images_deleted_at is not None) == (2, True)
    site.send(*images)
    assert (site.files(), site.study().images_deleted_at, site.study().state) == (3, None, State.DONE)
    with site.ledger.read() as connection:
        assert judge(connection, references).failed == ()
        assert count_instances(connection)["ct"] == 3
    site.sweep()
    assert site.files() == 3, "the time counts anew"
    site.now += 40 * DAY
    site.sweep()
    assert site.files() == 0


def test_bytes_that_go_while_they_come_again_are_not_acknowledged(
    delivered: tuple[Site, list[Dataset]], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, images = delivered
    site.now += 40 * DAY
    site.sweep()
    monkeypatch.setattr(site.store, "is_there", lambda _sha256: False)
    with pytest.raises(OSError, match="while it came again"):
        site.send(images[0])
    assert site.study().images_deleted_at is not None


def test_a_late_image_alone_does_not_replace_the_result_of_images_that_are_gone(delivered: tuple[Site, list[Dataset]]) -> None:
    site, images = delivered
    site.now += 40 * DAY
    site.sweep()
    (late,) = small_ct(slices=1, first=3, study_uid=str(images[0].StudyInstanceUID))
    site.send(late)
    site.now += 60.0
    with site.ledger.write() as connection:
        settle_due(connection, LEASES, SERIES, site.now)
    study = site.study()
    assert (study.version, study.state) == (2, State.SKIPPED)
    assert "3 of 4 images were deleted after the retention time; send the whole study again" in study.reason

    def retry() -> State:
        with site.ledger.write() as connection:
            return retry_study(connection, LEASES, study.id, actor="test", now=site.now)

    with pytest.raises(StateError, match="send it again first"):
        retry()
    site.send(*images)
    assert retry() is State.QUEUED
    assert states_of(site.ledger) == [(1, State.SUPERSEDED), (2, State.QUEUED)]


def test_a_backup_names_only_what_is_there(delivered: tuple[Site, list[Dataset]], tmp_path: Path) -> None:
    site, _ = delivered
    site.now += 40 * DAY
    site.sweep()
    made = back_up(site.folder.root, tmp_path / "backup")
    assert (made.objects, made.documents) == (0, 1)
    (site.folder.results / site.study().id / "report.sr.dcm").unlink()
    with pytest.raises(SettingsError, match="cannot be backed up"):
        back_up(site.folder.root, tmp_path / "other")
