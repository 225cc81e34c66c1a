"""Studies that come over the web lead to the same place as those that come by C-STORE."""

from collections.abc import Iterator, Sequence
from io import BytesIO

import httpx2
import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset

from builders.service import RunningService, running_service, send
from builders.small_ct import small_ct


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("service"), quiet_seconds=1.0) as running:
        yield running


def _file(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _post(service: RunningService, files: Sequence[bytes], *, path: str = "", boundary: str = "b0und") -> httpx2.Response:
    parts = b"".join(f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + file + b"\r\n" for file in files)
    headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}', "Accept": "application/dicom+json"}
    return httpx2.post(
        f"{service.url}/dicom-web/studies{path}", content=parts + f"--{boundary}--\r\n".encode(), headers=headers, timeout=60
    )


def test_a_posted_series_is_stored_named_in_the_answer_and_analysed(service: RunningService) -> None:
    images = small_ct(slices=3)
    answer = _post(service, [_file(image) for image in images])
    assert answer.status_code == 200
    stored = [item["00081155"]["Value"][0] for item in answer.json()["00081199"]["Value"]]
    assert stored == [str(image.SOPInstanceUID) for image in images]
    assert {row["state"] for row in service.wait_for("done")} == {"done"}
    before = service.get("/api/v1/studies").json()["objects"]["repeats"]
    assert send(service.dicom_port, images) == [0] * 3
    assert service.get("/api/v1/studies").json()["objects"]["repeats"] == before + 3, "the same objects by C-STORE are repeats"


def test_a_file_that_is_none_fails_by_itself(service: RunningService) -> None:
    (image,) = small_ct(slices=1)
    answer = _post(service, [b"this is not DICOM" * 20, _file(image)])
    assert answer.status_code == 202
    assert len(answer.json()["00081199"]["Value"]) == 1
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xC000]
    assert _post(service, [b"nothing sound"]).status_code == 409


def test_an_object_of_another_study_than_the_address_names_is_not_stored(service: RunningService) -> None:
    (image,) = small_ct(slices=1)
    assert _post(service, [_file(image)], path="/1.2.3").status_code == 409
    assert _post(service, [_file(image)], path=f"/{image.StudyInstanceUID}").status_code == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json", 415), ("multipart/related", 415), ('multipart/related; type="application/dicom"; boundary=x', 400)],
)
def test_a_request_that_cannot_be_read_is_told_so(service: RunningService, content_type: str, status: int) -> None:
    answer = httpx2.post(f"{service.url}/dicom-web/studies", content=b"nonsense", headers={"Content-Type": content_type}, timeout=60)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
