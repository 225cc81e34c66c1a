"""Derived DICOM objects before independent readers: dciodvfy, DCMTK and a PACS."""

import json
import socket
import subprocess
import time
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from builders.peers import need_program
from builders.results import Column, column_input, not_evaluable, real_input
from trabecula_service.render.registry import render_all

SMALL = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
SIXTH = Column(names=("T13", "L5", "L6"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
pytestmark = pytest.mark.peer


def write(documents: dict[str, bytes], folder: Path) -> list[Path]:
    paths = []
    for name, data in documents.items():
        if name.endswith(".dcm"):
            (folder / name).write_bytes(data)
            paths.append(folder / name)
    return paths


def errors_of(path: Path) -> list[str]:
    """Lines of dciodvfy that name an error, and what it took the object for if it did not know it."""
    done = subprocess.run([need_program("dciodvfy"), str(path)], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    return [line for line in lines if line.startswith("Error") or "not recognized" in line.lower()]


ABSENT = dict.fromkeys(("PatientID", "StudyDate", "StudyTime", "StudyID", "FrameOfReferenceUID", "PatientAge", "SpecificCharacterSet"))
BARE = {**ABSENT, "PatientName": "", "PatientBirthDate": "", "PatientSex": ""}


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda: column_input(SMALL), id="usual"),
        pytest.param(lambda: column_input(SIXTH, losses={}), id="L6 and T13"),
        pytest.param(lambda: column_input(SMALL, headers=BARE), id="bare headers"),
        pytest.param(lambda: not_evaluable(column_input(SMALL)), id="not evaluable"),
    ],
)
def test_dciodvfy_finds_no_error(made, tmp_path: Path) -> None:
    paths = write(render_all(made()), tmp_path)
    assert paths
    assert {path.name: errors_of(path) for path in paths} == {path.name: [] for path in paths}


@pytest.mark.real_ct
@pytest.mark.parametrize("case", ["petct-abdopelvis", "ircadb1-01"])
def test_dciodvfy_finds_no_error_with_the_headers_of_real_scanners(case: str, shared: Path, tmp_path: Path) -> None:
    made = real_input(shared / "ct" / case)
    paths = write(render_all(made), tmp_path)
    assert len(paths) == 5
    assert {path.name: errors_of(path) for path in paths} == {path.name: [] for path in paths}
    segmentation = dcmread(tmp_path / "segmentation.seg.dcm")
    source = {str(header.SOPInstanceUID): header for header in made.image.headers}
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        used = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        expected = [float(part) for part in source[used].ImagePositionPatient]
        assert list(group.PlanePositionSequence[0].ImagePositionPatient) == pytest.approx(expected)


def test_dcmdump_reads_the_numbers_of_the_report(tmp_path: Path) -> None:
    made = column_input(SMALL)
    (tmp_path / "report.sr.dcm").write_bytes(render_all(made)["report.sr.dcm"])
    command = [need_program("dcmdump"), "+L", str(tmp_path / "report.sr.dcm")]
    dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    density = made.result.levels[1].density
    assert density is not None
    for text in (f"[{density.value_mg_cm3}", "[[hnsf'U]]", "[mg/cm3", "[99TRABECULA]", "[PRELIMINARY]", "[UNVERIFIED]", "[L1 vertebra]"):
        assert text in dump


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


ROUND = """
ip link set lo up
Orthanc orthanc.json >orthanc.log 2>&1 &
for i in $(seq 100); do curl -s -o /dev/null localhost:{http}/system && break; sleep 0.1; done
storescu -R -aec ORTHANC localhost {dicom} {files} >store.log 2>&1; echo $? >store.rc
curl -s localhost:{http}/instances?expand >instances.json
curl -s localhost:{http}/studies?expand >studies.json
kill %1; wait
"""


def test_a_pacs_takes_every_object_into_the_one_study(tmp_path: Path) -> None:
    for program in ("Orthanc", "storescu", "unshare", "curl"):
        need_program(program)
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network name space of our own here, and Orthanc binds to every address")
    documents = render_all(column_input(SMALL))
    paths = write(documents, tmp_path)
    http, dicom = free_port(), free_port()
    settings = {
        "HttpPort": http, "DicomPort": dicom, "StorageDirectory": str(tmp_path / "store"), "IndexDirectory": str(tmp_path / "store"),
        "AuthenticationEnabled": False, "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True, "Plugins": [],
    }  # fmt: skip
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    script = ROUND.format(http=http, dicom=dicom, files=" ".join(path.name for path in paths))
    started = time.monotonic()
    subprocess.run(["unshare", "-n", "bash", "-c", script], cwd=tmp_path, check=False, timeout=120)
    assert time.monotonic() - started < 120
    assert (tmp_path / "store.rc").read_text().strip() == "0", (tmp_path / "store.log").read_text()
    instances = json.loads((tmp_path / "instances.json").read_text())
    stored = {item["MainDicomTags"]["SOPInstanceUID"] for item in instances}
    assert stored == {str(dcmread(BytesIO(documents[path.name])).SOPInstanceUID) for path in paths}
    (study,) = json.loads((tmp_path / "studies.json").read_text())
    assert study["PatientMainDicomTags"]["PatientName"] == "Müller^Zoë"
    assert len(study["Series"]) == 5
