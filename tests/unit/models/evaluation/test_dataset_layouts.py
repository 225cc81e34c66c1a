"""Files are found by name in the layouts in which the data sets were published."""

from pathlib import Path

import numpy as np
import pytest

from builders.label_columns import BlockColumn, save_labels, save_out_folder
from trabecula_models.evaluation.case_names import case_name, match_by_name, series_number
from trabecula_models.evaluation.dataset_layouts import find_ctspine1k_cases, find_reference_masks, find_table, find_verse_cases, read_split
from trabecula_models.evaluation.mask_files import read_mask
from trabecula_models.evaluation.prediction_folders import Part, find_predictions, read_product_folder
from trabecula_morphometry.errors import InputError
from trabecula_morphometry.volume import LabelVolume


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("names", "case"),
    [
        (("verse012.nii.gz", "verse012_seg.nii.gz", "verse012_ctd.json"), "verse012"),
        (("verse512_CT-iso.nii.gz", "verse512_CT-iso_seg.nii.gz", "verse512_CT-iso_iso-ctd.json"), "verse512_CT-iso"),
        (("sub-gl1_dir-ax_ct.nii.gz", "sub-gl1_dir-ax_seg-vert_msk.nii.gz", "sub-gl1_dir-ax_seg-subreg_ctd.json"), "sub-gl1_dir-ax"),
        (("sub-v4_split-v9_ct.nii.gz", "sub-v4_split-v9_seg-vert_msk.nii.gz", "sub-v4_split-v9_seg-vb_ctd.json"), "sub-v4_split-v9"),
        (("volume-covid19-A-0147_ct.nii.gz", "volume-covid19-A-0147_ct_seg.nii.gz"), "volume-covid19-A-0147"),
        (("1.3.6.1.4.1.9328.50.4.0663.nii.gz", "1.3.6.1.4.1.9328.50.4.0663_seg.nii.gz"), "1.3.6.1.4.1.9328.50.4.0663"),
        (("liver_106_0000.nii.gz", "liver_106_seg.nii.gz", "liver_106.nii"), "liver_106"),
    ],
)
def test_the_files_of_one_case_share_its_name(names: tuple[str, ...], case: str) -> None:
    assert {case_name(Path(name)) for name in names} == {case}


def test_a_split_column_counts_as_the_series_not_the_patient() -> None:
    assert series_number("sub-verse400_split-verse090") == 90
    assert series_number("verse012") == 12
    assert series_number("GL003") is None


def test_matching_bridges_spelling_but_never_a_prefix_or_a_doubt() -> None:
    offered = {"sub-GL017_CT_ax": 1, "verse0121": 2, "verse5_dir-ax": 3, "verse5_dir-sag": 4}
    assert match_by_name(["gl017-ct-ax"], offered) == {"gl017-ct-ax": 1}
    assert match_by_name(["gl017"], offered) == {"gl017": 1}
    assert match_by_name(["verse012", "verse5"], offered) == {}


def test_verse20_subject_folders(tmp_path: Path) -> None:
    root = touch(
        tmp_path,
        "01_training/rawdata/sub-verse012/sub-verse012_ct.nii.gz",
        "01_training/derivatives/sub-verse012/sub-verse012_seg-vert_msk.nii.gz",
        "01_training/derivatives/sub-verse012/sub-verse012_seg-subreg_ctd.json",
        "01_training/derivatives/sub-verse012/sub-verse012_seg-vert_snp.png",
        "01_training/derivatives/sub-verse012/sub-verse012_seg-subreg_msk.nii.gz",
    )
    (case,) = find_verse_cases(root)
    assert case.name == "sub-verse012"
    assert case.image is not None
    assert case.centroids is not None
    assert (case.image.name, case.mask.name) == ("sub-verse012_ct.nii.gz", "sub-verse012_seg-vert_msk.nii.gz")


def test_verse19_flat_files(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"verse{n}{end}" for n in ("004", "005") for end in (".nii.gz", "_seg.nii.gz", "_ctd.json", "_snapshot.png")))
    cases = find_verse_cases(root)
    assert [(case.name, case.image and case.image.name, case.centroids and case.centroids.name) for case in cases] == [
        ("verse004", "verse004.nii.gz", "verse004_ctd.json"),
        ("verse005", "verse005.nii.gz", "verse005_ctd.json"),
    ]


def test_ctspine1k_sets_come_from_its_split(tmp_path: Path) -> None:
    root = touch(
        tmp_path / "rawdata",
        "volumes/MSD-T10/liver_106.nii.gz",
        "labels/MSD-T10/liver_106_seg.nii.gz",
        "labels/COLONOG/1.3.6.1.4.1.9328.50.4.0663_seg.nii.gz",
        "labels/COLONOG/1.3.6.1.4.1.9328.50.4.0001_seg.nii.gz",
    )
    (tmp_path / "data_split.txt").write_text(
        "trainset:\n1.3.6.1.4.1.9328.50.4.0001.nii.gz\n\ntest_public:\n1.3.6.1.4.1.9328.50.4.0663.nii.gz\n\ntest_private:\nliver_106.nii.gz\n"
    )
    split = read_split(tmp_path / "data_split.txt")
    assert {name: len(names) for name, names in split.items()} == {"trainset": 1, "test_public": 1, "test_private": 1}
    cases = find_ctspine1k_cases(root, {name: split[name] for name in ("test_public", "test_private")})
    assert [(case.group, case.name, case.image is not None) for case in cases] == [
        ("test_private", "liver_106", True),
        ("test_public", "1.3.6.1.4.1.9328.50.4.0663", False),
    ]
    assert len(find_ctspine1k_cases(root)) == 3


def test_two_masks_of_one_case_or_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no reference mask"):
        find_verse_cases(touch(tmp_path / "a", "verse1.nii.gz"))
    with pytest.raises(InputError, match="two masks of one case"):
        find_verse_cases(touch(tmp_path / "b", "19/verse1_seg.nii.gz", "20/verse1_seg.nii.gz"))
    with pytest.raises(InputError, match="missing"):
        find_verse_cases(tmp_path / "nowhere")


def test_several_spreadsheets_must_be_named(tmp_path: Path) -> None:
    assert find_table(touch(tmp_path / "a", "grades.xlsx", "~lock.xlsx")) == tmp_path / "a" / "grades.xlsx"
    with pytest.raises(InputError, match="several spreadsheets"):
        find_table(touch(tmp_path / "b", "a.csv", "b.csv"))


def test_reference_masks_of_any_name_are_taken_when_none_is_marked(tmp_path: Path) -> None:
    assert [case.name for case in find_reference_masks(touch(tmp_path / "a", "one.nii.gz", "two.nii"))] == ["one", "two"]
    assert [case.mask.name for case in find_reference_masks(touch(tmp_path / "b", "one.nii.gz", "one_seg.nii.gz"))] == ["one_seg.nii.gz"]


def test_a_whole_vertebra_is_the_union_of_body_and_arch(tmp_path: Path) -> None:
    column = BlockColumn()
    folder = save_out_folder(tmp_path / "sub-verse012", column)
    whole, body = read_product_folder(folder).masks, read_product_folder(folder, Part.BODY).masks
    assert whole is not None
    assert body is not None
    assert np.array_equal(whole.labels_zyx, column.labels().labels_zyx)
    assert np.count_nonzero(body.labels_zyx) == np.count_nonzero(whole.labels_zyx) // 2


def test_foreign_material_and_sacrum_are_no_vertebra(tmp_path: Path) -> None:
    folder = save_out_folder(tmp_path / "a", BlockColumn(), arch=False)
    labels = np.zeros(BlockColumn().grid().shape_zyx, dtype=np.uint8)
    labels[0], labels[1], labels[2] = 26, 40, 20
    save_labels(folder / "segmentation.nii.gz", LabelVolume(labels_zyx=labels, grid=BlockColumn().grid()))
    masks = read_product_folder(folder).masks
    assert masks is not None
    assert np.unique(masks.labels_zyx).tolist() == [0, 20]


def test_a_study_that_could_not_be_evaluated_has_no_masks_but_a_reason(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(
        '{"status": "not_evaluable", "levels": [], "numbering": {"certain": false}, "flags": [{"code": "NO_SPINE"}], '
        '"software": {"version": "1.0", "backend": "builtin", "weights_sha256": ""}, '
        '"density": {"mean_mg_cm3": null, "basis": "none"}}'
    )
    prediction = read_product_folder(tmp_path)
    assert (prediction.masks, prediction.note) == (None, "not evaluable: NO_SPINE")


def test_out_folders_and_plain_masks_are_both_predictions(tmp_path: Path) -> None:
    save_out_folder(tmp_path / "sub-verse012", BlockColumn())
    touch(tmp_path, "verse013_seg.nii.gz", "verse013_ctd.json")
    found = find_predictions(tmp_path)
    assert found.keys() == {"sub-verse012", "verse013"}
    assert found["sub-verse012"].folder == tmp_path / "sub-verse012"
    assert found["verse013"].centroids == tmp_path / "verse013_ctd.json"


def test_no_prediction_two_of_one_case_or_a_broken_result_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prediction found"):
        find_predictions(touch(tmp_path / "a", "notes.txt"))
    with pytest.raises(InputError, match="two predictions of one case"):
        find_predictions(touch(tmp_path / "b", "1/x.nii.gz", "2/x.nii.gz"))
    (tmp_path / "result.json").write_text('{"status": "complete"}')
    with pytest.raises(InputError, match="the result cannot be read"):
        read_product_folder(tmp_path)


def test_values_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    import nibabel as nib

    for name, values in (("a.nii.gz", np.full((3, 3, 3), 0.5, np.float32)), ("b.nii.gz", np.full((3, 3, 3), 300, np.int16))):
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / name)
        with pytest.raises(InputError, match="no labels"):
            read_mask(tmp_path / name)
    (tmp_path / "c.nii.gz").write_bytes(b"not a gzip")
    with pytest.raises(InputError, match=r"cannot be read \(c\.nii\.gz\)"):
        read_mask(tmp_path / "c.nii.gz")
