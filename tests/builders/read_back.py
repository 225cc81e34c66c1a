"""Documents read back by programs and packages of others: what they find wrong, and which numbers they find."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from builders.peers import need_program
from trabecula_service.render.trend import latest_change
from trabecula_service.result import Heights, Result

Said = dict[tuple[str, str], tuple[float, str]]
"""Value and UCUM unit by code and level; the study's level is empty."""

_PLACES = ("anterior", "middle", "posterior")


def numbers_of(result: Result) -> Said:
    """What every structured document must say, written down from the result alone; nothing for what was not measured."""
    density, index = result.density, result.fractures.spinal_deformity_index
    said: dict[tuple[str, str], tuple[float | None, str]] = {
        ("VBMD_MEAN", ""): (density.mean_mg_cm3, "mg/cm3"),
        ("VBMD_MEAN_LOWER_95", ""): (density.interval95[0] if density.interval95 else None, "mg/cm3"),
        ("VBMD_MEAN_UPPER_95", ""): (density.interval95[1] if density.interval95 else None, "mg/cm3"),
        ("SDI", ""): (None if index is None else float(index), "1"),
    }
    earlier = latest_change(result)
    if earlier is not None and result.source.scanned_on is not None:
        prior, change = earlier
        said["VBMD_EARLIER", ""] = (prior.mean_mg_cm3, "mg/cm3")
        said["VBMD_EARLIER_DAYS", ""] = ((result.source.scanned_on - prior.scanned_on).days, "d")
        said["VBMD_CHANGE", ""] = (change.change_mg_cm3, "mg/cm3")
        said["VBMD_CHANGE_LEAST", ""] = (change.least_significant_mg_cm3, "mg/cm3")
    for level in result.levels:
        own = level.density
        said["LEVEL_CONFIDENCE", level.name] = (level.confidence, "1")
        said["VBMD", level.name] = (own.value_mg_cm3 if own else None, "mg/cm3")
        said["VBMD_LOWER_95", level.name] = (own.interval95[0] if own else None, "mg/cm3")
        said["VBMD_UPPER_95", level.name] = (own.interval95[1] if own else None, "mg/cm3")
        for place in _PLACES:
            said[f"HEIGHT_{place.upper()}", level.name] = (_at(level.heights_mm, place), "mm")
            said[f"HEIGHT_EXPECTED_{place.upper()}", level.name] = (_at(level.expected_mm, place), "mm")
            said[f"HEIGHT_SD_{place.upper()}", level.name] = (_at(level.heights_sd_mm, place), "mm")
            said[f"HEIGHT_LOSS_{place.upper()}", level.name] = (_percent(_at(level.height_loss, place)), "%")
        said["HEIGHT_LOSS_MAX", level.name] = (_percent(level.height_loss.max if level.height_loss else None), "%")
        for grade, probability in enumerate(level.genant.probability or ()):
            said[f"GENANT_PROBABILITY_{grade}", level.name] = (probability, "1")
    return {key: (value, unit) for key, (value, unit) in said.items() if value is not None}


def _at(heights: Heights | None, place: str) -> float | None:
    value: float | None = getattr(heights, place) if heights else None
    return value


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else fraction * 100


def disagreements(found: Said, expected: Said) -> list[str]:
    """Numbers that a document lacks or says otherwise."""
    wrong = []
    for key, (value, unit) in expected.items():
        if key not in found:
            wrong.append(f"{key} is missing")
        elif found[key][1] != unit or abs(found[key][0] - value) > 1e-4:
            wrong.append(f"{key} is {found[key]}, not {(value, unit)}")
    return wrong


def said_by_hl7(message: bytes) -> tuple[Any, Said]:
    """The message as hl7apy reads it with the grammar of 2.5.1."""
    from hl7apy.parser import parse_message

    parsed = parse_message(message.decode(), find_groups=True)
    found: Said = {}
    group = parsed.ORU_R01_PATIENT_RESULT.ORU_R01_ORDER_OBSERVATION
    for observation in group.ORU_R01_OBSERVATION:
        obx = observation.OBX
        if obx.obx_2.value == "NM":
            found[obx.obx_3.ce_1.value, obx.obx_4.value] = (float(obx.obx_5.value), obx.obx_6.ce_1.value)
    return parsed, found


def said_by_fhir(bundle: dict[str, Any]) -> Said:
    """The quantities of a bundle's observations."""
    found: Said = {}
    for entry in bundle["entry"]:
        resource = entry["resource"]
        if resource["resourceType"] != "Observation":
            continue
        site = resource["bodySite"]["text"]
        level = "" if site == "Spine" else site.split()[0]
        for part in (resource, *resource.get("component", [])):
            if "valueQuantity" in part:
                quantity = part["valueQuantity"]
                assert quantity["system"] == "http://unitsofmeasure.org"
                found[part["code"]["coding"][0]["code"], level] = (float(quantity["value"]), quantity["code"])
    return found


def said_by_report(path: Path, folder: Path) -> tuple[dict[str, Any], Said]:
    """The structured report as dcmqi's reader of TID 1500 understands it."""
    run("tid1500reader", "--inputDICOM", path, "--outputMetadata", folder / "tid1500.json")
    read: dict[str, Any] = json.loads((folder / "tid1500.json").read_text())
    found: Said = {}
    for group in read["Measurements"]:
        level = "" if group["TrackingIdentifier"] == "study" else group["TrackingIdentifier"]
        for item in group["measurementItems"]:
            found[item["quantity"]["CodeValue"], level] = (float(item["value"]), item["units"]["CodeValue"])
    return read, found


def run(program: str, *options: object) -> "subprocess.CompletedProcess[str]":
    """A peer program, from beside this Python or from the path; its failure is raised."""
    path = Path(sys.executable).with_name(program)
    command = str(path) if path.exists() else need_program(program)
    return subprocess.run([command, *map(str, options)], check=True, capture_output=True, text=True, errors="replace")


def dciodvfy_errors(path: Path) -> list[str]:
    """Lines of dciodvfy that name an error, and what it took the object for if it did not know it."""
    done = subprocess.run([need_program("dciodvfy"), str(path)], capture_output=True, text=True, errors="replace", check=False)
    return [line for line in done.stderr.splitlines() if line.startswith("Error") or "not recognized" in line.lower()]


def pdf_faults(path: Path) -> list[str]:
    """What keeps a file from being PDF/A-2 with every font in it, as poppler sees it."""
    faults = []
    if "<pdfaid:part>2</pdfaid:part>" not in run("pdfinfo", "-meta", path).stdout:
        faults.append("does not say that it is PDF/A-2")
    if b"/OutputIntent" not in path.read_bytes():
        faults.append("has no output intent")
    fonts = run("pdffonts", path).stdout.splitlines()[2:]
    faults += [f"font not embedded: {line}" for line in fonts if line.split()[-5] != "yes"]
    return faults if fonts else [*faults, "has no font"]


def folder_faults(folder: Path, scratch: Path) -> dict[str, list[str]]:
    """Everything that the readers find wrong in the documents of one analysis, by file name; every file of the folder is a key."""
    result = Result.from_json((folder / "result.json").read_text(encoding="utf-8"))
    expected = numbers_of(result)
    return {path.name: _faults(path, scratch, result, expected) for path in sorted(folder.iterdir())}


def _faults(path: Path, scratch: Path, result: Result, expected: Said) -> list[str]:
    if path.suffix == ".dcm":
        return [*dciodvfy_errors(path), *_dicom_faults(path, scratch, result, expected)]
    if path.name == "report.pdf":
        return pdf_faults(path)
    if path.suffix == ".hl7":
        parsed, found = said_by_hl7(path.read_bytes())
        numbers = [] if "pdf" in path.name else disagreements(found, expected)
        return numbers if parsed.validate() else [*numbers, "is no valid ORU^R01"]
    if path.name == "report.fhir.json":
        from fhir.resources.R4B.bundle import Bundle

        # How sure a name is is no observation in FHIR.
        wanted = {key: value for key, value in expected.items() if key[0] != "LEVEL_CONFIDENCE"}
        return disagreements(said_by_fhir(json.loads(Bundle.model_validate_json(path.read_bytes()).model_dump_json())), wanted)
    if path.suffix == ".csv":
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        return [] if [row["level"] for row in rows] == [level.name for level in result.levels] else ["has other levels than the result"]
    if path.suffix == ".png":
        from PIL import Image

        Image.open(path).verify()
    if path.name.endswith(".nii.gz"):
        import nibabel

        shape = nibabel.load(path).shape
        return [] if len(shape) == 3 else [f"has the shape {shape}"]
    return []


def _dicom_faults(path: Path, scratch: Path, result: Result, expected: Said) -> list[str]:
    if path.name == "report.sr.dcm":
        return disagreements(said_by_report(path, scratch)[1], expected)
    if path.name.startswith("segmentation") and path.suffixes[-2:] == [".seg", ".dcm"]:
        run("segimage2itkimage", "--inputDICOM", path, "--outputDirectory", scratch, "--outputType", "nii")
        meta = json.loads((scratch / "meta.json").read_text())
        segments = {part["SegmentLabel"] for group in meta["segmentAttributes"] for part in group}
        # Of several series each has a segmentation with its own part of the levels.
        alone = not path.with_name("segmentation-2.seg.dcm").exists()
        return [f"has no segment of {level.name}" for level in result.levels if alone and f"{level.name} vertebral body" not in segments]
    if path.name.startswith("points") and path.suffixes[-2:] == [".pr", ".dcm"]:
        said = run("dcmpschk", path)
        attributes = re.findall(r"Affected attribute: (\w+)", said.stdout + said.stderr)
        # It takes every date-time with an offset from UTC for a fault, also of the very form that it asks for.
        return [f"dcmpschk: {name}" for name in attributes if name != "ContributionDateTime"]
    return []
