"""What people and programs see of a running service, and what they must never see of a patient."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from builders.calibrations import ENTRY
from builders.service import Collector, RunningService, running_service, send, wait_ticks
from builders.small_ct import small_ct
from trabecula_calibration.entries import entry_toml

MARK = "ZQXMARKZQX"
SCRIPT = "<script>alert(1)</script>"


def _marked(description: str, **fields: str) -> list[Dataset]:
    names = {
        "PatientName": f"{MARK}^Name",
        "PatientID": f"{MARK}-ID",
        "PatientBirthDate": "19320229",
        "AccessionNumber": MARK[:12],
        "StudyDescription": f"{MARK} {SCRIPT}",
        "OtherPatientIDs": MARK,
        "InstitutionName": MARK,
        "ReferringPhysicianName": MARK,
    }
    return small_ct(slices=2, description=description, **{**names, **fields})


@pytest.fixture(scope="module")
def pacs() -> Iterator[Collector]:
    collector = Collector().start()
    yield collector
    collector.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, pacs: Collector) -> Iterator[RunningService]:
    """A service through which one study of each fate has gone, all with marked names."""
    with running_service(tmp_path_factory.mktemp("service"), pacs_port=pacs.port) as running:
        good = _marked("chest")
        send(running.dicom_port, good)
        for description in ("error", "refuse", "headct"):
            send(running.dicom_port, _marked(description))
        good[0].PixelData = b"\x01" * 128
        send(running.dicom_port, good[:1])
        with warnings.catch_warnings():
            # A date that is none makes the parser warn with the value in its text, here and in the service.
            warnings.simplefilter("ignore")
            send(running.dicom_port, _marked("chest", StudyDate=MARK, PatientBirthDate=MARK))
        send(running.dicom_port, good, address="127.0.0.2")
        running.wait_for("done", "failed", "skipped", count=5)
        yield running


def _study(service: RunningService, state: str) -> str:
    return str(next(row["id"] for row in service.studies() if row["state"] == state))


def test_no_patient_data_in_the_log(service: RunningService) -> None:
    log = service.log()
    assert MARK not in log
    assert "19320229" not in log
    events = {json.loads(line)["event"] for line in log.splitlines()}
    assert {"started", "analysed", "attempt_failed", "delivery_tried", "object_set_aside", "caller_refused"} <= events, (
        "the log is not just empty"
    )


def test_no_patient_data_in_metrics_addresses_and_file_names(service: RunningService) -> None:
    assert MARK not in service.get("/metrics").text
    assert MARK not in service.get("/api/v1/studies").text
    assert MARK not in service.get(f"/api/v1/studies/{_study(service, 'failed')}").text
    data = service.config.parent / "data"
    assert [path for path in data.rglob("*") if MARK in str(path)] == []


def test_the_work_list_shows_the_patient_with_everything_escaped(service: RunningService) -> None:
    page = service.get("/?show=all").text
    assert f"{MARK}, Name" in page
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page
    assert "script-src 'self'" in service.get("/").headers["content-security-policy"]


def test_the_work_list_begins_with_what_is_to_be_read(service: RunningService) -> None:
    page = service.get("/").text
    assert page.count('class="open"') == 2
    assert "Vertebral height loss: L2 32 %" in page
    assert "NO_SPINE" not in page
    assert "NO_SPINE" in service.get("/?show=trouble").text


def test_a_list_in_which_nothing_is_new_is_not_sent_again(service: RunningService) -> None:
    asking = {"HX-Request": "true"}
    for _ in wait_ticks(20):
        # The list says how long ago things were, so two looks may fall into different minutes.
        fingerprint = service.get("/?show=signed", headers=asking).text.partition('data-fingerprint="')[2].partition('"')[0]
        if service.get(f"/?show=signed&seen={fingerprint}", headers=asking).status_code == 204:
            return
    raise AssertionError("an unchanged list was sent again and again")


def test_a_patient_is_searched_without_a_name_in_the_address(service: RunningService) -> None:
    assert service.post("/search", data={"patient": MARK.lower()}).text.count('class="open"') == 5
    assert service.post("/search", data={"patient": f"{MARK}-ID"}).text.count('class="open"') == 5
    assert service.post("/search", data={"patient": "%"}).text.count('class="open"') == 0
    assert service.get(f"/search?patient={MARK}").status_code in (404, 405)


def test_the_administrator_sees_how_to_let_a_refused_caller_in_and_counts_that_add_up(service: RunningService) -> None:
    page = service.get("/administration").text
    assert "SCANNER@127.0.0.2" in page
    assert MARK not in page
    assert "C-ECHO answered" in service.post("/administration/destinations/pacs/test").text
    assert service.post("/administration/destinations/none/test").status_code == 404


def test_the_physicist_adds_an_entry_on_the_page_and_a_wrong_one_is_refused_with_the_reason(service: RunningService) -> None:
    assert "No entry yet." in service.get("/physicist").text
    refused = service.post("/physicist/entries", data={"toml": "[[entry]]\nid = 'x'\n"})
    assert refused.status_code == 422
    assert "Not added" in refused.text
    assert service.post("/physicist/entries", data={"toml": entry_toml(ENTRY)}).status_code == 200
    page = service.get("/physicist").text
    assert "ge-120" in page
    assert "0.7400 × HU" in page


def test_the_counts_add_up(service: RunningService) -> None:
    listed = service.get("/api/v1/studies").json()
    assert sum(listed["counts"].values()) == listed["received"] == 5
    assert listed["objects"] == {"ct": 10, "other": 0, "own_result": 0, "unreadable": 0, "conflict": 1, "repeats": 0}


def test_the_page_of_a_study_shows_the_result_its_documents_and_its_history(service: RunningService) -> None:
    page = service.get(f"/studies/{_study(service, 'done')}").text
    for text in (
        "Vertebral height loss: L2 32 %",
        "17.0 / 20.0 / 25.0",
        "2 wedge",
        "FRACTURED",
        "report.pdf.dcm",
        "delivered",
        "first object received",
    ):
        assert text in page


def test_a_refused_study_shows_its_code_with_advice(service: RunningService) -> None:
    page = service.get(f"/studies/{_study(service, 'skipped')}").text
    assert "NO_SPINE" in page
    assert "Send a series that shows the spine" in page
    assert "Try again" in page


def test_the_state_filter_and_paging(service: RunningService) -> None:
    failed = service.get("/api/v1/studies?state=failed").json()["studies"]
    assert [row["state"] for row in failed] == ["failed", "failed"]
    pages = [service.get(f"/api/v1/studies?limit=2&offset={offset}").json()["studies"] for offset in (0, 2, 4)]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert len({row["id"] for page in pages for row in page}) == 5
    assert service.get("/?state=failed").text.count('class="open"') == 2


def test_documents_are_the_delivered_bytes(service: RunningService) -> None:
    detail = service.study(_study(service, "done"))
    (document,) = [entry for entry in detail["versions"][0]["documents"] if entry["name"] == "report.sr.dcm"]
    import hashlib

    answer = service.get(document["url"])
    assert hashlib.sha256(answer.content).hexdigest() == document["sha256"]
    assert answer.headers["content-type"] == "application/dicom"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/studies/0000000000000000", 404),
        ("/api/v1/studies/none", 422),
        ("/api/v1/studies?state=unknown", 422),
        ("/api/v1/studies?limit=100000", 422),
        ("/api/v1/results/0000000000000000", 404),
        ("/nothing", 404),
    ],
)
def test_errors_are_problems(service: RunningService, path: str, status: int) -> None:
    answer = service.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["detail"]


def test_a_document_name_cannot_leave_the_folder(service: RunningService) -> None:
    study = _study(service, "done")
    for name in ("..%2f..%2fledger.sqlite", "ledger.sqlite", "%2e%2e"):
        assert service.get(f"/api/v1/studies/{study}/versions/1/documents/{name}").status_code == 404


def test_another_try_is_for_what_failed(service: RunningService) -> None:
    assert service.post(f"/api/v1/studies/{_study(service, 'done')}/retry").status_code == 409
    failed = next(row["id"] for row in service.studies() if "transfer syntax" in row["reason"])
    assert service.post(f"/api/v1/studies/{failed}/retry").json() == {"id": failed, "state": "queued"}
    for _ in wait_ticks(30):
        if service.study(failed)["study"]["state"] == "failed":
            break
    assert "another try was asked for" in [entry["reason"] for entry in service.study(failed)["history"]]


def test_a_page_of_another_site_cannot_act_or_read(service: RunningService) -> None:
    failed = _study(service, "failed")
    assert service.post(f"/studies/{failed}/retry", headers={"Origin": "https://evil.example"}).status_code == 403
    import httpx2

    assert httpx2.get(service.url + "/", headers={"Host": "evil.example"}).status_code == 421


def test_health_and_metrics_tell_how_it_is(service: RunningService) -> None:
    health = service.get("/healthz").json()
    assert (health["status"], health["problems"]) == ("ok", [])
    assert {"settle", "worker", "deliver-pacs"} <= set(health["heartbeat_age_s"])
    assert 'trabecula_studies{state="done"} 2.0' in service.get("/metrics").text
    assert 'trabecula_skipped_studies{code="NO_SPINE"} 1.0' in service.get("/metrics").text


def test_the_page_works_without_a_study(tmp_path: Path) -> None:
    with running_service(tmp_path) as fresh:
        assert "No study yet." in fresh.get("/").text
        assert fresh.stop() == 0
