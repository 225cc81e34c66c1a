"""The whole path on real scans between real peers: storescu -> service -> Orthanc -> dciodvfy, in a network name space of its own.

Run inside ``unshare -n``: ``python -m service.real_path SHARED OUT [--all]`` writes ``OUT/answer.json``. Orthanc binds to every address,
so it must not share this machine's network. ``--all`` pushes every real series instead of two.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx2
from pydicom.uid import generate_uid

from builders.changed_series import real_slices, values_shifted, write_slices
from builders.service import RunningService, running_service

REAL_ANALYSIS = "trabecula_service.pipeline.analyze:analyze_input"
AS_THEY_ARE = ("petct-abdopelvis/dicom",)
DECOMPRESSED = ("ircadb1-01/dicom",)
ALL_AS_THEY_ARE = (*AS_THEY_ARE, "hcc-007/two-phases/dicom", "hcc-007/pre10mm/dicom", "liver-8mm/dicom")
ALL_DECOMPRESSED = (*DECOMPRESSED, "colon-sens64/dicom")
ODD = ("mr-axial-series", "ct-localizer-ge-jpegll", "ct-small", "sc-modality-ct-16bit", "ct-same-position-bolus-monitor")
ORTHANC_HTTP, ORTHANC_DICOM = 18042, 14242
# Nagle's algorithm makes dcmtk wait 40 ms per image.
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def start_orthanc(folder: Path) -> "subprocess.Popen[bytes]":
    """A real PACS on loopback."""
    settings = {
        "Name": "PACS",
        "HttpPort": ORTHANC_HTTP,
        "DicomPort": ORTHANC_DICOM,
        "DicomAet": "PACS",
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "Plugins": [],
    }
    folder.mkdir(parents=True)
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            httpx2.get(f"http://127.0.0.1:{ORTHANC_HTTP}/system", timeout=2)
            return process
        except httpx2.TransportError:
            time.sleep(0.1)
    raise TimeoutError("Orthanc did not start")


def push(folder: Path, port: int, *options: str) -> int:
    """Send a folder with dcmtk's storescu; its exit code."""
    command = ["storescu", "-R", *options, "-aec", "TRABECULA", "+sd", "+r", "127.0.0.1", str(port), str(folder)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False).returncode


def decompress(folder: Path, out: Path) -> Path:
    """The series without JPEG-LS, by dcmtk."""
    out.mkdir(parents=True)
    for path in folder.iterdir():
        subprocess.run(["dcmdjpls", str(path), str(out / path.name)], check=True, capture_output=True)
    return out


def shifted(shared: Path, out: Path) -> Path:
    """A series whose values are 1024 too high, as a study of its own."""
    study, series = generate_uid(), generate_uid()
    slices = [values_shifted(dataset) for dataset in real_slices(shared / "ct" / "petct-abdopelvis" / "dicom", low_mm=-660, high_mm=-560)]
    for dataset in slices:
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = study, series, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return write_slices(slices, out)


def send_everything(service: RunningService, shared: Path, scratch: Path, *, everything: bool) -> dict[str, int]:
    """Push real, changed and odd inputs; storescu's exit codes by input."""
    cases = shared / "ct"
    codes = {case: push(cases / case, service.dicom_port, "-xt") for case in (ALL_AS_THEY_ARE if everything else AS_THEY_ARE)}
    for case in ALL_DECOMPRESSED if everything else DECOMPRESSED:
        codes[case] = push(decompress(cases / case, scratch / "plain" / Path(case).parts[0]), service.dicom_port)
    codes["shifted"] = push(shifted(shared, scratch / "shifted"), service.dicom_port)
    with zipfile.ZipFile(cases / "odd.zip") as archive:
        archive.extractall(scratch / "odd")
    for name in ODD:
        (folder,) = [path for path in (scratch / "odd").rglob(name) if path.is_dir()]
        codes[name] = push(folder, service.dicom_port, "-xs" if "jpegll" in name else "-x=")
    return codes


def stored_objects(out: Path) -> list[dict[str, Any]]:
    """What the PACS holds, each object written to ``out`` and judged by dciodvfy."""
    base = f"http://127.0.0.1:{ORTHANC_HTTP}"
    objects = []
    for instance in httpx2.get(f"{base}/instances", timeout=10).json():
        tags = httpx2.get(f"{base}/instances/{instance}/simplified-tags", timeout=30).json()
        path = out / f"{tags['SOPInstanceUID']}.dcm"
        path.write_bytes(httpx2.get(f"{base}/instances/{instance}/file", timeout=30).content)
        verdict = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
        errors = [line for line in verdict.splitlines() if line.startswith("Error")]
        objects.append({"study": tags["StudyInstanceUID"], "modality": tags["Modality"], "path": str(path), "errors": errors})
    return objects


def main(shared: Path, out: Path, *, everything: bool) -> None:
    """Run the path and write what was seen."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        orthanc = start_orthanc(scratch / "orthanc")
        try:
            with running_service(scratch / "service", analysis=REAL_ANALYSIS, quiet_seconds=2.0, pacs_port=ORTHANC_DICOM) as service:
                codes = send_everything(service, shared, scratch, everything=everything)
                rows = service.wait_for("done", "skipped", "failed", seconds=900.0, count=3)
                page = service.get("/").text
            answer = {"storescu": codes, "studies": rows, "objects": stored_objects(out), "page_mentions_states": "skipped" in page}
        finally:
            orthanc.terminate()
            orthanc.wait()
    (out / "answer.json").write_text(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), everything="--all" in sys.argv)
