"""The REST interface through the product's own client: paging, filters, ETags, reviews, exports, and problems that say what to do."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from builders.results import Column, column_result
from builders.site import NOW, Site
from trabecula_service.client import ClientError
from trabecula_service.ledger.schema import jobs
from trabecula_service.ledger.states import State
from trabecula_service.review.edits import Edits, Exclusion, ExclusionReason, MovedPoint, Verdict

COLUMN = Column(names=("T12", "L1", "L2", "L3"))
FRACTURED, SOUND = column_result(COLUMN), column_result(COLUMN, losses={})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    for number in range(7):
        made.add(number, FRACTURED if number in (2, 5) else SOUND)
    yield made
    made.close()


def test_all_studies_come_once_page_by_page_even_while_others_arrive(site: Site) -> None:
    first = site.http.get("/api/v1/studies?limit=3").json()
    site.add(9, SOUND)
    second = site.http.get(f"/api/v1/studies?limit=3&after={first['next']}").json()
    third = site.http.get(f"/api/v1/studies?limit=3&after={second['next']}").json()
    assert [row["study_instance_uid"] for page in (first, second, third) for row in page["studies"]] == [
        f"1.2.{n}" for n in range(6, -1, -1)
    ]
    assert third["next"] is None
    assert len(list(site.client.studies())) == 8


def test_filters_narrow_and_a_wrong_cursor_is_a_problem(site: Site) -> None:
    assert [study.study_instance_uid for study in site.client.studies(attention=3)] == ["1.2.5", "1.2.2"]
    since, until = (datetime.fromtimestamp(NOW + seconds, UTC) for seconds in (2, 4))
    assert [study.study_instance_uid for study in site.client.studies(since=since, until=until)] == ["1.2.3", "1.2.2"]
    assert [study.id for study in site.client.studies(study_instance_uid="1.2.4")] == [f"{4:016x}"]
    assert list(site.client.studies(state=State.FAILED)) == []
    assert site.http.get("/api/v1/studies?after=nothing").json()["detail"].startswith("this is no cursor of ours")


def test_what_is_known_is_not_sent_again(site: Site) -> None:
    for path in (f"/api/v1/studies/{2:016x}", f"/api/v1/results/{2:016x}", f"/api/v1/studies/{2:016x}/versions/1/documents/report.pdf"):
        first = site.http.get(path)
        again = site.http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert site.http.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert site.client.result(f"{2:016x}") == site.client.result(f"{2:016x}") == FRACTURED
    assert site.client.document(f"{2:016x}", 1, "report.pdf") == b"%PDF 2"


def test_a_preview_changes_nothing_and_an_amendment_makes_a_version_with_its_review(site: Site) -> None:
    study = f"{2:016x}"
    edits = Edits(excluded=(Exclusion(level="L1", reason=ExclusionReason.DEFORMITY),))
    assert site.client.preview(study, 1, edits).fractures.max_grade == 0
    assert site.client.reviews(study) == []
    made = site.client.review(study, 1, Verdict.AMENDED, reader="Muster, Anna", edits=edits, reason="Scheuermann")
    detail = site.client.study(study)
    assert made.version == detail.study.version == 2
    assert (detail.study.state, detail.study.verdict) == (State.QUEUED, "amended")
    assert [version.state for version in detail.versions] == [State.QUEUED, State.SUPERSEDED]
    (review,) = site.client.reviews(study)
    assert (review.base_version, review.version, review.edits, review.reader) == (1, 2, edits, "Muster, Anna")
    with site.ledger.read() as connection:
        assert connection.execute(select(jobs.c.state)).scalars().all() == ["ready"]


@pytest.mark.parametrize(
    ("verdict", "more", "status", "words"),
    [
        (Verdict.AMENDED, {}, 422, "nothing was changed"),
        (Verdict.REJECTED, {}, 422, "say why"),
        (Verdict.ACCEPTED, {"edits": Edits(shift=1)}, 422, "cannot carry changes"),
        (Verdict.AMENDED, {"edits": Edits(excluded=(Exclusion(level="C2", reason=ExclusionReason.OTHER),))}, 422, "no such level"),
    ],
)
def test_a_verdict_that_makes_no_sense_is_refused_with_what_to_do(
    site: Site, verdict: Verdict, more: dict[str, Edits], status: int, words: str
) -> None:
    with pytest.raises(ClientError, match=words) as refused:
        site.client.review(f"{2:016x}", 1, verdict, reader="Muster, Anna", **more)
    assert refused.value.status == status
    assert site.client.study(f"{2:016x}").study.version == 1


def test_the_second_of_two_readers_learns_that_the_version_is_superseded(site: Site) -> None:
    site.client.review(f"{3:016x}", 1, Verdict.ACCEPTED, reader="Muster, Anna")
    with pytest.raises(ClientError, match="superseded by version 2") as refused:
        site.client.review(f"{3:016x}", 1, Verdict.REJECTED, reader="Beispiel, Bert", reason="no")
    assert refused.value.status == 409
    assert len(site.client.reviews(f"{3:016x}")) == 1


@pytest.mark.parametrize("name", ["", "x", "A^B", "a=b", "x" * 65, "line\nbreak"])
def test_a_readers_name_that_no_report_can_carry_is_refused(site: Site, name: str) -> None:
    given = {"verdict": "accepted", "version": 1, "reader": name}
    answer = site.http.post(f"/api/v1/studies/{3:016x}/reviews", json=given)
    assert answer.status_code == 422
    assert "reader" in answer.json()["detail"]


def test_edits_with_impossible_values_are_refused(site: Site) -> None:
    for edits in (
        {"shift": 3},
        {"moved": [{"level": "L1", "point": "nowhere", "place_lps_mm": [0, 0, 0]}]},
        {"moved": [{"level": "L1", "point": "middle_superior", "place_lps_mm": [0, 0, 1e9]}]},
        {"moved": [{"level": "L1", "point": "middle_superior", "place_lps_mm": [0, 0, 0]}] * 2},
        {"other": 1},
    ):
        assert site.http.post(f"/api/v1/studies/{3:016x}/versions/1/preview", json=edits).status_code == 422
    points = SOUND.levels[1].points_lps_mm
    assert points is not None
    same = Edits(moved=(MovedPoint(level="L1", point="middle_superior", place_lps_mm=points.middle_inferior),))
    with pytest.raises(ClientError, match="lie on each other"):
        site.client.preview(f"{3:016x}", 1, same)


def test_exports_hold_every_study_once_and_nobodys_name(site: Site) -> None:
    results = list(site.client.results())
    assert len(results) == 7
    table = list(csv.DictReader(io.StringIO(site.http.get("/api/v1/exports/results.csv").text)))
    assert len(table) == 7 * len(COLUMN.names)
    assert {row["study_id"] for row in table} == {f"{number:016x}" for number in range(7)}
    assert "SECRET" not in site.http.get("/api/v1/exports/results.csv").text.upper()
    since = datetime.fromtimestamp(NOW + 5, UTC)
    assert len(list(site.client.results(since=since))) == 2


def test_the_guide_shows_the_client_as_it_is(site: Site) -> None:
    """The worked example of docs/integrator.md runs."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "integrator.md").read_text(encoding="utf-8")
    code = page.split("```python\n# worked example")[1].split("```")[0]
    said: list[str] = []
    exec(compile(code.partition("\n")[2], "integrator.md", "exec"), {"client": site.client, "print": said.append})
    assert said == ["1.2.5 Vertebral height loss: L1 31 %", "1.2.2 Vertebral height loss: L1 31 %"]
