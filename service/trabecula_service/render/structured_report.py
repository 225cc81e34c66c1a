"""DICOM SR: Comprehensive 3D SR by TID 1500, one measurement group per vertebral level and one for the study."""

from collections.abc import Sequence
from typing import TypeAlias

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_service.render import dicom_codes as concepts
from trabecula_service.render import wording
from trabecula_service.render.derived_object import (
    ALGORITHM_NAME,
    MANUFACTURER,
    MODEL_NAME,
    ObjectKind,
    new_object,
    software_versions,
    to_bytes,
)
from trabecula_service.render.dicom_codes import ascii_text
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.image_library import image_library, sop_reference
from trabecula_service.render.quantities import Answer, trend_items
from trabecula_service.render.segmentation_object import segment_numbers
from trabecula_service.render.signature import sign
from trabecula_service.render.source_slices import bone_slices, source_references
from trabecula_service.render.stack_inputs import stack_inputs
from trabecula_service.render.uids import DEVICE_UID, derived_uid, tracking_uid
from trabecula_service.result import Heights, Level

REPORT_KIND = ObjectKind(
    key="report", sop_class_uid=str(Comprehensive3DSRStorage), modality="SR", series_label="SR", series_number_offset=1
)

Group: TypeAlias = VolumetricROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations


def report_sr_dcm(document_input: DocumentInput) -> bytes:
    """``report.sr.dcm``: complete; preliminary and unverified until a reader signs."""
    algorithm = _algorithm(document_input)
    series = [_MeasuredSeries(entry) for entry in stack_inputs(document_input)]
    # Each level refers to the series and the segmentation that it was measured in; the groups stand in the order of the column.
    made = {level.name: _level_group(each.input, level, each.segments, algorithm) for each in series for level in each.input.result.levels}
    groups = [made[level.name] for level in document_input.result.levels]
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_observer(document_input)),
        procedure_reported=concepts.CT_OF_SPINE_REPORTED,
        imaging_measurements=[_study_group(document_input, algorithm), *groups],
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            CodedConcept(value="en", scheme_designator="RFC5646", meaning="English")
        ),
    )[0]
    report = new_object(document_input, REPORT_KIND)
    report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag = "COMPLETE", "PRELIMINARY", "UNVERIFIED"
    if document_input.result.signature is not None:
        sign(report, document_input.result.signature)
    # highdicom's own document class copies and searches the whole tree several times, which took half of the time of all documents.
    report.update(content)
    # Rows of TID 1500: the image library stands before the measurements, which are last.
    *context, measurements = content.ContentSequence
    report.ContentSequence = DicomSequence([*context, image_library([(each.input, each.references) for each in series]), measurements])
    evidence = [each.references for each in series] + [[_segmentation_evidence(each.input)] for each in series if each.segments]
    report.CurrentRequestedProcedureEvidenceSequence = DicomSequence([_evidence_of_study(evidence)])
    report.PerformedProcedureCodeSequence = DicomSequence()
    report.ReferencedPerformedProcedureStepSequence = DicomSequence()
    return to_bytes(report)


class _MeasuredSeries:
    """One series of the report: its levels, the slices that show them, and the segment numbers of its segmentation."""

    def __init__(self, document_input: DocumentInput) -> None:
        self.input = document_input
        references = source_references(document_input)
        self.references = [references[index] for index in bone_slices(document_input)]
        self.segments = segment_numbers(document_input.bodies) if document_input.result.status != "not_evaluable" else {}


def _evidence_of_study(series: Sequence[Sequence[Dataset]]) -> Dataset:
    """Every object that the report names, by series (PS3.3 C.17.2.1)."""
    study = Dataset()
    study.StudyInstanceUID = series[0][0].StudyInstanceUID
    study.ReferencedSeriesSequence = DicomSequence()
    for objects in series:
        item = Dataset()
        item.SeriesInstanceUID = objects[0].SeriesInstanceUID
        item.ReferencedSOPSequence = DicomSequence([sop_reference(instance) for instance in objects])
        study.ReferencedSeriesSequence.append(item)
    return study


def _segmentation_evidence(document_input: DocumentInput) -> Dataset:
    """What the report needs of our segmentation to name it as evidence, without rendering it."""
    item = Dataset()
    item.SOPClassUID = SegmentationStorage
    item.SOPInstanceUID = derived_uid(document_input, "segmentation/instance")
    item.SeriesInstanceUID = derived_uid(document_input, "segmentation/series")
    return item


def _observer(document_input: DocumentInput) -> ObserverContext:
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=DEVICE_UID,
            name=ALGORITHM_NAME,
            manufacturer_name=MANUFACTURER,
            model_name=MODEL_NAME,
            serial_number=ascii_text(document_input.result.software.weights_sha256[:16]) or "unknown",
        ),
    )


def _algorithm(document_input: DocumentInput) -> AlgorithmIdentification:
    software = document_input.result.software
    return AlgorithmIdentification(
        name=ALGORITHM_NAME,
        version=software_versions(document_input),
        parameters=[f"backend {ascii_text(software.backend)}", f"weights sha256 {ascii_text(software.weights_sha256, 80)}"],
        family=concepts.ARTIFICIAL_INTELLIGENCE,
        manufacturer=MANUFACTURER,
    )


def _tracking(document_input: DocumentInput, name: str) -> TrackingIdentifier:
    header = document_input.image.headers[0]
    return TrackingIdentifier(uid=tracking_uid(str(header.StudyInstanceUID), str(header.SeriesInstanceUID), name), identifier=name)


def _level_group(document_input: DocumentInput, level: Level, numbers: dict[int, int], algorithm: AlgorithmIdentification) -> Group:
    measurements = _level_measurements(document_input, level)
    evaluations = _level_evaluations(document_input, level)
    site = FindingSite(anatomic_location=concepts.level_code(level.name))
    label = LABEL_OF_LEVEL[level.name]
    if label not in numbers:
        return MeasurementsAndQualitativeEvaluations(
            tracking_identifier=_tracking(document_input, level.name),
            finding_type=concepts.VERTEBRAL_BODY,
            finding_sites=[site],
            algorithm_id=algorithm,
            measurements=measurements,
            qualitative_evaluations=evaluations,
        )
    segment = ReferencedSegment(
        sop_class_uid=SegmentationStorage,
        sop_instance_uid=derived_uid(document_input, "segmentation/instance"),
        segment_number=numbers[label],
        source_series=SourceSeriesForSegmentation(str(document_input.image.headers[0].SeriesInstanceUID)),
    )
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(document_input, level.name),
        referenced_segment=segment,
        finding_type=concepts.VERTEBRAL_BODY,
        finding_sites=[site],
        algorithm_id=algorithm,
        measurements=measurements,
        qualitative_evaluations=evaluations,
    )


def _level_measurements(document_input: DocumentInput, level: Level) -> list[Measurement]:
    found = [_number(concepts.CONFIDENCE, level.confidence, concepts.NO_UNIT)]
    if level.density is not None:
        low, high = level.density.interval95
        limits = ((concepts.DENSITY, level.density.value_mg_cm3), (concepts.DENSITY_LOW, low), (concepts.DENSITY_HIGH, high))
        for name, value in limits:
            found.append(_density_number(document_input, name, value))
    if level.hu is not None:
        values = ((concepts.MEAN, level.hu.mean), (concepts.STANDARD_DEVIATION, level.hu.sd), (concepts.MEDIAN, level.hu.median))
        for derivation, value in values:
            found.append(_number(concepts.ATTENUATION, value, concepts.HOUNSFIELD, derivation=derivation))
        found.append(_number(concepts.VOLUME, level.hu.volume_mm3, concepts.CUBIC_MILLIMETRE))
    found += _per_place(level.heights_mm, concepts.HEIGHT, concepts.MILLIMETRE)
    found += _per_place(level.heights_sd_mm, concepts.HEIGHT_SD, concepts.MILLIMETRE)
    found += _per_place(level.expected_mm, concepts.HEIGHT_EXPECTED, concepts.MILLIMETRE)
    found += _per_place(level.height_loss, concepts.HEIGHT_LOSS, concepts.PERCENT, factor=100.0)
    if level.height_loss is not None and level.height_loss.max is not None:
        found.append(_number(concepts.HEIGHT_LOSS["max"], level.height_loss.max * 100.0, concepts.PERCENT))
    for code, probability in zip(concepts.GRADE_PROBABILITY, level.genant.probability or (), strict=False):
        found.append(_number(code, probability, concepts.NO_UNIT))
    return found


def _per_place(heights: Heights | None, names: dict[str, CodedConcept], unit: CodedConcept, factor: float = 1.0) -> list[Measurement]:
    if heights is None:
        return []
    values = [(place, getattr(heights, place)) for place in concepts.PLACES]
    return [_number(names[place], value * factor, unit) for place, value in values if value is not None]


def _density_number(document_input: DocumentInput, name: CodedConcept, value: float) -> Measurement:
    """A density with its basis (method) and base material (modifier): it cannot be read apart from them."""
    density = document_input.result.density
    measurement = _number(name, value, concepts.MG_CM3, method=concepts.BASES[density.basis])
    if density.material is not None:
        measurement[0].ContentSequence.append(
            CodeContentItem(concepts.MATERIAL, concepts.MATERIALS[density.material], RelationshipTypeValues.HAS_CONCEPT_MOD)
        )
    return measurement


def _number(
    name: CodedConcept,
    value: float,
    unit: CodedConcept,
    *,
    derivation: CodedConcept | None = None,
    method: CodedConcept | None = None,
) -> Measurement:
    # Four decimals are far below any uncertainty here and keep the decimal string within its 16 signs.
    return Measurement(name=name, value=round(float(value), 4), unit=unit, derivation=derivation, method=method)


def _level_evaluations(document_input: DocumentInput, level: Level) -> list[QualitativeEvaluation]:
    density = document_input.result.density
    found = [QualitativeEvaluation(concepts.FIELD_OF_VIEW, concepts.FIELD_OF_VIEW_VALUES[level.complete])]
    if level.density is not None:
        found.append(QualitativeEvaluation(concepts.BASIS, concepts.BASES[density.basis]))
        if density.material is not None:
            found.append(QualitativeEvaluation(concepts.MATERIAL, concepts.MATERIALS[density.material]))
    if level.genant.grade is not None:
        found.append(QualitativeEvaluation(concepts.GRADE, concepts.GRADES[level.genant.grade]))
    if level.genant.type is not None:
        found.append(QualitativeEvaluation(concepts.SHAPE, concepts.SHAPES[level.genant.type]))
    found += [QualitativeEvaluation(concepts.EXCLUSION, concepts.reason_code(code)) for code in level.excluded]
    return found


def _study_group(document_input: DocumentInput, algorithm: AlgorithmIdentification) -> MeasurementsAndQualitativeEvaluations:
    result = document_input.result
    density, fractures = result.density, result.fractures
    measurements: list[Measurement] = []
    evaluations = [
        QualitativeEvaluation(concepts.STATUS, concepts.STATUSES[result.status]),
        QualitativeEvaluation(concepts.BASIS, concepts.BASES[density.basis]),
        QualitativeEvaluation(concepts.CONTRAST_PHASE, concepts.contrast_phase_code(result.acquisition.contrast.phase)),
    ]
    if density.mean_mg_cm3 is not None and density.interval95 is not None:
        names = (concepts.MEAN_DENSITY, concepts.MEAN_DENSITY_LOW, concepts.MEAN_DENSITY_HIGH)
        for name, value in zip(names, (density.mean_mg_cm3, *density.interval95), strict=True):
            measurements.append(_density_number(document_input, name, value))
    for item in trend_items(result):
        if isinstance(item, Answer):
            evaluations.append(QualitativeEvaluation(item.name, item.value))
        elif item.basis is not None:
            measurements.append(_density_number(document_input, item.name, item.value))
        else:
            measurements.append(_number(item.name, item.value, item.unit))
    if density.material is not None:
        evaluations.append(QualitativeEvaluation(concepts.MATERIAL, concepts.MATERIALS[density.material]))
    if density.category is not None:
        evaluations.append(QualitativeEvaluation(concepts.CATEGORY, concepts.CATEGORIES[density.category]))
    if fractures.spinal_deformity_index is not None:
        measurements.append(_number(concepts.DEFORMITY_INDEX, fractures.spinal_deformity_index, concepts.NO_UNIT))
    if fractures.max_grade is not None:
        evaluations.append(QualitativeEvaluation(concepts.MAX_GRADE, concepts.GRADES[fractures.max_grade]))
    if result.levels:
        certainty = concepts.NUMBERING_CERTAIN if result.numbering.certain else concepts.NUMBERING_UNCERTAIN
        evaluations.append(QualitativeEvaluation(concepts.NUMBERING, certainty))
    for code in dict.fromkeys(flag.code for flag in result.flags if flag.level is None):
        evaluations.append(QualitativeEvaluation(concepts.EXCLUSION, concepts.reason_code(code)))
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(document_input, "study"),
        finding_type=concepts.STUDY_SUMMARY,
        finding_sites=[FindingSite(anatomic_location=concepts.SPINE)],
        algorithm_id=algorithm,
        measurements=measurements,
        qualitative_evaluations=evaluations,
    )
    for text in _comments(document_input):
        group[0].ContentSequence.append(
            TextContentItem(name=concepts.COMMENT, value=ascii_text(text, 1000), relationship_type=RelationshipTypeValues.CONTAINS)
        )
    return group


def _comments(document_input: DocumentInput) -> Sequence[str]:
    result = document_input.result
    said = [f"{wording.standing(result)}. {wording.headline(result)}"]
    said += [f"Reader: {text}" for text in (*result.signature.changes, result.signature.reason) if text] if result.signature else []
    if result.status != "not_evaluable":
        said += [wording.density_statement(result), wording.fracture_statement(result), wording.numbering_statement(result)]
        said += [change] if (change := wording.trend_statement(result)) else []
    if result.density.calibration_id:
        said.append(f"Calibration {result.density.calibration_id}")
    said += [f"{item.level + ': ' if item.level else ''}{item.code}: {item.text}" for item in result.flags]
    said += [*wording.advice(result), wording.LIMITS]
    return said
