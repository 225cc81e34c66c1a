"""The commands from folder to tables, without running a network."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from builders.label_columns import BlockColumn, save_centroids, save_labels, save_out_folder
from trabecula_service.cli.main import app

COLUMN = BlockColumn()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def verse_folder(root: Path, *names: str) -> Path:
    """VerSe's subject folders; the centroids lie 10 mm in front of the blocks' middle, as those of bodies do."""
    front = {label: (x, y - 10.0, z) for label, (x, y, z) in COLUMN.centers().items()}
    grid = COLUMN.grid()
    for name in names:
        save_labels(root / "derivatives" / name / f"{name}_seg-vert_msk.nii.gz", COLUMN.labels(), "PIR")
        voxels = {label: grid.to_voxel(center) for label, center in front.items()}
        save_centroids(root / "derivatives" / name / f"{name}_seg-subreg_ctd.json", voxels, "LPS")
    return root


def test_verse_with_out_folders_gives_table_centres_and_grades(tmp_path: Path) -> None:
    dataset = verse_folder(tmp_path / "verse", "sub-verse012", "sub-verse013")
    (dataset / "grades.csv").write_text(
        "verse_ID,subject_ID,BMD,T12_fx-g,L1_fx-g,L2_fx-g,L3_fx-g,T12_fx-s,L1_fx-s,L2_fx-s,L3_fx-s\n"
        "12,7,61.3,0,3,x,0,0,1,x,0\n13,8,120,0,0,0,0,0,0,0,0\n"
    )
    for name, grades in (("sub-verse012", {"T12": 0, "L1": 2, "L2": 0, "L3": None}), ("sub-verse013", None)):
        save_out_folder(tmp_path / "results" / name, COLUMN, grades)
    done = run("verse", dataset, "--prediction", tmp_path / "results", "--out", tmp_path / "out", "--grades")
    assert done.exit_code == 0, done.output
    summary = {row["measure"]: row["value"] for row in table(tmp_path / "out" / "summary.csv")}
    assert (summary["id_rate"], summary["d_mean_mm"], summary["mean_of_vertebrae_dice"]) == ("1.0000", "10.0000", "1.0000")
    assert next(line for line in done.output.splitlines() if "id.rate" in line).split() == ["id.rate", "%", "100.00", "(8/8)"]
    grades_csv = {(row["case"], row["level"]): row for row in table(tmp_path / "out" / "grades.csv")}
    assert grades_csv["sub-verse012", "L1"]["reader_grade"] == "3"
    assert grades_csv["sub-verse012", "L1"]["grade"] == "2"
    assert grades_csv["sub-verse012", "L3"]["left_out"] == "not graded: NO_REFERENCE_HEIGHT"
    assert table(tmp_path / "out" / "density.csv")[0] == {
        "case": "sub-verse012", "patient": "7", "reader_mg_cm3": "61.3000", "mean_mg_cm3": "101.5000", "basis": "calibrated",
    }  # fmt: skip
    assert "Left out: 2 of 8 vertebrae" in done.output
    assert (tmp_path / "out" / "grades.txt").read_text().strip() in done.output


def test_pairs_finds_masks_by_name_and_a_missing_one_counts_as_missed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_labels(tmp_path / "reference" / f"{name}_seg.nii.gz", COLUMN.labels())
    save_labels(tmp_path / "prediction" / "a.nii.gz", COLUMN.labels(), "LPS")
    done = run("pairs", "--prediction", tmp_path / "prediction", "--reference", tmp_path / "reference", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert [(row["case"], row["dice_mean"], row["note"]) for row in table(tmp_path / "out" / "cases.csv")] == [
        ("a", "1.0000", ""),
        ("b", "0.0000", "no prediction"),
    ]
    only = run(
        *("pairs", "--prediction", tmp_path / "prediction", "--reference", tmp_path / "reference", "--out", tmp_path / "only"),
        "--only-predicted",
    )
    assert len(table(tmp_path / "only" / "cases.csv")) == 1
    assert "Left out: b: no prediction" in only.output


def test_the_table_names_what_made_the_predictions_and_warns_of_a_mixture(tmp_path: Path) -> None:
    for name, version in (("a", "1.0"), ("b", "1.1")):
        save_labels(tmp_path / "reference" / f"{name}.nii.gz", COLUMN.labels())
        save_out_folder(tmp_path / "prediction" / name, COLUMN, version=version)
    done = run("pairs", "--prediction", tmp_path / "prediction", "--reference", tmp_path / "reference", "--out", tmp_path / "out")
    assert "Predictions made by trabecula 1.0, builtin, weights abababababab" in done.output
    assert "results of more than one version" in done.output


def test_pairs_of_bodies_leave_the_arches_out(tmp_path: Path) -> None:
    folder = save_out_folder(tmp_path / "prediction" / "a", COLUMN)
    save_labels(tmp_path / "reference" / "a.nii.gz", COLUMN.labels())
    (folder / "segmentation.nii.gz").rename(tmp_path / "reference" / "a.nii.gz")
    save_out_folder(folder, COLUMN)
    arguments = ("pairs", "--prediction", tmp_path / "prediction", "--reference", tmp_path / "reference", "--out", tmp_path / "out")
    assert run(*arguments, "--bodies").exit_code == 0
    assert table(tmp_path / "out" / "cases.csv")[0]["dice_mean"] == "1.0000"
    assert run(*arguments).exit_code == 0
    assert table(tmp_path / "out" / "cases.csv")[0]["dice_mean"] == "0.6667"


def test_ctspine1k_has_one_column_per_set(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        save_labels(tmp_path / "set" / "labels" / "MSD" / f"liver_{number}_seg.nii.gz", COLUMN.labels())
        save_labels(tmp_path / "prediction" / f"liver_{number}.nii.gz", COLUMN.labels())
    (tmp_path / "split.txt").write_text("trainset:\nliver_1.nii.gz\n\ntest_public:\nliver_2.nii.gz\n\ntest_private:\nliver_3.nii.gz\n")
    arguments = (
        "ctspine1k",
        tmp_path / "set",
        "--prediction",
        tmp_path / "prediction",
        "--out",
        tmp_path / "out",
        "--split",
        tmp_path / "split.txt",
    )
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert [(row["case"], row["set"]) for row in table(tmp_path / "out" / "cases.csv")] == [
        ("liver_3", "test_private"),
        ("liver_2", "test_public"),
    ]
    assert any(line.split()[:3] == ["Level", "test_private", "test_public"] for line in done.output.splitlines())
    wrong = run(*arguments, "--sets", "test_hidden")
    assert wrong.exit_code == 2
    assert "the split has no such set (test_hidden): it has trainset, test_public, test_private" in wrong.output


def test_a_damaged_reference_is_left_out_by_name_and_the_others_go_on(tmp_path: Path) -> None:
    dataset = verse_folder(tmp_path / "verse", "sub-verse012", "sub-verse013")
    (dataset / "derivatives" / "sub-verse012" / "sub-verse012_seg-vert_msk.nii.gz").write_bytes(b"cut")
    save_labels(tmp_path / "prediction" / "sub-verse013.nii.gz", COLUMN.labels())
    save_labels(tmp_path / "prediction" / "sub-verse012.nii.gz", COLUMN.labels())
    done = run("verse", dataset, "--prediction", tmp_path / "prediction", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert [row["case"] for row in table(tmp_path / "out" / "cases.csv")] == ["sub-verse013"]
    assert "Left out: sub-verse012: the mask cannot be read" in (tmp_path / "out" / "table.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verse", "nowhere"), "the dataset's folder is missing"),
        (("verse", "verse", "--prediction", "nowhere"), "the folder of predictions is missing"),
        (("verse", "verse", "--prediction", "other"), "no prediction has the name of a case"),
        (("verse", "verse", "--prediction", "other", "--grades"), "no spreadsheet of grades found"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    verse_folder(tmp_path / "verse", "sub-verse012")
    save_labels(tmp_path / "other" / "liver.nii.gz", COLUMN.labels())
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.output.startswith("trabecula: ")
    assert message in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_the_product_itself_is_run_and_an_image_it_refuses_counts_as_all_missed_with_the_reason(tmp_path: Path) -> None:
    dataset = verse_folder(tmp_path / "verse", "sub-verse012", "sub-verse013", "sub-verse014")
    # One image without any HU contrast, one damaged, one that is not there: refused before any network is loaded.
    save_labels(dataset / "rawdata" / "sub-verse012" / "sub-verse012_ct.nii.gz", COLUMN.labels())
    (dataset / "rawdata" / "sub-verse013").mkdir()
    (dataset / "rawdata" / "sub-verse013" / "sub-verse013_ct.nii.gz").write_bytes(b"cut")
    done = run("verse", dataset, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    notes = {row["case"]: (row["missed"], row["note"]) for row in table(tmp_path / "out" / "cases.csv")}
    assert notes["sub-verse012"] == ("4", "not evaluable: HU_IMPLAUSIBLE")
    assert notes["sub-verse013"][0] == "4"
    assert notes["sub-verse013"][1].startswith("unreadable: ")
    assert notes["sub-verse014"] == ("4", "no image")
    assert (tmp_path / "out" / "results" / "sub-verse012" / "result.json").is_file()
