"""The administrator's page that tries the series rules: the decision of the real rules, nothing kept, nothing that a request breaks."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.filewriter import dcmwrite

from builders.site import Site
from builders.small_ct import small_ct
from trabecula_service.security.rights import Right, right_for
from trabecula_service.web.rules_pages import MOST_REQUEST_BYTES

ADDRESS = "/administration/rules"
SOFT_ONLY = '[[rule]]\nname = "only few"\nfact = "slice_count"\npoints = 7\nfull_at = 100.0\nsaid = "fewer slices"\n'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def headers(slices: int = 20, **changes: str) -> list[bytes]:
    """Files that end where their pixels would begin, as the page sends them."""
    files = []
    for dataset in small_ct(slices=slices, **changes):
        del dataset.PixelData
        buffer = io.BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        files.append(buffer.getvalue())
    return files


def send(site: Site, parts: list[bytes], rules: str = "") -> "tuple[int, str]":
    answer = site.http.post(ADDRESS, files=[("files", ("file", part)) for part in parts], data={"rules": rules})
    return answer.status_code, answer.text


def test_the_page_is_the_administrators() -> None:
    assert {right_for(method, ADDRESS) for method in ("GET", "POST")} == {Right.ADMINISTER}


def test_it_shows_the_decision_and_why_the_others_lost(site: Site) -> None:
    longer, shorter = (
        headers(40, SeriesNumber="1", study_uid="1.2.7"),
        headers(20, SeriesNumber="2", study_uid="1.2.7", PatientName="Geheim^Name"),
    )
    status, html = send(site, [*shorter, *longer])
    assert status == 200
    first, second = html.split("<tbody>")[1].split("</tr>")[:2]
    assert 'class="chosen"' in first
    assert ">40<" in first
    assert ("not chosen" in second, "covers less of the body" in second) == (True, True)
    assert "Geheim" not in html
    assert not list(site.data.glob("**/*.dcm"))


def test_rules_that_are_typed_take_the_place_of_those_in_use(site: Site) -> None:
    _, html = send(site, headers(), SOFT_ONLY)
    assert "Points of 7" in html
    status, html = send(site, headers(), "[[rule]]\nname = 1")
    assert status == 422
    assert "the series rules are wrong at" in html


def test_what_cannot_be_measured_is_said_not_guessed(site: Site) -> None:
    _, html = send(site, headers(1))
    assert "None of these files would be measured" in html
    assert "TOO_FEW_SLICES" in html


def test_an_archive_is_never_unpacked(site: Site) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(10_000_000))
    status, html = send(site, [packed.getvalue()])
    assert status == 422
    assert "no DICOM file" in html


def test_a_request_that_is_too_large_is_refused_before_it_is_read(site: Site) -> None:
    answer = site.http.post(
        ADDRESS, content=b"", headers={"content-length": str(MOST_REQUEST_BYTES + 1), "content-type": "multipart/form-data"}
    )
    assert answer.status_code == 413


def test_a_page_of_another_site_cannot_send_it(site: Site) -> None:
    answer = site.http.post(ADDRESS, files=[("files", ("file", b"x"))], headers={"origin": "https://elsewhere.example"})
    assert answer.status_code == 403
