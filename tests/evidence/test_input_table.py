"""Every row of the design's table of inputs, with a real series or one derived from it: exit code, message, result."""

import shutil
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, generate_uid

from builders.changed_series import Change, real_slices, rows_flipped, sheared, squashed, values_shifted, with_pixels, write_slices
from trabecula_morphometry.codes import Code
from trabecula_service.pipeline.analyze import analyze_input
from trabecula_service.pipeline.request import AnalyzeOutcome, AnalyzeRequest

pytestmark = pytest.mark.real_ct

LOW_MM, HIGH_MM = -720.0, -540.0
"""L1-L5 of petct-abdopelvis."""


def analyze(path: Path, out: Path, **options: int) -> AnalyzeOutcome:
    return analyze_input(AnalyzeRequest(input=path, out=out, created=datetime(2026, 1, 1, tzinfo=UTC), **options))  # type: ignore[arg-type]


def codes(outcome: AnalyzeOutcome) -> set[Code]:
    return {entry.code for entry in outcome.result.flags} if outcome.result else set()


@pytest.fixture(scope="module")
def petct(shared: Path) -> Path:
    return shared / "ct" / "petct-abdopelvis" / "dicom"


def lumbar(folder: Path, change: Change | None = None) -> list[Dataset]:
    slices = real_slices(folder, low_mm=LOW_MM, high_mm=HIGH_MM)
    return [changed for dataset in slices if (changed := change(dataset) if change else dataset) is not None]


@pytest.fixture(scope="module")
def plain(petct: Path, tmp_path_factory: pytest.TempPathFactory) -> AnalyzeOutcome:
    folder = tmp_path_factory.mktemp("plain")
    return analyze(write_slices(lumbar(petct), folder / "series"), folder / "out")


def unreadable_inputs() -> list[tuple[str, Callable[[Path, Path], Path]]]:
    def empty(folder: Path, _petct: Path) -> Path:
        (folder / "in").mkdir()
        return folder / "in"

    def text(folder: Path, _petct: Path) -> Path:
        (folder / "in").mkdir()
        (folder / "in" / "readme.dcm").write_text("this is no image")
        return folder / "in"

    def truncated(folder: Path, petct: Path) -> Path:
        def cut(dataset: Dataset) -> Dataset:
            dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]
            return dataset

        return write_slices(lumbar(petct, cut), folder / "in")

    def unsupported(folder: Path, petct: Path) -> Path:
        (folder / "in").mkdir()
        for number, dataset in enumerate(lumbar(petct)):
            dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.102")  # MPEG-4
            dataset.PixelData = encapsulate([dataset.PixelData])
            dataset["PixelData"].VR = "OB"
            dataset["PixelData"].is_undefined_length = True
            dataset.save_as(folder / "in" / f"{number}.dcm", enforce_file_format=True)
        return folder / "in"

    def missing(folder: Path, _petct: Path) -> Path:
        return folder / "nowhere"

    return [("empty folder", empty), ("text", text), ("truncated pixels", truncated), ("MPEG-4", unsupported), ("no such path", missing)]


@pytest.mark.parametrize(("name", "make"), unreadable_inputs(), ids=lambda value: value if isinstance(value, str) else "")
def test_unreadable_input_ends_with_2_and_says_why(name: str, make: Callable[[Path, Path], Path], petct: Path, tmp_path: Path) -> None:
    outcome = analyze(make(tmp_path, petct), tmp_path / "out")
    assert outcome.exit_code == 2, f"{name}: {outcome.message}"
    assert len(outcome.message) > 20
    assert "\n" not in outcome.message
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize(
    ("folder", "code"),
    [
        ("mr-axial-series", Code.NOT_CT),
        ("ct-localizer-ge-jpegll", Code.NOT_CT),
        ("ct-localizer-philips", Code.NOT_CT),
        ("ct-small", Code.TOO_FEW_SLICES),
        ("sc-modality-ct-16bit", Code.NOT_CT),
    ],
)
def test_an_input_without_anything_to_measure_ends_with_3_by_name(folder: str, code: Code, shared: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared / "ct" / "odd.zip") as archive:
        names = [name for name in archive.namelist() if folder in Path(name).parts]
        assert names
        archive.extractall(tmp_path / "odd", names)
    outcome = analyze(tmp_path / "odd", tmp_path / "out")
    assert outcome.exit_code == 3
    assert codes(outcome) == {code}
    assert (tmp_path / "out" / "result.json").exists()


def test_values_shifted_by_1024_are_refused(petct: Path, tmp_path: Path) -> None:
    outcome = analyze(write_slices(lumbar(petct, values_shifted), tmp_path / "in"), tmp_path / "out")
    assert (outcome.exit_code, codes(outcome)) == (3, {Code.HU_IMPLAUSIBLE})


def test_squashed_geometry_is_refused(petct: Path, tmp_path: Path) -> None:
    outcome = analyze(write_slices(lumbar(petct, squashed), tmp_path / "in"), tmp_path / "out")
    assert outcome.exit_code == 3
    assert codes(outcome) & {Code.GEOMETRY_IMPLAUSIBLE, Code.NO_SPINE}
    assert outcome.result is not None
    assert outcome.result.levels == []
    assert {"result.json", "report.pdf", "report.sr.dcm"} <= {path.name for path in outcome.files}


@pytest.mark.parametrize("name", ["rows flipped", "gantry tilt", "file order reversed"])
def test_the_same_anatomy_stored_in_another_way_gives_the_same_result(
    name: str, petct: Path, plain: AnalyzeOutcome, tmp_path: Path
) -> None:
    change = {"rows flipped": rows_flipped, "gantry tilt": sheared(-630.0, 1), "file order reversed": None}[name]
    slices = lumbar(petct, change)
    if name == "file order reversed":
        for number, dataset in enumerate(reversed(slices)):
            dataset.InstanceNumber = number
        slices.reverse()
    outcome = analyze(write_slices(slices, tmp_path / "in"), tmp_path / "out")
    assert outcome.exit_code == 0
    assert outcome.result is not None
    assert plain.result is not None
    expected = {level.name: level for level in plain.result.levels if level.complete}
    actual = {level.name: level for level in outcome.result.levels if level.complete}
    assert set(actual) == set(expected)
    for level, known in expected.items():
        assert np.linalg.norm(np.subtract(actual[level].center_lps_mm, known.center_lps_mm)) < 2.0, level
        if known.hu is not None and actual[level].hu is not None:
            assert abs(actual[level].hu.mean - known.hu.mean) < 8.0, level


def test_two_series_in_one_folder_the_better_is_measured_and_the_other_named(petct: Path, tmp_path: Path) -> None:
    def thick(dataset: Dataset) -> Dataset | None:
        dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["thick", dataset.SeriesInstanceUID])
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=["thick", dataset.SOPInstanceUID])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.SeriesNumber = 99
        return dataset if round(float(dataset.ImagePositionPatient[2]) / 4.25) % 2 else None

    write_slices(lumbar(petct), tmp_path / "in" / "a")
    write_slices(lumbar(petct, thick), tmp_path / "in" / "b")
    outcome = analyze(tmp_path / "in", tmp_path / "out")
    assert outcome.exit_code == 0
    assert outcome.result is not None
    assert outcome.result.source.series_number != 99
    assert any(entry.code is Code.OTHER_SERIES and "99" in entry.text for entry in outcome.result.flags)


def test_two_acquisitions_in_one_series_the_one_with_l1_to_l3_is_reported(shared: Path, tmp_path: Path) -> None:
    outcome = analyze(shared / "ct" / "hcc-007" / "two-phases" / "dicom", tmp_path / "out")
    assert outcome.exit_code == 0
    assert outcome.result is not None
    assert outcome.result.source.acquisition_number == 3
    assert Code.OTHER_ACQUISITION in codes(outcome)


def test_missing_slices_end_partial_and_the_levels_beside_the_gap_are_not_measured(petct: Path, tmp_path: Path) -> None:
    slices = lumbar(petct)
    gap = [dataset for dataset in slices if not -612.0 < float(dataset.ImagePositionPatient[2]) < -602.0]
    assert len(gap) < len(slices)
    outcome = analyze(write_slices(gap, tmp_path / "in"), tmp_path / "out")
    assert outcome.exit_code == 0
    assert outcome.result is not None
    assert outcome.result.status == "partial"
    assert Code.SLICES_MISSING in codes(outcome)
    beside = [level for level in outcome.result.levels if abs(level.center_lps_mm[2] + 607.0) < 15.0]
    assert all(level.heights_mm is None for level in beside)


def test_slices_with_gaps_of_16_mm_give_names_but_no_heights(shared: Path, tmp_path: Path) -> None:
    outcome = analyze(shared / "ct" / "liver-8mm" / "dicom", tmp_path / "out")
    assert outcome.exit_code == 0
    assert outcome.result is not None
    assert outcome.result.status == "partial"
    assert all(level.heights_mm is None and level.genant.grade is None for level in outcome.result.levels)
    assert {Code.SLICES_MISSING, Code.SLICES_TOO_THICK} <= codes(outcome)


def test_a_head_ct_has_no_vertebra(tmp_path: Path) -> None:
    from builders.series import ct_series

    def head(points_lps_mm: np.ndarray) -> np.ndarray:
        radius = np.linalg.norm(points_lps_mm / [70.0, 90.0, 80.0], axis=-1)
        return np.select([radius < 0.9, radius < 1.0, radius < 1.06], [35.0, 1200.0, 20.0], -1000.0)

    series = ct_series(shape_zyx=(60, 128, 128), spacing_mm=(2.5, 1.6, 1.6), body=head)
    series.write(tmp_path / "in")
    outcome = analyze(tmp_path / "in", tmp_path / "out")
    assert outcome.exit_code == 3
    assert codes(outcome) & {Code.NO_SPINE, Code.HU_IMPLAUSIBLE}


def test_a_zip_is_read_as_the_folder_in_it(petct: Path, tmp_path: Path, plain: AnalyzeOutcome) -> None:
    write_slices(lumbar(petct), tmp_path / "in")
    archive = shutil.make_archive(str(tmp_path / "study"), "zip", tmp_path / "in")
    outcome = analyze(Path(archive), tmp_path / "out")
    assert outcome.exit_code == 0
    assert outcome.result is not None
    assert plain.result is not None
    assert outcome.result.levels == plain.result.levels


def test_a_chest_without_the_lumbar_spine_is_partial_with_grades_and_no_density(shared: Path, tmp_path: Path) -> None:
    slices = real_slices(shared / "ct" / "petct-abdopelvis" / "dicom", low_mm=-545.0)
    outcome = analyze(write_slices([with_pixels(s, s.pixel_array) for s in slices], tmp_path / "in"), tmp_path / "out")
    assert outcome.exit_code == 0
    assert outcome.result is not None
    assert outcome.result.status == "partial"
    assert outcome.result.density.mean_mg_cm3 is None or set(outcome.result.density.levels) & {"T12", "L1", "L2", "L3", "L4"}
