"""Which documents a result has, what stands in them, and that they are the same bytes each time."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from builders.results import CREATED, FRAME_UID, SERIES_UID, STUDY_UID, Column, column_input, column_result, not_evaluable
from builders.results import level as level_of
from trabecula_morphometry.codes import Code
from trabecula_service.render.derived_object import can_be_referenced
from trabecula_service.render.document_input import DocumentInput, RenderError
from trabecula_service.render.overview import level_cells
from trabecula_service.render.registry import DOCUMENTS, render_all
from trabecula_service.render.segmentation_object import segmentation_dcm
from trabecula_service.render.structured_report import report_sr_dcm
from trabecula_service.result import Density, Genant, flag

SMALL = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
DICOM = ("report.sr.dcm", "segmentation.seg.dcm", "capture.sc.dcm", "report.pdf.dcm", "points.pr.dcm")


@pytest.fixture(scope="module")
def made() -> DocumentInput:
    return column_input(SMALL)


@pytest.fixture(scope="module")
def documents(made: DocumentInput) -> dict[str, bytes]:
    return render_all(made)


def read(data: bytes) -> Dataset:
    return dcmread(BytesIO(data))


def items(dataset: Dataset) -> Iterator[Dataset]:
    """All content items of a report, depth first."""
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from items(item)


def meaning(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def groups(report: Dataset) -> dict[str, Dataset]:
    """Measurement groups by tracking identifier."""
    found = [item for item in items(report) if "ConceptNameCodeSequence" in item and meaning(item) == "Measurement Group"]
    return {next(str(part.TextValue) for part in group.ContentSequence if meaning(part) == "Tracking Identifier"): group for group in found}


def numbers(group: Dataset) -> dict[str, tuple[float, str]]:
    found = {}
    for item in group.ContentSequence:
        if item.ValueType == "NUM":
            parts = [part for part in item.get("ContentSequence", []) if meaning(part) == "Derivation"]
            derivation = [str(part.ConceptCodeSequence[0].CodeMeaning) for part in parts]
            value = item.MeasuredValueSequence[0]
            unit = str(value.MeasurementUnitsCodeSequence[0].CodeValue)
            found[" ".join([meaning(item), *derivation])] = (float(value.NumericValue), unit)
    return found


def evaluations(group: Dataset) -> dict[str, str]:
    return {meaning(item): str(item.ConceptCodeSequence[0].CodeMeaning) for item in group.ContentSequence if item.ValueType == "CODE"}


def test_a_dicom_result_has_every_document_that_needs_no_earlier_version_and_no_wish(documents: dict[str, bytes]) -> None:
    usual = {document.file_name for document in DOCUMENTS if not document.optional and not document.superseding}
    assert set(documents) == usual
    assert {document.file_name for document in DOCUMENTS} - usual == {"labelmap.seg.dcm", "rejection.ko.dcm"}


def test_a_nifti_result_has_no_dicom_objects_and_no_patient() -> None:
    documents = render_all(column_input(SMALL, dicom=False))
    pictures_and_tables = {"report.pdf", "overview.png", "measurements.csv"}
    assert set(documents) == {*pictures_and_tables, "segmentation.nii.gz", "segmentation_posterior.nii.gz"}


def test_a_result_that_is_not_evaluable_has_the_reports_with_its_reason(made: DocumentInput) -> None:
    documents = render_all(not_evaluable(made, Code.HU_IMPLAUSIBLE))
    messages = {"report.oru.hl7", "report-pdf.oru.hl7", "report.fhir.json", "measurements.csv"}
    assert set(documents) == {"report.pdf", "report.sr.dcm", "report.pdf.dcm", *messages}
    comments = [str(item.TextValue) for item in items(read(documents["report.sr.dcm"])) if item.ValueType == "TEXT"]
    assert any("The values are not Hounsfield units." in text for text in comments)


def test_the_same_input_gives_the_same_bytes_at_another_time(made: DocumentInput, documents: dict[str, bytes]) -> None:
    # highdicom stamps its objects with the clock (microseconds) and random UIDs: any that is left over shows here.
    again = render_all(made)
    assert [name for name in documents if documents[name] != again[name]] == []


def test_every_object_belongs_to_the_study_and_is_marked_as_ours(documents: dict[str, bytes]) -> None:
    series = set()
    for name in DICOM:
        dataset = read(documents[name])
        assert dataset.StudyInstanceUID == STUDY_UID
        assert dataset.SeriesDescription.startswith("trabecula AI BMD/VF")
        assert dataset.SeriesDescription.endswith("not for primary diagnosis")
        assert dataset.ContributingEquipmentSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert dataset.InstanceCreationDate == f"{CREATED:%Y%m%d}"
        assert UID(dataset.SOPInstanceUID).is_valid
        series.add((dataset.SeriesInstanceUID, int(dataset.SeriesNumber)))
    assert len(series) == len(DICOM)
    assert SERIES_UID not in {uid for uid, _ in series}


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 192", "Müller^Zoë".encode()),
        ("ISO_IR 100", "Müller^Zoë".encode("latin-1")),
        (["", "ISO 2022 IR 87"], b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"),
        (["", "ISO 2022 IR 149"], b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"),
    ],
)
def test_the_patients_name_is_copied_byte_for_byte(character_set: str | list[str], name: bytes) -> None:
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    made = column_input(SMALL, headers={"PatientName": None, "SpecificCharacterSet": character_set, "StudyDescription": None})
    for header in made.image.headers:
        header[Tag(0x00100010)] = RawDataElement(Tag(0x00100010), "PN", len(name), name, 0, False, True)
    for render in (report_sr_dcm, segmentation_dcm):
        data = render(made)
        assert data.count(name) == 1
        assert read(data).SpecificCharacterSet == character_set


def test_missing_identity_stays_missing() -> None:
    absent = dict.fromkeys(("PatientID", "StudyDate", "StudyTime", "AccessionNumber", "PatientSex", "StudyID", "ReferringPhysicianName"))
    made = column_input(SMALL, headers={**absent, "PatientName": "", "PatientBirthDate": "", "SpecificCharacterSet": None})
    for render in (report_sr_dcm, segmentation_dcm):
        dataset = read(render(made))
        for keyword in (*absent, "PatientName", "PatientBirthDate"):
            assert keyword in dataset
            assert not dataset[keyword].value


@pytest.mark.parametrize(("scheme", "kept"), [("99LOCAL", 1), (None, 0)])
def test_a_procedure_code_is_copied_unless_it_lost_its_scheme(scheme: str | None, kept: int) -> None:
    code = Dataset()
    code.CodeValue, code.CodeMeaning = "CTABD", "CT of the abdomen"
    if scheme:
        code.CodingSchemeDesignator = scheme
    report = read(report_sr_dcm(column_input(SMALL, headers={"ProcedureCodeSequence": [code]})))
    assert len(report.get("ProcedureCodeSequence", [])) == kept


def test_images_without_uids_have_no_dicom_objects() -> None:
    made = column_input(SMALL, headers={"StudyInstanceUID": ""})
    assert not can_be_referenced(made.image.headers)
    assert not set(DICOM) & set(render_all(made))
    with pytest.raises(RenderError, match="without study, series and instance UIDs"):
        report_sr_dcm(made)


def test_a_report_is_complete_preliminary_and_unverified(documents: dict[str, bytes]) -> None:
    report = read(documents["report.sr.dcm"])
    assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == ("COMPLETE", "PRELIMINARY", "UNVERIFIED")
    assert "99TRABECULA" in [item.CodingSchemeDesignator for item in report.CodingSchemeIdentificationSequence]


def test_a_report_holds_the_numbers_of_the_result_with_their_units(made: DocumentInput, documents: dict[str, bytes]) -> None:
    found = groups(read(documents["report.sr.dcm"]))
    assert set(found) == {"study", "T12", "L1", "L2"}
    for level in made.result.levels:
        got = numbers(found[level.name])
        assert level.density is not None
        assert level.hu is not None
        assert level.heights_mm is not None
        assert got["Trabecular volumetric bone mineral density"] == (pytest.approx(level.density.value_mg_cm3), "mg/cm3")
        assert got["Density, lower limit of 95 percent interval"] == (pytest.approx(level.density.interval95[0]), "mg/cm3")
        assert got["Density, upper limit of 95 percent interval"] == (pytest.approx(level.density.interval95[1]), "mg/cm3")
        assert got["Attenuation Coefficient Mean"] == (pytest.approx(level.hu.mean), "[hnsf'U]")
        assert got["Attenuation Coefficient Standard Deviation"] == (pytest.approx(level.hu.sd), "[hnsf'U]")
        assert got["Vertebral body height, anterior"] == (pytest.approx(level.heights_mm.anterior), "mm")
    assert numbers(found["L1"])["Loss of vertebral body height, max"] == (pytest.approx(31.0), "%")
    said = evaluations(found["L1"])
    assert said["Genant semiquantitative grade"] == "Grade 2: height loss 25 to below 40 percent"
    assert said["Genant type of deformity"] == "Wedge deformity"
    assert said["Base material of the density"] == "Dipotassium hydrogen phosphate equivalent"
    assert numbers(found["study"])["Mean trabecular volumetric bone mineral density"] == (pytest.approx(107.5), "mg/cm3")
    assert evaluations(found["study"])["Category of the mean density"] == "80 to 120 mg/cm3"


def test_what_was_not_measured_is_not_in_the_report() -> None:
    column = SMALL
    bare = [item.model_copy(update={"density": None, "hu": None, "heights_mm": None}) for item in column_result(column).levels]
    report = read(report_sr_dcm(column_input(column, levels=bare, density=Density(), flags=[flag(Code.NO_CALIBRATION)])))
    found = groups(report)
    assert not any("density" in name.lower() or "Attenuation" in name for name in numbers(found["L1"]))
    assert not any("Mean" in name for name in numbers(found["study"]))
    assert "Category of the mean density" not in evaluations(found["study"])


def test_each_level_names_its_segment_of_the_segmentation(documents: dict[str, bytes]) -> None:
    segmentation = read(documents["segmentation.seg.dcm"])
    labels = {int(item.SegmentNumber): str(item.TrackingID) for item in segmentation.SegmentSequence}
    assert list(labels.values()) == ["T12", "L1", "L2", "Sacrum"]
    uids = {str(item.TrackingID): str(item.TrackingUID) for item in segmentation.SegmentSequence}
    for name, group in groups(read(documents["report.sr.dcm"])).items():
        if name == "study":
            continue
        reference = next(item for item in group.ContentSequence if item.ValueType == "IMAGE").ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
        assert labels[int(reference.ReferencedSegmentNumber)] == name
        assert next(str(item.UID) for item in group.ContentSequence if meaning(item) == "Tracking Unique Identifier") == uids[name]


def test_l6_and_t13_are_coded_in_the_private_scheme_only() -> None:
    column = Column(names=("T12", "T13", "L6"), spacing_mm=SMALL.spacing_mm, size_xy=SMALL.size_xy)
    segmentation = read(segmentation_dcm(column_input(column, losses={})))
    codes = [item.SegmentedPropertyTypeCodeSequence[0] for item in segmentation.SegmentSequence]
    assert [(code.CodingSchemeDesignator, code.CodeValue) for code in codes[:3]] == [
        ("SCT", "23215003"),
        ("99TRABECULA", "T13"),
        ("99TRABECULA", "L6"),
    ]


def segments_in_space(segmentation: Dataset) -> dict[int, np.ndarray]:
    """LPS centroid of each segment, from frame positions alone."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    row_mm, column_mm = (float(step) for step in shared.PixelMeasuresSequence[0].PixelSpacing)
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    points: dict[int, list[np.ndarray]] = {}
    for frame, group in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        rows, columns = np.nonzero(frame)
        lps = position + columns[:, None] * column_mm * orientation[:3] + rows[:, None] * row_mm * orientation[3:]
        points.setdefault(number, []).append(lps)
    return {number: np.concatenate(parts).mean(axis=0) for number, parts in points.items()}


@pytest.mark.parametrize("tilt", [0.0, 0.8])
def test_segments_lie_on_the_bodies_also_with_a_tilted_gantry(tilt: float) -> None:
    column = replace(SMALL, tilt_mm_per_slice=tilt)
    found = segments_in_space(read(segmentation_dcm(column_input(column))))
    for number, name in enumerate(column.names, start=1):
        assert found[number] == pytest.approx(column.center(name), abs=2.1)


def test_segments_lie_on_the_slices_that_exist_when_some_are_missing(made: DocumentInput) -> None:
    kept = tuple(header for index, header in enumerate(made.image.headers) if index % 3 != 1)
    segmentation = read(segmentation_dcm(replace(made, image=replace(made.image, headers=kept, even_slices=False))))
    positions = {tuple(map(float, header.ImagePositionPatient)) for header in kept}
    frames = segmentation.PerFrameFunctionalGroupsSequence
    assert {tuple(map(float, item.PlanePositionSequence[0].ImagePositionPatient)) for item in frames} <= positions
    for number, name in enumerate(SMALL.names, start=1):
        assert segments_in_space(segmentation)[number] == pytest.approx(SMALL.center(name), abs=3.0)


def test_a_series_without_frame_of_reference_gets_a_steady_one() -> None:
    made = column_input(SMALL, headers={"FrameOfReferenceUID": None})
    first, second = (read(segmentation_dcm(item)).FrameOfReferenceUID for item in (made, replace(made, version=2)))
    assert first == second != FRAME_UID


def test_the_capture_is_a_colour_picture_without_the_patient_in_its_pixels(documents: dict[str, bytes]) -> None:
    capture = read(documents["capture.sc.dcm"])
    assert (capture.BurnedInAnnotation, list(capture.ImageType)) == ("YES", ["DERIVED", "SECONDARY"])
    picture = np.asarray(Image.open(BytesIO(documents["overview.png"])))
    np.testing.assert_array_equal(capture.pixel_array, picture)


def test_tables_give_a_height_loss_only_where_the_level_is_graded() -> None:
    graded = level_of("L1", (0.0, 0.0, 0.0), loss=0.31)
    assert level_cells(graded)[3:] == ("31 %", "2 wedge")
    ungraded = graded.model_copy(update={"genant": Genant(), "excluded": [Code.LEVEL_NOT_GRADED]})
    assert level_cells(ungraded)[3:] == ("–", "–")


def test_the_encapsulated_pdf_is_the_report(documents: dict[str, bytes]) -> None:
    dataset = read(documents["report.pdf.dcm"])
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == documents["report.pdf"]


def test_labels_on_another_grid_are_refused(made: DocumentInput) -> None:
    other = Column(names=("L1",)).volumes()[1]
    with pytest.raises(RenderError, match="different grids"):
        replace(made, bodies=other)


def test_a_time_without_zone_is_refused(made: DocumentInput) -> None:
    with pytest.raises(RenderError, match="no time zone"):
        replace(made, created=CREATED.replace(tzinfo=None))
