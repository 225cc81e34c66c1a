"""A spine that lies in several series gives the one result that the whole scan would have given."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from builders.split_spine import FRACTURED, NAMES, Part, analyze_with, boundary_mm, cut, scanned, write_parts
from contract.test_render_dicom import errors_of
from trabecula_morphometry.codes import Code
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_service.dicom.measured_image import measured_image
from trabecula_service.pipeline.request import AnalyzeOutcome, AnalyzeRequest
from trabecula_service.result import Level, Result
from trabecula_service.review.edits import Edits, Exclusion, ExclusionReason, Verdict
from trabecula_service.review.order import ReviewOrder

CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DISC = ("T12", "L1")
"""Between these bodies the column is cut."""


def analysed(folder: Path, parts: list[Part], *, shift: int = 0, documents: bool = False, **wanted: object) -> AnalyzeOutcome:
    request = AnalyzeRequest(input=write_parts(folder / "in", parts), out=folder / "out", created=CREATED, **wanted)  # type: ignore[arg-type]
    return analyze_with(shift, documents=documents)(request, None)


def result_of(outcome: AnalyzeOutcome) -> Result:
    assert outcome.exit_code == 0, outcome.message
    assert outcome.result is not None
    return outcome.result


def document(outcome: AnalyzeOutcome, name: str) -> Dataset:
    return dcmread(next(file for file in outcome.files if file.name == name))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return result_of(analysed(tmp_path_factory.mktemp("whole"), [Part(name="whole", number=2)]))


def one_disc() -> float:
    return boundary_mm(*DISC)


CUTS: dict[str, Callable[[], tuple[list[Part], int]]] = {
    "two stacks that meet at the fracture": lambda: (cut(boundary_mm("T10", FRACTURED)), 0),
    "two stacks end to end": lambda: (cut(one_disc()), 0),
    "two stacks that share 20 mm": lambda: (cut(one_disc(), overlap_mm=20.0), -1),
    "three stacks, the uppermost and the middle one misnamed": lambda: (cut(boundary_mm("T10", "T11"), boundary_mm("L1", "L2")), 1),
    "three stacks that share 35 mm": lambda: (cut(boundary_mm("T10", "T11"), boundary_mm("L1", "L2"), overlap_mm=35.0), -1),
    "axial above, sagittal reformat below": lambda: (cut(one_disc(), overlap_mm=20.0, sagittal=[1]), -1),
    "sagittal reformats only": lambda: (cut(one_disc(), overlap_mm=60.0, sagittal=[0, 1]), 1),
}


@pytest.fixture(scope="module")
def joined_by(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Result]:
    """The joined result of each way to cut the column, made once."""
    made: dict[str, Result] = {}

    def joined(name: str) -> Result:
        if name not in made:
            parts, shift = CUTS[name]()
            made[name] = result_of(analysed(tmp_path_factory.mktemp("cut"), parts, shift=shift))
        return made[name]

    return joined


@pytest.mark.parametrize("name", CUTS)
def test_the_parts_give_what_the_whole_gives(name: str, joined_by: Callable[[str], Result], whole: Result) -> None:
    joined = joined_by(name)
    assert [level.name for level in joined.levels] == list(NAMES)
    assert joined.numbering.certain
    assert joined.status == whole.status
    for mine, theirs in zip(joined.levels, whole.levels, strict=True):
        assert_same_within_noise(mine, theirs)
    assert joined.fractures == whole.fractures
    assert joined.density.levels == whole.density.levels
    assert joined.density.mean_mg_cm3 == pytest.approx(whole.density.mean_mg_cm3, abs=1.0)
    assert joined.density.interval95 == pytest.approx(whole.density.interval95, abs=2.0)


def assert_same_within_noise(mine: Level, theirs: Level) -> None:
    assert (mine.name, mine.complete, mine.genant.grade) == (theirs.name, theirs.complete, theirs.genant.grade)
    assert mine.hu is not None
    assert theirs.hu is not None
    assert mine.hu.mean == pytest.approx(theirs.hu.mean, abs=2.0)
    assert mine.heights_mm is not None
    assert theirs.heights_mm is not None
    for place in ("anterior", "middle", "posterior"):
        assert getattr(mine.heights_mm, place) == pytest.approx(getattr(theirs.heights_mm, place), abs=0.5), mine.name
    assert mine.density is not None


def test_a_fracture_at_the_end_of_a_stack_is_graded_by_neighbours_in_the_next_one(
    joined_by: Callable[[str], Result], whole: Result
) -> None:
    levels = {level.name: level for level in joined_by("two stacks that meet at the fracture").levels}
    fractured, expected = levels[FRACTURED], next(level.expected_mm for level in whole.levels if level.name == FRACTURED)
    assert levels["T10"].series_instance_uid != fractured.series_instance_uid
    assert fractured.expected_mm is not None
    assert expected is not None
    assert fractured.expected_mm.anterior == pytest.approx(expected.anterior, abs=0.3)
    assert fractured.genant.grade == 2


def test_a_body_that_both_stacks_cut_is_listed_once_and_not_measured(tmp_path: Path) -> None:
    _, _, heights = scanned()
    joined = result_of(analysed(tmp_path, cut(heights["T12"])))
    cut_level = next(level for level in joined.levels if level.name == "T12")
    assert [level.name for level in joined.levels] == list(NAMES)
    assert not cut_level.complete
    assert cut_level.heights_mm is None
    assert Code.CUT_BY_FIELD in cut_level.excluded


def test_the_result_says_what_was_joined_and_where_names_moved(joined_by: Callable[[str], Result]) -> None:
    joined = joined_by("two stacks that share 20 mm")
    said = next(entry.text for entry in joined.flags if entry.code is Code.STACKS_JOINED)
    assert "Series 4: L1 to L3." in said
    assert "Series 3: T9 to T12, its names moved by +1 to fit the others." in said
    assert Code.NUMBERING_UNCERTAIN not in {entry.code for entry in joined.flags}
    assert Code.OTHER_SERIES not in {entry.code for entry in joined.flags}


@pytest.mark.parametrize("phases_of", ["upper", "lower", "both"])
def test_of_a_series_with_two_contrast_phases_the_one_that_was_made_with_the_others_is_joined(
    tmp_path: Path, whole: Result, phases_of: str
) -> None:
    parts = cut(one_disc(), overlap_mm=20.0)
    doubled = {"upper": parts[:1], "lower": parts[1:], "both": parts}[phases_of]
    late = [replace(part, acquisition_number=2, added_hu=60, contrast_agent="Iomeron 350") for part in doubled]
    joined = result_of(analysed(tmp_path, [*parts, *late], shift=-1))
    assert [level.name for level in joined.levels] == list(NAMES)
    for mine, theirs in zip(joined.levels, whole.levels, strict=True):
        assert_same_within_noise(mine, theirs)
    assert [stack.acquisition_number for stack in joined.source.stacks] == [1, 1]
    assert [entry.code for entry in joined.flags].count(Code.OTHER_ACQUISITION) == len(late)


def test_without_a_stack_that_is_sure_the_names_stay_unsure(tmp_path: Path) -> None:
    upper, middle, _ = cut(boundary_mm("T10", "T11"), boundary_mm("L1", "L2"), overlap_mm=20.0)
    joined = result_of(analysed(tmp_path, [upper, middle]))
    assert not joined.numbering.certain
    assert Code.NUMBERING_UNCERTAIN in {entry.code for entry in joined.flags}


def test_a_third_series_of_the_same_region_is_named_as_not_used(tmp_path: Path) -> None:
    upper, lower = cut(one_disc())
    again = Part(name="reformat", number=9, high_mm=lower.high_mm, sagittal=True)
    joined = result_of(analysed(tmp_path, [upper, lower, again]))
    others = [entry.text for entry in joined.flags if entry.code is Code.OTHER_SERIES]
    assert len(others) == 1
    assert "Series 9" in others[0]


@pytest.mark.parametrize("wish", ["series", "setting"])
def test_one_series_alone_is_measured_where_that_is_wanted(tmp_path: Path, wish: str) -> None:
    parts = cut(one_disc())
    wanted = {"series_uid": parts[0].series().series_uid} if wish == "series" else {"join_stacks": False}
    alone = result_of(analysed(tmp_path, parts, **wanted))
    assert alone.source.stacks == []
    assert {level.series_instance_uid for level in alone.levels} == {None}


def test_a_companion_that_shows_no_vertebra_costs_nothing_but_a_word(tmp_path: Path, whole: Result) -> None:
    _, _, heights = scanned()
    top = heights["T9"] + 20.0
    parts = [Part(name="spine", number=3, high_mm=top), Part(name="neck", number=4, low_mm=top)]
    alone = result_of(analysed(tmp_path, parts))
    assert [level.name for level in alone.levels] == [level.name for level in whole.levels]
    assert alone.source.stacks == []


# --- documents ---


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> AnalyzeOutcome:
    return analysed(tmp_path_factory.mktemp("joined"), cut(one_disc(), overlap_mm=20.0, sagittal=[0]), shift=-1, documents=True)


def referenced(report: Dataset) -> dict[str, set[str]]:
    """Instances by series of the evidence of an object."""
    study = report.CurrentRequestedProcedureEvidenceSequence[0]
    return {
        str(series.SeriesInstanceUID): {str(item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence}
        for series in study.ReferencedSeriesSequence
    }


def code_of(item: Dataset) -> str:
    name = item.ConceptNameCodeSequence[0]
    return str(name.get("CodeValue") or name.LongCodeValue)


def segment_labels(segmentation: Dataset) -> list[str]:
    return [str(segment.SegmentLabel).split()[0] for segment in segmentation.SegmentSequence]


def test_each_level_says_in_which_series_it_was_measured(joined: AnalyzeOutcome) -> None:
    result = result_of(joined)
    by_series = {stack.series_instance_uid: stack.series_number for stack in result.source.stacks}
    numbers = {level.name: by_series[level.series_instance_uid] for level in result.levels}
    assert numbers == {name: 3 if name.startswith("T") else 4 for name in NAMES}
    assert result.source.file_count == sum(stack.file_count for stack in result.source.stacks)


def test_there_is_one_segmentation_per_series_with_the_levels_measured_there(joined: AnalyzeOutcome) -> None:
    first, second = (document(joined, name) for name in ("segmentation.seg.dcm", "segmentation-2.seg.dcm"))
    assert segment_labels(first) == [name for name in NAMES if name.startswith("L")]
    assert segment_labels(second) == [name for name in NAMES if name.startswith("T")]
    stacks = result_of(joined).source.stacks
    for segmentation, stack in zip((first, second), stacks, strict=True):
        assert str(segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID) == stack.series_instance_uid
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_the_report_names_slices_and_segments_of_both_series(joined: AnalyzeOutcome) -> None:
    report = document(joined, "report.sr.dcm")
    evidence = referenced(report)
    segmentations = [document(joined, name) for name in ("segmentation.seg.dcm", "segmentation-2.seg.dcm")]
    stacks = [stack.series_instance_uid for stack in result_of(joined).source.stacks]
    assert set(evidence) == {*stacks, *(str(entry.SeriesInstanceUID) for entry in segmentations)}
    for segmentation in segmentations:
        assert evidence[str(segmentation.SeriesInstanceUID)] == {str(segmentation.SOPInstanceUID)}
    library = next(item for item in report.ContentSequence if code_of(item) == "111028")
    listed = [
        {str(image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for image in group.ContentSequence if image.ValueType == "IMAGE"}
        for group in library.ContentSequence
    ]
    assert listed == [evidence[str(series)] for series in stacks]


def test_each_group_of_the_report_names_the_segment_of_its_own_series(joined: AnalyzeOutcome) -> None:
    report = document(joined, "report.sr.dcm")
    result = result_of(joined)
    segmentations = {
        str(entry.ReferencedSeriesSequence[0].SeriesInstanceUID): entry
        for entry in (document(joined, name) for name in ("segmentation.seg.dcm", "segmentation-2.seg.dcm"))
    }
    groups = next(item for item in report.ContentSequence if code_of(item) == "126010").ContentSequence
    found = {}
    for group in groups:
        content = {code_of(item): item for item in group.ContentSequence if "ConceptNameCodeSequence" in item}
        if "121191" in content:  # Referenced Segment
            segment = content["121191"].ReferencedSOPSequence[0]
            source = str(content["121232"].UID) if "121232" in content else ""  # Source series for segmentation
            found[str(content["112039"].TextValue)] = (source, str(segment.ReferencedSOPInstanceUID), int(segment.ReferencedSegmentNumber))
    assert list(found) == list(NAMES)
    for level in result.levels:
        source, instance, number = found[level.name]
        segmentation = segmentations[str(level.series_instance_uid)]
        assert (source, instance) == (level.series_instance_uid, str(segmentation.SOPInstanceUID))
        assert segment_labels(segmentation)[number - 1] == level.name


def test_the_masks_of_the_whole_hold_every_level_where_it_lies(joined: AnalyzeOutcome) -> None:
    path = next(file for file in joined.files if file.name == "segmentation.nii.gz")
    image = nibabel.load(path)
    labels = np.asarray(image.dataobj)
    result = result_of(joined)
    assert labels.shape == result.source.matrix
    for level in result.levels:
        places = np.argwhere(labels == LABEL_OF_LEVEL[level.name])
        middle = nibabel.affines.apply_affine(image.affine, places.mean(axis=0)) * (-1, -1, 1)
        np.testing.assert_allclose(middle, level.center_lps_mm, atol=1.5)


def test_the_images_of_a_joined_result_are_found_again_as_they_were(joined: AnalyzeOutcome) -> None:
    source = result_of(joined).source
    image = measured_image(joined.files[0].parents[1] / "in", source)
    assert image.source.matrix == source.matrix
    assert image.source.content_sha256 == source.content_sha256


def signed(joined: AnalyzeOutcome, out: Path, verdict: Verdict, *, edits: Edits | None = None, reason: str = "") -> AnalyzeOutcome:
    files = {file.name: file for file in joined.files}
    order = ReviewOrder(
        verdict=verdict,
        reader="Muster, Anna",
        organization="Klinik",
        reason=reason,
        at=CREATED,
        edits=edits or Edits(),
        base_version=1,
        base_result_json=result_of(joined).to_json(),
        bodies=files["segmentation.nii.gz"],
        posterior=files["segmentation_posterior.nii.gz"],
        predecessor=files["report.sr.dcm"],
    )
    request = AnalyzeRequest(input=joined.files[0].parents[1] / "in", out=out, created=CREATED, version=2, review=order)
    return analyze_with()(request, None)


def test_a_reader_signs_a_joined_result_as_any_other(joined: AnalyzeOutcome, tmp_path: Path) -> None:
    left_out = Edits(excluded=(Exclusion(level="L2", reason=ExclusionReason.ARTEFACT),))
    outcome = signed(joined, tmp_path, Verdict.AMENDED, edits=left_out)
    base, result = result_of(joined), result_of(outcome)
    assert {file.name for file in outcome.files} == {file.name for file in joined.files}
    assert "L2" not in result.density.levels
    assert [level.series_instance_uid for level in result.levels] == [level.series_instance_uid for level in base.levels]
    names = ("segmentation.seg.dcm", "segmentation-2.seg.dcm")
    old, new = ([document(one, name) for name in names] for one in (joined, outcome))
    assert [segment_labels(entry) for entry in old] == [segment_labels(entry) for entry in new]
    assert not {entry.SOPInstanceUID for entry in old} & {entry.SOPInstanceUID for entry in new}


def test_a_rejected_joined_result_still_names_the_images_of_every_series(joined: AnalyzeOutcome, tmp_path: Path) -> None:
    outcome = signed(joined, tmp_path, Verdict.REJECTED, reason="moved")
    stacks = result_of(joined).source.stacks
    assert {file.name for file in outcome.files} & {"segmentation.seg.dcm", "points.pr.dcm"} == set()
    evidence = referenced(document(outcome, "report.sr.dcm"))
    assert {series: len(instances) for series, instances in evidence.items()} == {
        stack.series_instance_uid: stack.file_count for stack in stacks
    }


@pytest.mark.peer
def test_dciodvfy_finds_no_error_in_the_objects_of_several_series(joined: AnalyzeOutcome) -> None:
    objects = [file for file in joined.files if file.name.endswith(".dcm")]
    assert {"segmentation-2.seg.dcm", "points-2.pr.dcm"} <= {file.name for file in objects}
    assert {file.name: errors_of(file) for file in objects} == {file.name: [] for file in objects}
