"""De-identified DICOM: the patient is nowhere in it, and everything that measuring and calibrating need still is."""

import gzip
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as standard
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless
from typer.testing import CliRunner

from builders.peers import need_program
from builders.results import Column, column_result
from builders.series import CtSeries, as_enhanced, ct_series
from trabecula_morphometry.codes import Code
from trabecula_service.cli.main import app
from trabecula_service.dicom.nifti import write_label_nifti
from trabecula_service.dicom.read import read_input
from trabecula_service.export.deidentified_set import export_deidentified
from trabecula_service.export.deidentify import NotDeidentifiableError, Removed, UidKey, deidentified
from trabecula_service.export.kept_elements import KEPT, NEW_UIDS, RETAINED_BY_OPTION, SEQUENCES
from trabecula_service.export.run import Exported
from trabecula_service.export.sources import FinishedStudy
from trabecula_service.ledger.database import open_ledger
from trabecula_service.result import PriorDensity, Result, Signature, flag
from trabecula_service.security.audit import read_all

COLUMN = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 3.0), size_xy=(64, 80))
KEY = UidKey(b"k" * 32)
PATIENT = {
    "PatientName": "Mustermann^Erika Rosalinde",
    "PatientID": "KIS-4711-0815",
    "IssuerOfPatientID": "Klinikum-Nordheide",
    "PatientBirthDate": "19310217",
    "PatientBirthTime": "031500",
    "OtherPatientNames": "Gabler^Erika",
    "OtherPatientIDs": "AOK-99887766",
    "PatientBirthName": "Gabler^Erika",
    "PatientAddress": "Lindenweg 17 Buxtehude",
    "PatientMotherBirthName": "Knopfmacher",
    "PatientTelephoneNumbers": "+49 4161 555123",
    "EthnicGroup": "Frisian",
    "Occupation": "Leuchtturmwart",
    "PatientComments": "Schwester von Dr. Kallweit",
    "PatientReligiousPreference": "Quaeker",
    "MedicalRecordLocator": "Archivraum-B12",
    "InsurancePlanIdentification": "DAK-Premium",
    "AdditionalPatientHistory": "Sturz im Treppenhaus",
    "ReferringPhysicianName": "Hausmann^Ottokar",
    "AccessionNumber": "ACC20260042",
    "StudyDescription": "Abdomen Mustermann",
    "SeriesDescription": "portal venous Mustermann",
    "InstitutionName": "Klinikum Nordheide",
    "StationName": "CT-KELLER-3",
    "OperatorsName": "Nachtdienst^Ulla",
    "ProtocolName": "Wirbel-Mustermann",
    "StudyDate": "20260417",
    "AcquisitionDate": "20260417",
    "StudyID": "ST-558812",
    "RequestingPhysician": "Oberarzt^Balduin",
    "ImageComments": "bitte an Dr. Kallweit",
    "FilterType": "FLAT MUSTERMANN",
}
KEEPS = {
    "TableHeight": "157.5",
    "ReconstructionDiameter": "380",
    "PatientSex": "F",
    "PatientSize": "1.62",
    "PatientWeight": "58",
    "ScanOptions": "HELICAL",
    "SpiralPitchFactor": 0.9,
    "Exposure": "212",
    "SoftwareVersions": "syngo VB20",
}


def marked(**more: object) -> CtSeries:
    volume, _, _ = COLUMN.volumes()
    series = ct_series(
        shape_zyx=volume.hu_zyx.shape,
        spacing_mm=(3.0, 2.0, 2.0),
        hu_zyx=volume.hu_zyx,
        kernel="B30f",
        device_serial="67117",
        contrast_agent="Ultravist Mustermann",
    )
    series = series.with_tags(**PATIENT, **KEEPS, PatientAge="095Y", **more)
    for dataset in series.datasets:
        block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x10, "OB", b"Mustermann^Erika Rosalinde")
        request = Dataset()
        request.RequestedProcedureDescription, request.ScheduledProcedureStepID = "CT Mustermann", "SPS-1234"
        dataset.RequestAttributesSequence = [request]
        dataset.preamble = b"Mustermann".ljust(128, b"\0")
        dataset.file_meta.SourceApplicationEntityTitle = "CT-KELLER-3"
    return series


def study_of(series: CtSeries, folder: Path) -> FinishedStudy:
    """What a batch or the service leaves of a measured series."""
    series.write(folder / "scan")
    read = read_input(folder / "scan")
    _, bodies, posterior = COLUMN.volumes()
    for name, labels in (("segmentation.nii.gz", bodies), ("segmentation_posterior.nii.gz", posterior)):
        write_label_nifti(folder / name, replace(labels, grid=read.volume.grid))
    who, at = "Rosamunde Ganzgenau", datetime(2026, 4, 18, tzinfo=UTC)
    signature = Signature(verdict="amended", reader=who, organization="Klinikum Nordheide", at=at, base_version=1)
    prior = PriorDensity(scanned_on=date(2020, 2, 3), mean_mg_cm3=100.0, interval95=(90.0, 110.0), basis="estimate", material="K2HPO4")
    result = column_result(COLUMN, signature=signature, priors=[prior], flags=[flag(Code.OTHER_SERIES, f"{series.series_uid}, 40 slices")])
    source = read.source.model_copy(update={"scanned_on": date(2026, 4, 17)})
    result = result.model_copy(update={"source": source, "acquisition": read.acquisition})

    @contextmanager
    def images() -> Iterator[Path]:
        yield folder / "scan"

    bodies_file, posterior_file = folder / "segmentation.nii.gz", folder / "segmentation_posterior.nii.gz"
    return FinishedStudy(key=str(source.study_instance_uid), result=result, bodies=bodies_file, posterior=posterior_file, images=images)


def export_of(study: FinishedStudy, out: Path, key: UidKey = KEY) -> Exported:
    return export_deidentified([study], out, out.with_name(f"{out.name}.csv"), key, only_reviewed=False)


def words(series: CtSeries) -> set[bytes]:
    """Every word of four letters or more that was written about the patient, the people and the house, and every original UID."""
    dataset = series.datasets[0]
    texts = [str(value) for value in PATIENT.values()] + ["Rosamunde Ganzgenau", "Ultravist", "SPS-1234"]
    found = {
        word for text in texts for word in text.replace("^", " ").split() if len(word) >= 4 and word not in ("FLAT", "portal", "venous")
    }
    for image in series.datasets:
        found |= {str(image.SOPInstanceUID)}
    return {word.encode() for word in found | {str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID)}}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[CtSeries, FinishedStudy, Path]:
    folder, series = tmp_path_factory.mktemp("deidentified"), marked()
    study = study_of(series, folder)
    assert export_of(study, folder / "set") == Exported(subjects=1, left_out=())
    return series, study, folder / "set"


def test_nothing_of_the_patient_is_in_any_byte(done: tuple[CtSeries, FinishedStudy, Path]) -> None:
    series, _, out = done
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == len(series.datasets) + 5
    for path in files:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        found = {word for word in words(series) if word.lower() in content.lower()}
        assert found == set(), path.name


def test_what_calibration_needs_is_still_there(done: tuple[CtSeries, FinishedStudy, Path]) -> None:
    series, study, out = done
    image, original = dcmread(out / "sub-trab0001" / "images" / "0001.dcm"), series.datasets[0]
    for keyword in (*KEEPS, "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "KVP", "ConvolutionKernel", "SliceThickness"):
        assert image[keyword].value == original[keyword].value, keyword
    assert image.PatientAge == "090Y", "older than 90 is 90"
    assert (image.PatientName, image.PatientID, image.PatientIdentityRemoved) == ("sub-trab0001", "sub-trab0001", "YES")
    assert [item.CodeValue for item in image.DeidentificationMethodCodeSequence] == ["113100", "113108", "113109"]
    assert "FilterType" not in image, "the patient's name stood in it"
    before, after = study.result.acquisition, read_input(out / "sub-trab0001" / "images").acquisition
    assert after == before.model_copy(update={"age_years": 90.0})


def test_the_images_give_the_same_volume_and_belong_to_the_result(done: tuple[CtSeries, FinishedStudy, Path]) -> None:
    _, study, out = done
    with study.images() as scan:
        before = read_input(scan)
    after = read_input(out / "sub-trab0001" / "images")
    assert np.array_equal(before.volume.hu_zyx, after.volume.hu_zyx)
    assert np.allclose(before.volume.grid.voxel_to_lps, after.volume.grid.voxel_to_lps)
    result = Result.from_json((out / "sub-trab0001" / "result.json").read_text())
    assert result.source.series_instance_uid == after.source.series_instance_uid != before.source.series_instance_uid
    assert result.source.content_sha256 == after.source.content_sha256
    assert [level.heights_mm for level in result.levels] == [level.heights_mm for level in study.result.levels]
    assert (result.priors, result.source.scanned_on) == ([], None)


def test_the_report_counts_what_was_removed_and_holds_no_value(done: tuple[CtSeries, FinishedStudy, Path]) -> None:
    series, _, out = done
    report = json.loads((out / "removed.json").read_text())["subjects"]["sub-trab0001"]
    assert (report["images"], report["verdict"], report["refused"]) == (len(series.datasets), "amended", {})
    assert report["removed"]["PatientAddress"] == report["removed"]["InstitutionName"] == len(series.datasets)
    assert report["removed"]["private elements"] == 2 * len(series.datasets)


def test_uids_are_led_on_by_the_key_alone(tmp_path: Path, done: tuple[CtSeries, FinishedStudy, Path]) -> None:
    _, study, out = done

    def uids(folder: Path) -> list[str]:
        return [str(dcmread(path).SOPInstanceUID) for path in sorted((folder / "sub-trab0001" / "images").iterdir())]

    export_of(study, tmp_path / "again")
    export_of(study, tmp_path / "other", UidKey(b"o" * 32))
    assert uids(tmp_path / "again") == uids(out)
    assert set(uids(tmp_path / "other")).isdisjoint(uids(out))
    made = UidKey.at(tmp_path / "key")
    assert made.uid("1.2.3") == UidKey.at(tmp_path / "key").uid("1.2.3") != KEY.uid("1.2.3")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


def test_the_standard_wants_nothing_removed_that_is_kept() -> None:
    listed = set(standard.D_TAGS + standard.Z_TAGS + standard.X_TAGS + standard.Z_D_TAGS + standard.X_Z_TAGS + standard.X_D_TAGS)
    listed |= set(standard.X_Z_D_TAGS + standard.X_Z_U_STAR_TAGS)

    def pair(keyword: str) -> tuple[int, int]:
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        return tag >> 16, tag & 0xFFFF

    kept_all_the_same = {keyword for keyword in KEPT | SEQUENCES | {"PatientAge"} if pair(keyword) in listed}
    assert kept_all_the_same == set(RETAINED_BY_OPTION)
    assert {keyword for keyword in KEPT | NEW_UIDS if pair(keyword) in set(standard.U_TAGS)} == NEW_UIDS


@pytest.mark.parametrize(
    ("elements", "why"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "no CT image"),
        ({"BurnedInAnnotation": "YES"}, "a picture of a screen"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "a picture of a screen"),
        ({"SamplesPerPixel": 3}, "a picture of a screen"),
        ({"OverlayRows": 64, "OverlayBitPosition": 12}, "an overlay"),
    ],
)
def test_what_may_show_a_name_is_refused(elements: dict[str, object], why: str) -> None:
    (image,) = ct_series(shape_zyx=(1, 8, 8)).datasets
    for keyword, value in elements.items():
        if keyword.startswith("Overlay"):
            image.add_new((0x6000, 0x0010 if keyword == "OverlayRows" else 0x0102), "US", value)
        else:
            setattr(image, keyword, value)
    with pytest.raises(NotDeidentifiableError, match=why):
        deidentified(image, "sub-trab0001", KEY, Removed())


def test_a_number_that_is_the_patients_does_not_stay_as_another_number() -> None:
    (image,) = ct_series(shape_zyx=(1, 8, 8)).with_tags(PatientID="471108", SeriesNumber=471108).datasets
    removed = Removed()
    clean = deidentified(image, "sub-trab0001", KEY, removed)
    assert (clean.SeriesNumber, removed.counts["SeriesNumber"]) == (None, 1)


@pytest.mark.parametrize(("keyword", "stays"), [("WindowCenter", True), ("PixelSpacing", False)])
def test_a_value_that_breaks_the_standard_is_removed_or_the_image_left_out(keyword: str, stays: bool, tmp_path: Path) -> None:
    series = ct_series(shape_zyx=(1, 8, 8)).with_tags(WindowCenter="11.25", PixelSpacing=["11.25", "11.25"])
    (path,) = series.write(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"11.25", b"11,25"))
    # One of the two is mended again.
    image = dcmread(path)
    setattr(image, "PixelSpacing" if stays else "WindowCenter", ["1", "1"] if stays else "40")
    if stays:
        clean = deidentified(image, "sub-trab0001", KEY, Removed())
        assert keyword not in clean
    else:
        with pytest.raises(NotDeidentifiableError, match="its PixelSpacing breaks the standard"):
            deidentified(image, "sub-trab0001", KEY, Removed())


def test_pixels_that_are_cut_off_are_not_passed_on() -> None:
    (image,) = ct_series(shape_zyx=(1, 8, 8)).datasets
    image.PixelData = image.PixelData[:100]
    with pytest.raises(NotDeidentifiableError, match="cut off"):
        deidentified(image, "sub-trab0001", KEY, Removed())


@pytest.mark.peer
def test_another_program_finds_a_whole_ct_image(tmp_path: Path) -> None:
    program = need_program("dciodvfy")
    (image,) = ct_series(shape_zyx=(1, 8, 8), transfer_syntax=str(RLELossless)).with_tags(AcquisitionNumber=None).datasets
    deidentified(image, "sub-trab0001", KEY, Removed()).save_as(tmp_path / "clean.dcm", enforce_file_format=True)
    said = subprocess.run([program, str(tmp_path / "clean.dcm")], capture_output=True, text=True, check=False)
    errors = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
    # Its release of 2022 asks for laterality in every image, and for multi-energy elements in images of one energy.
    assert [line for line in errors if "<Laterality>" not in line and "Multienergy" not in line] == []


def test_a_study_of_which_no_image_may_go_out_is_left_out_with_its_reason(tmp_path: Path) -> None:
    study = study_of(marked(BurnedInAnnotation="YES"), tmp_path)
    exported = export_of(study, tmp_path / "set")
    assert exported.subjects == 0
    assert "names may stand in its pixels" in exported.left_out[0][1]
    assert not (tmp_path / "set" / "sub-trab0001").exists()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_every_transfer_syntax_gives_the_same_values(syntax: str, tmp_path: Path) -> None:
    series = ct_series(transfer_syntax=str(syntax))
    expected = read_input(series.write(tmp_path / "before")[0].parent).volume.hu_zyx
    (tmp_path / "after").mkdir()
    for number, path in enumerate(sorted((tmp_path / "before").iterdir())):
        clean = deidentified(dcmread(path), "sub-trab0001", KEY, Removed())
        clean.save_as(tmp_path / "after" / f"{number}.dcm", enforce_file_format=True)
    assert np.array_equal(read_input(tmp_path / "after").volume.hu_zyx, expected)


def test_an_enhanced_ct_keeps_its_frames(tmp_path: Path) -> None:
    image = as_enhanced(ct_series()).datasets[0]
    image.PatientName = "Mustermann^Erika"
    image.save_as(tmp_path / "before.dcm", enforce_file_format=True)
    clean = deidentified(dcmread(tmp_path / "before.dcm"), "sub-trab0001", KEY, Removed())
    clean.save_as(tmp_path / "after.dcm", enforce_file_format=True)
    before, after = read_input(tmp_path / "before.dcm"), read_input(tmp_path / "after.dcm")
    assert np.array_equal(before.volume.hu_zyx, after.volume.hu_zyx)
    assert np.allclose(before.volume.grid.voxel_to_lps, after.volume.grid.voxel_to_lps)


def test_the_command_makes_a_key_beside_the_folder_and_notes_the_export(tmp_path: Path) -> None:
    arguments = ["export", "--deidentify", "--out", tmp_path / "set", "--data", tmp_path / "data"]
    ran = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert ran.exit_code == 0, ran.output
    assert "0 subjects" in ran.output
    assert (tmp_path / "set.uid-key").exists()
    ledger = open_ledger(tmp_path / "data" / "ledger.sqlite")
    with ledger.read() as connection:
        ((_, entry, _),) = read_all(connection)
    ledger.close()
    assert (entry.action, entry.detail) == ("export", "0 subjects as de-identified DICOM")
