"""FHIR R4: a transaction bundle with DiagnosticReport, Observations, Device and Provenance, preliminary until a reader signs.

The structures used here are the same in R4 and R4B. Patient, imaging study and order are named by their identifiers; the bundle makes
none of them, because their owner is another system. Ids follow from the content, and each entry is a PUT, so that sending twice does no
harm.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

from trabecula_service.render import dicom_codes as concepts
from trabecula_service.render import wording
from trabecula_service.render.derived_object import ALGORITHM_NAME, MANUFACTURER, MODEL_NAME, require_headers, software_versions
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.pdf_report import report_pdf
from trabecula_service.render.phrases import code_text, phrase
from trabecula_service.render.quantities import Answer, Item, Quantity, density_items, height_items, study_items
from trabecula_service.render.uids import derived_uid
from trabecula_service.result import Level

Json: TypeAlias = dict[str, Any]

_SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "UCUM": "http://unitsofmeasure.org",
    concepts.PRIVATE_SCHEME: f"urn:oid:{concepts.PRIVATE_SCHEME_OID}",
}
_DICOM_UID = "urn:dicom:uid"
_STATUS_OF_VERDICT = {"accepted": "final", "amended": "amended", "rejected": "cancelled"}
_DENSITY_READING = concepts.own_code("DENSITY_READING", "Trabecular density and attenuation of a vertebra")
_HEIGHT_READING = concepts.own_code("HEIGHT_READING", "Heights of a vertebral body")


def report_fhir(document_input: DocumentInput) -> bytes:
    """``report.fhir.json``."""
    resources = _resources(document_input)
    entries = [
        {
            "fullUrl": f"urn:uuid:{resource['id']}",
            "resource": resource,
            "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
        }
        for resource in resources
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "timestamp": _instant(document_input), "entry": entries}
    return json.dumps(bundle, ensure_ascii=False, indent=1).encode("utf-8")


def _resources(document_input: DocumentInput) -> list[Json]:
    result = document_input.result
    device = _device(document_input)
    observations = [_study_observation(document_input)]
    for level in result.levels:
        observations.append(_density_observation(document_input, level))
        observations.append(_height_observation(document_input, level))
    report = _diagnostic_report(document_input, observations)
    return [device, *observations, report, _provenance(document_input, [report, *observations])]


def _id(document_input: DocumentInput, kind: str) -> str:
    return str(UUID(int=int(derived_uid(document_input, f"fhir/{kind}").removeprefix("2.25."))))


def _status(document_input: DocumentInput) -> str:
    signed = document_input.result.signature
    return _STATUS_OF_VERDICT[signed.verdict] if signed else "preliminary"


def _instant(document_input: DocumentInput) -> str:
    return document_input.created.isoformat()


def _device(document_input: DocumentInput) -> Json:
    software = document_input.result.software
    return {
        "resourceType": "Device",
        "id": _id(document_input, "device"),
        "status": "active",
        "manufacturer": MANUFACTURER,
        "deviceName": [{"name": ALGORITHM_NAME, "type": "model-name"}],
        "modelNumber": MODEL_NAME,
        "type": _concept(concepts.ARTIFICIAL_INTELLIGENCE),
        "version": [{"value": software_versions(document_input)}],
        "property": [
            {"type": {"text": "Hash of the network weights (SHA-256)"}, "valueCode": [{"text": software.weights_sha256 or "unknown"}]},
            {"type": {"text": "Inference backend"}, "valueCode": [{"text": software.backend}]},
        ],
    }


def _study_observation(document_input: DocumentInput) -> Json:
    result = document_input.result
    items = list(study_items(result))
    observation = _observation(document_input, "study", concepts.MEAN_DENSITY, concepts.SPINE)
    mean = next((item for item in items if isinstance(item, Quantity) and item.name == concepts.MEAN_DENSITY), None)
    if mean is not None:
        _measured(observation, mean)
    else:
        reasons = wording.density_reasons(result, document_input.language)
        observation["dataAbsentReason"] = _absent(reasons or phrase(document_input.language, "no_mean_density"))
    observation["component"] = [_component(item) for item in items if item is not mean]
    return observation


def _density_observation(document_input: DocumentInput, level: Level) -> Json:
    items = list(density_items(document_input.result, level))
    density = next((item for item in items if isinstance(item, Quantity) and item.name == concepts.DENSITY), None)
    code = concepts.DENSITY if density is not None else _DENSITY_READING
    observation = _observation(document_input, f"density/{level.name}", code, concepts.level_code(level.name))
    if density is not None:
        _measured(observation, density)
    else:
        observation["dataAbsentReason"] = _absent(_reasons(document_input, level))
    return _with_components(observation, (item for item in items if item is not density))


def _height_observation(document_input: DocumentInput, level: Level) -> Json:
    items = list(height_items(level))
    loss = next((item for item in items if isinstance(item, Quantity) and item.name == concepts.HEIGHT_LOSS["max"]), None)
    code = concepts.HEIGHT_LOSS["max"] if loss is not None else _HEIGHT_READING
    observation = _observation(document_input, f"heights/{level.name}", code, concepts.level_code(level.name))
    if loss is not None:
        observation["valueQuantity"] = _quantity(loss)
    else:
        observation["dataAbsentReason"] = _absent(_reasons(document_input, level))
    return _with_components(observation, (item for item in items if item is not loss))


def _with_components(observation: Json, items: Iterable[Item]) -> Json:
    components = [_component(item) for item in items]
    # An empty list is no valid FHIR.
    return {**observation, "component": components} if components else observation


def _observation(document_input: DocumentInput, kind: str, code: CodedConcept, site: CodedConcept) -> Json:
    header = require_headers(document_input)
    observation: Json = {
        "resourceType": "Observation",
        "id": _id(document_input, kind),
        "status": _status(document_input),
        "category": [_category("http://terminology.hl7.org/CodeSystem/observation-category", "imaging")],
        "code": _concept(code),
        **_subject(header),
        "issued": _instant(document_input),
        "bodySite": _concept(site),
        "device": {"reference": f"Device/{_id(document_input, 'device')}"},
        "derivedFrom": [_imaging_study(document_input)],
    }
    acquired = _date(str(header.get("StudyDate") or ""))
    if acquired:
        observation["effectiveDateTime"] = acquired
    return observation


def _measured(observation: Json, quantity: Quantity) -> None:
    observation["valueQuantity"] = _quantity(quantity)
    # Basis and base material belong to the number: one must not be read without them.
    parts = [part for part in (quantity.basis, quantity.material) if part is not None]
    method = {"coding": [_coding(part) for part in parts], "text": "; ".join(part.meaning for part in parts)}
    if parts:
        observation["method"] = method


def _component(item: Item) -> Json:
    if isinstance(item, Answer):
        return {"code": _concept(item.name), "valueCodeableConcept": _concept(item.value)}
    return {"code": _concept(item.name), "valueQuantity": _quantity(item)}


def _quantity(quantity: Quantity) -> Json:
    unit = quantity.unit
    return {"value": round(float(quantity.value), 4), "unit": unit.meaning, "system": _SYSTEMS["UCUM"], "code": unit.value}


def _diagnostic_report(document_input: DocumentInput, observations: Sequence[Json]) -> Json:
    header, result, language = require_headers(document_input), document_input.result, document_input.language
    said = [wording.standing(result, language) + ".", wording.headline(result, language) + ".", *wording.statements(result, language)]
    report: Json = {
        "resourceType": "DiagnosticReport",
        "id": _id(document_input, "report"),
        **({"resultsInterpreter": [{"display": result.signature.reader}]} if result.signature else {}),
        "identifier": [{"system": _DICOM_UID, "value": f"urn:oid:{derived_uid(document_input, 'report/instance')}"}],
        "status": _status(document_input),
        "category": [_category("http://terminology.hl7.org/CodeSystem/v2-0074", "CT")],
        "code": _concept(concepts.CT_OF_SPINE_REPORTED),
        **_subject(header),
        "issued": _instant(document_input),
        "result": [{"reference": f"Observation/{observation['id']}"} for observation in observations],
        "imagingStudy": [_imaging_study(document_input)],
        "conclusion": " ".join([*said, *wording.advice(result, language), phrase(language, "limits")]),
        "presentedForm": [
            {
                "contentType": "application/pdf",
                "language": language,
                "title": "report.pdf",
                "data": base64.b64encode(report_pdf(document_input)).decode("ascii"),
            }
        ],
    }
    accession, acquired = str(header.get("AccessionNumber") or ""), _date(str(header.get("StudyDate") or ""))
    if accession:
        kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
        report["basedOn"] = [{"type": "ServiceRequest", "identifier": {"type": kind, "value": accession}}]
    if acquired:
        report["effectiveDateTime"] = acquired
    return report


def _provenance(document_input: DocumentInput, targets: Sequence[Json]) -> Json:
    roles = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
    agents: list[Json] = [
        {"type": {"coding": [{"system": roles, "code": "assembler"}]}, "who": {"reference": f"Device/{_id(document_input, 'device')}"}}
    ]
    signed = document_input.result.signature
    if signed is not None:
        who = {"display": signed.reader}
        agents.append({"type": {"coding": [{"system": roles, "code": "verifier"}]}, "who": who})
    return {
        "resourceType": "Provenance",
        "id": _id(document_input, "provenance"),
        "target": [{"reference": f"{target['resourceType']}/{target['id']}"} for target in targets],
        "recorded": _instant(document_input),
        "agent": agents,
        "entity": [{"role": "source", "what": _imaging_study(document_input)}],
    }


def _subject(header: Dataset) -> Json:
    """The patient by identifier; nothing where the header has none, because an invented one would be somebody else's."""
    value, issuer = str(header.get("PatientID") or "").strip(), str(header.get("IssuerOfPatientID") or "")
    if not value:
        return {}
    identifier: Json = {"value": value, **({"assigner": {"display": issuer}} if issuer else {})}
    return {"subject": {"type": "Patient", "identifier": identifier}}


def _imaging_study(document_input: DocumentInput) -> Json:
    study = document_input.result.source.study_instance_uid or str(require_headers(document_input).StudyInstanceUID)
    return {"type": "ImagingStudy", "identifier": {"system": _DICOM_UID, "value": f"urn:oid:{study}"}}


def _reasons(document_input: DocumentInput, level: Level) -> str:
    texts = [code_text(document_input.language, code) for code in level.excluded]
    return " ".join(texts) or "Not measured; the flags of the study say why."


def _absent(reason: str) -> Json:
    code = {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "not-performed"}
    return {"coding": [code], "text": reason}


def _category(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def _concept(concept: CodedConcept) -> Json:
    return {"coding": [_coding(concept)], "text": concept.meaning}


def _coding(concept: CodedConcept) -> Json:
    return {"system": _SYSTEMS[concept.scheme_designator], "code": concept.value, "display": concept.meaning}


def _date(value: str) -> str:
    # Without a time zone FHIR allows no time of day, and a header seldom has one.
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}" if len(value) == 8 and value.isdigit() else ""
