"""A reader's morning in Chromium with Orthanc as the PACS, in a network name space of its own.

Run inside ``unshare -n``: ``python -m browser.readers_morning OUT`` writes ``OUT/answer.json`` and pictures of the pages. Orthanc binds to
every address, so it must not share this machine's network.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from builders.accessibility import shortcomings
from builders.chromium import Browser, chromium
from builders.reading_analysis import column_series
from builders.service import RunningService, running_service, send, wait_ticks
from builders.small_ct import small_ct, write_series
from service.real_path import ORTHANC_DICOM, ORTHANC_HTTP, start_orthanc

ANALYSIS = "builders.reading_analysis:analyze"
NAMES = {
    1: "Müller^Zoë",
    2: "Yamada^Tarou=山田^太郎=やまだ^たろう",
    3: "O'Brien^<script>alert(1)</script> {{ 7*7 }}",
}
KOREAN = "Hong^Gildong=洪^吉洞=홍^길동"
WANTED = ("report.sr.dcm", "segmentation.seg.dcm", "report.pdf.dcm", "capture.sc.dcm", "rejection.ko.dcm")
READY = "document.getElementById('room').dataset.ready === 'yes' && Object.values(readingRoom.views).every(v => v.painted === v.index)"


def orthanc(path: str) -> Any:
    """What the PACS answers."""
    return httpx2.get(f"http://127.0.0.1:{ORTHANC_HTTP}{path}", timeout=30).json()


def objects_of(study_uid: str) -> list[dict[str, Any]]:
    """Tags of everything that the PACS holds of a study, in short form and by name."""
    found = []
    for instance in orthanc("/instances"):
        tags = orthanc(f"/instances/{instance}/simplified-tags")
        if tags["StudyInstanceUID"] == study_uid:
            found.append(tags)
    return found


def look_at_lists(browser: Browser, service: RunningService, out: Path) -> dict[str, Any]:
    """The list by keyboard, the search, and the other pages."""
    browser.open(service.url + "/")
    browser.open(service.url + "/?show=all")
    names = browser.text("table.list")
    lacking = {"list": shortcomings(browser)}
    browser.open(service.url + "/")
    browser.key("ArrowDown")
    browser.key("ArrowDown")
    third = browser.run("Array.from(document.querySelectorAll('a.open')).indexOf(document.activeElement)")
    for width in (1280, 1920):
        browser.resize(width, 900)
        browser.picture(out / f"list-{width}.png")
    browser.key("/")
    browser.type("#patient", "müller")
    browser.key("Enter")
    browser.wait("document.querySelectorAll('a.open').length === 1")
    searched = {"names": browser.text("table.list"), "address": browser.run("location.href")}
    browser.open(service.url + "/administration")
    browser.click(".probe button")
    browser.wait("document.querySelector('.probe [role=status]')")
    probed = browser.text(".probe [role=status]")
    browser.picture(out / "administration.png", whole=True)
    lacking["administration"] = shortcomings(browser)
    browser.open(service.url + "/physicist")
    browser.picture(out / "physicist.png", whole=True)
    lacking["physicist"] = shortcomings(browser)
    return {"names": names, "focused": third, "searched": searched, "probed": probed, "lacking": lacking}


def send_by_page(browser: Browser, service: RunningService, folder: Path) -> dict[str, Any]:
    """A study and a file that is none, chosen on the page."""
    files = [str(path) for path in sorted(write_series(small_ct(slices=2), folder).iterdir())]
    (folder / "notes.txt").write_text("not a DICOM file, but longer than a preamble" * 5)
    browser.open(service.url + "/upload")
    browser.choose("#files", [*files, str(folder / "notes.txt")])
    browser.wait("!document.getElementById('done').hidden")
    return {"said": browser.text("#progress"), "refused": browser.text("#refused"), "lacking": shortcomings(browser)}


def try_rules(browser: Browser, service: RunningService, folder: Path) -> dict[str, Any]:
    """The administrator asks which of two series would be measured."""
    study = [*small_ct(slices=40, SeriesNumber="1", study_uid="1.2.9"), *small_ct(slices=20, SeriesNumber="2", study_uid="1.2.9")]
    files = [str(path) for path in sorted(write_series(study, folder).iterdir())]
    browser.open(service.url + "/administration/rules")
    browser.choose("#files", files)
    browser.click("#look")
    browser.wait("document.querySelector('.decision')")
    return {"said": browser.text("#progress"), "decision": browser.text(".decision"), "lacking": shortcomings(browser)}


def read_and_sign(browser: Browser, service: RunningService, study_id: str, out: Path) -> dict[str, Any]:
    """Open a case, look at it, correct a point, shift the names and back, leave a level out and back, sign."""
    browser.resize(1280, 900)
    started = time.monotonic()
    browser.open(f"{service.url}/studies/{study_id}")
    browser.wait(READY)
    seconds = time.monotonic() - started
    seen: dict[str, Any] = {"seconds_to_open": seconds, "first_level": browser.run("readingRoom.state.level")}
    browser.picture(out / "study-1280.png", whole=True)
    seen["lacking"] = shortcomings(browser)
    browser.click('button.level[data-level="L3"]')
    browser.wait(READY)
    seen["chosen"] = browser.run(
        "[readingRoom.state.level, readingRoom.state.cursor[2], document.querySelector('tr[aria-current]').dataset.level]"
    )
    browser.key("k")
    seen["after_k"] = browser.run("readingRoom.state.level")
    before = browser.run("readingRoom.views.axial.index")
    for _ in range(5):
        browser.key("ArrowDown")
    browser.wait(READY)
    seen["scrolled"] = browser.run("readingRoom.views.axial.index") - before
    seen["before"] = browser.text('tr[data-level="L2"]')
    browser.drag('[data-key="L2"][data-point="anterior_superior"]', 0, 14)
    browser.wait("document.querySelector('.preview') && document.querySelectorAll('#changes li').length === 1")
    seen["after"] = browser.text('tr[data-level="L2"]')
    seen["preview"] = browser.text(".preview")
    browser.picture(out / "study-corrected.png", whole=True)
    browser.click('[data-shift="1"]')
    browser.wait("document.querySelector('button.level').innerText === 'L1'")
    browser.click('[data-shift="-1"]')
    browser.wait("document.querySelector('button.level').innerText === 'T12'")
    browser.resize(1920, 1080)
    browser.picture(out / "study-1920.png", whole=True)
    browser.resize(1280, 900)
    browser.type("#reader", "Muster, Anna")
    browser.click("#amend")
    browser.wait("document.getElementById('standing').dataset.shown === '2' && document.querySelector('#standing .signed')")
    seen["standing"] = browser.text("#standing")
    browser.picture(out / "study-signed.png", whole=True)
    return seen


def accept_and_reject(browser: Browser, service: RunningService, accepted: str, rejected: str) -> dict[str, Any]:
    """The two other verdicts; a rejection without a reason is held back by the page."""
    browser.open(f"{service.url}/studies/{accepted}")
    browser.wait(READY)
    remembered = browser.run("document.getElementById('reader').value")
    browser.click("#accept")
    browser.wait("document.getElementById('standing').dataset.shown === '2'")
    browser.open(f"{service.url}/studies/{rejected}")
    browser.wait(READY)
    browser.click("#reject")
    held_back = browser.run("document.getElementById('reason').validationMessage")
    browser.type("#reason", "patient moved")
    browser.click("#reject")
    browser.wait("document.getElementById('standing').dataset.shown === '2'")
    return {"remembered": remembered, "held_back": held_back, "rejected": browser.text("#main")}


def main(out: Path) -> None:
    """The morning, and what the PACS holds at its end."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        pacs = start_orthanc(scratch / "orthanc")
        try:
            with running_service(
                scratch / "service", analysis=ANALYSIS, pacs_port=ORTHANC_DICOM, more=f"documents = {json.dumps(WANTED)}\n"
            ) as service:
                for number, name in NAMES.items():
                    send(service.dicom_port, list(column_series(number, PatientName=name, PatientID=f"P-{number}")))
                send(service.dicom_port, small_ct(slices=1, PatientName=KOREAN, SpecificCharacterSet="ISO_IR 192"))
                rows = service.wait_for("done", "failed", seconds=400.0, count=len(NAMES) + 1)
                ids = {int(row["study_instance_uid"].split(".")[-1]): row["id"] for row in rows if row["state"] == "done"}
                with chromium() as browser:
                    answer: dict[str, Any] = {"lists": look_at_lists(browser, service, out)}
                    answer["sent"] = send_by_page(browser, service, scratch / "sent")
                    answer["rules"] = try_rules(browser, service, scratch / "rules")
                    answer["signed"] = read_and_sign(browser, service, ids[1], out)
                    answer["others"] = accept_and_reject(browser, service, ids[2], ids[3])
                    browser.open(service.url + "/?show=signed")
                    answer["signed_list"] = browser.text("table.list")
                    answer["complaints"] = browser.complaints
                    answer["asked"] = sorted({url.split("/")[2] for url in browser.requested if url.startswith("http")})
                for _ in wait_ticks(120):
                    answer["pacs"] = {number: objects_of(f"1.2.3.{number}") for number in (1, 2, 3)}
                    if all(
                        any(entry["Modality"] == "KO" for entry in objects) and len(objects) >= 7 for objects in answer["pacs"].values()
                    ):
                        break
                answer["service"] = service.url.removeprefix("http://")
                answer["log"] = service.log()
        finally:
            pacs.terminate()
            pacs.wait()
    (out / "answer.json").write_text(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
