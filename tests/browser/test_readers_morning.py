"""A reader's whole morning in a real browser: lists, pictures, a corrected point, three verdicts, and what the PACS holds in the end."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builders.peers import need_program

TESTS = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def morning(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    for program in ("chromium", "Orthanc", "unshare", "ip"):
        need_program(program)
    out = tmp_path_factory.mktemp("morning")
    command = ["unshare", "-n", sys.executable, "-m", "browser.readers_morning", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip("this machine gives no network name space")
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads((out / "answer.json").read_text()))


def reports(morning: dict[str, Any], study: int) -> list[dict[str, Any]]:
    """The structured reports that the PACS holds of a study, the unsigned first."""
    found = [tags for tags in morning["pacs"][str(study)] if tags["Modality"] == "SR"]
    return sorted(found, key=lambda tags: str(tags["VerificationFlag"]))


def test_names_in_every_script_are_shown_as_they_are_and_run_nothing(morning: dict[str, Any]) -> None:
    names = morning["lists"]["names"]
    for name in ("Müller, Zoë", "Yamada, Tarou (山田, 太郎)", "O'Brien, <script>alert(1)</script> {{ 7*7 }}", "Hong, Gildong (洪, 吉洞)"):
        assert name in names
    assert morning["complaints"] == []


def test_the_pages_ask_nobody_but_the_service(morning: dict[str, Any]) -> None:
    assert morning["asked"] == [morning["service"]]


def test_the_list_goes_by_keyboard_and_finds_a_patient_without_a_name_in_the_address(morning: dict[str, Any]) -> None:
    assert morning["lists"]["focused"] == 2
    assert "Müller, Zoë" in morning["lists"]["searched"]["names"]
    assert "ller" not in morning["lists"]["searched"]["address"]
    assert morning["lists"]["probed"] == "C-ECHO answered"


def test_a_case_opens_on_its_finding_and_a_chosen_level_is_shown_in_every_picture(morning: dict[str, Any]) -> None:
    signed = morning["signed"]
    assert signed["first_level"] == "L1"
    assert signed["chosen"] == ["L3", -449, "L3"]
    assert signed["after_k"] == "L2"
    assert signed["scrolled"] == 5


def test_every_page_names_what_acts_and_has_contrast(morning: dict[str, Any]) -> None:
    assert morning["lists"]["lacking"] == {"list": [], "administration": [], "physicist": []}
    assert morning["signed"]["lacking"] == []


def test_files_are_sent_from_the_page_and_what_is_no_dicom_is_left_out(morning: dict[str, Any]) -> None:
    assert morning["sent"] == {"said": "2 of 2 files sent, 2 stored, 1 are no DICOM files", "refused": "", "lacking": []}


def test_the_series_rules_are_tried_on_chosen_files(morning: dict[str, Any]) -> None:
    assert (morning["rules"]["said"], morning["rules"]["lacking"]) == ("60 files looked at.", [])
    rows = morning["rules"]["decision"].splitlines()[1:]
    assert [("chosen" in row and "not chosen" not in row, "covers less of the body" in row) for row in rows] == [
        (True, False),
        (False, True),
    ]


def test_a_dragged_point_changes_height_loss_and_grade_at_once(morning: dict[str, Any]) -> None:
    before, after = (morning["signed"][key].split("\t") for key in ("before", "after"))
    assert before[2] == "0"
    assert after[2].startswith("2 wedge")
    assert before[3].split(" / ")[1:] == after[3].split(" / ")[1:]
    assert "not signed yet" in morning["signed"]["preview"]


def test_the_amended_report_and_pdf_reach_the_pacs_verified_and_name_their_predecessor(morning: dict[str, Any]) -> None:
    assert "amended by Muster, Anna" in morning["signed"]["standing"]
    first, signed = reports(morning, 1)
    assert (first["VerificationFlag"], first["PreliminaryFlag"]) == ("UNVERIFIED", "PRELIMINARY")
    assert (signed["VerificationFlag"], signed["PreliminaryFlag"]) == ("VERIFIED", "FINAL")
    assert signed["VerifyingObserverSequence"][0]["VerifyingObserverName"] == "Muster^Anna"
    series = signed["PredecessorDocumentsSequence"][0]["ReferencedSeriesSequence"][0]
    assert series["ReferencedSOPSequence"][0]["ReferencedSOPInstanceUID"] == first["SOPInstanceUID"]
    assert series["SeriesInstanceUID"] == first["SeriesInstanceUID"]
    documents = [tags for tags in morning["pacs"]["1"] if tags["Modality"] == "DOC"]
    assert sorted(tags["VerificationFlag"] for tags in documents) == ["UNVERIFIED", "VERIFIED"]
    assert len({tags["SOPInstanceUID"] for tags in morning["pacs"]["1"]}) == 9


def test_the_pacs_that_wants_it_gets_a_note_that_takes_the_first_objects_back(morning: dict[str, Any]) -> None:
    for study, count in (("1", 4), ("3", 4)):
        (note,) = [tags for tags in morning["pacs"][study] if tags["Modality"] == "KO"]
        assert note["ConceptNameCodeSequence"][0]["CodeMeaning"] == "Rejected for Quality Reasons"
        series = note["CurrentRequestedProcedureEvidenceSequence"][0]["ReferencedSeriesSequence"]
        named = {entry["ReferencedSOPSequence"][0]["ReferencedSOPInstanceUID"] for entry in series}
        there = {tags["SOPInstanceUID"]: tags for tags in morning["pacs"][study]}
        assert len(named) == count
        assert named <= set(there)
        assert {there[uid].get("VerificationFlag", "UNVERIFIED") for uid in named} == {"UNVERIFIED"}


def test_an_accepted_and_a_rejected_reading_reach_the_pacs_too(morning: dict[str, Any]) -> None:
    assert [tags["VerificationFlag"] for tags in reports(morning, 2)] == ["UNVERIFIED", "VERIFIED"]
    assert [tags["VerificationFlag"] for tags in reports(morning, 3)] == ["UNVERIFIED", "VERIFIED"]
    assert morning["others"]["held_back"] == "Say why the reading is rejected."
    assert "patient moved" in morning["others"]["rejected"]
    assert all(word in morning["signed_list"] for word in ("amended", "accepted", "rejected"))


def test_the_readers_name_is_remembered_on_this_machine_and_stands_in_no_log(morning: dict[str, Any]) -> None:
    assert morning["others"]["remembered"] == "Muster, Anna"
    assert "Muster" not in morning["log"]
