"""The running service deletes what was delivered long enough ago, and goes on showing the study."""

from pathlib import Path

from builders.fake_analysis import DOCUMENTS
from builders.service import Collector, running_service, send, wait_ticks
from builders.small_ct import small_ct

ONE_SECOND = "[retention]\ndays = 0.00001\n"


def test_images_are_deleted_once_the_pacs_has_everything_and_the_page_says_so(tmp_path: Path) -> None:
    pacs = Collector(answer=lambda _dataset: 0xA700).start()
    objects = tmp_path / "data" / "objects"

    def kept() -> int:
        return len(list(objects.glob("??/*.dcm")))

    try:
        with running_service(tmp_path, pacs_port=pacs.port, more=ONE_SECOND) as service:
            images = small_ct(slices=4)
            assert send(service.dicom_port, images) == [0] * 4
            for _ in wait_ticks(60):
                if [row["state"] for row in service.studies()] == ["delivering"]:
                    break
            for _ in wait_ticks(2.5):
                assert kept() == 4, "nothing goes before the PACS has everything"
            pacs.answer = lambda _dataset: 0x0000
            (row,) = service.wait_for("done")
            for _ in wait_ticks(60):
                if kept() == 0:
                    break
            assert kept() == 0
            page = service.get(f"/studies/{row['id']}")
            assert page.status_code == 200
            assert "Images deleted after retention" in page.text
            detail = service.study(row["id"])
            assert {document["name"] for document in detail["versions"][0]["documents"]} >= set(DOCUMENTS)
            assert service.get(f"/api/v1/studies/{row['id']}/versions/1/documents/report.sr.dcm").status_code == 200
            review = {"verdict": "accepted", "version": 1, "reader": "Reader, Rita"}
            refused = service.post(f"/api/v1/studies/{row['id']}/reviews", json=review)
            assert (refused.status_code, "deleted after the retention time" in refused.text) == (409, True)
            # Somebody has just opened it, so what comes again stays for a day.
            assert send(service.dicom_port, images) == [0] * 4
            assert kept() == 4
            assert "Images deleted after retention" not in service.get(f"/studies/{row['id']}").text
            assert len(pacs.uids()) == len(DOCUMENTS), "a repeat makes no work"
            assert [entry["state"] for entry in service.studies()] == ["done"]
            assert service.stop() == 0
    finally:
        pacs.stop()
