"""``trabecula evaluate verse`` runs the product over a VerSe folder, and its figures are those of SimpleITK on the same masks."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual short name

from trabecula_models.evaluation.dataset_layouts import read_split
from trabecula_models.evaluation.verse_grades import read_verse_grades

pytestmark = pytest.mark.real_ct

NAME = "sub-verse012"
# Loeffler 2020, appendix E1, series 12: grades and shapes of T10 to L3 (1 wedge, 2 biconcave).
SPREADSHEET = "verse_ID,subject_ID,BMD,T10_fx-g,T11_fx-g,T12_fx-g,L1_fx-g,L2_fx-g,L3_fx-g,L1_fx-s,L3_fx-s\n12,12,61.3,0.0,0,0,3,0,1,1,2\n"


@pytest.fixture(scope="module")
def evaluated(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The out-folder of one run over a folder that holds verse012 in the layout of VerSe'20."""
    root = tmp_path_factory.mktemp("verse")
    for part, ending in (("rawdata", "ct.nii.gz"), ("derivatives", "seg-vert_msk.nii.gz"), ("derivatives", "seg-subreg_ctd.json")):
        (root / "set" / part / NAME).mkdir(parents=True, exist_ok=True)
        (root / "set" / part / NAME / f"{NAME}_{ending}").symlink_to(shared / "ct" / "verse012" / f"{NAME}_{ending}")
    (root / "set" / "appendix_e1.csv").write_text(SPREADSHEET)
    command = [sys.executable, "-m", "trabecula_service.cli", "evaluate", "verse", "set", "--out", "out", "--grades"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "id.rate %" in done.stdout
    return root / "out"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def surface_map(mask: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Contour voxels of a mask, and the distance of every voxel to them in mm."""
    contour = sitk.LabelContour(mask, fullyConnected=False)
    distance = sitk.Abs(sitk.SignedMaurerDistanceMap(contour, squaredDistance=False, useImageSpacing=True))
    return sitk.GetArrayFromImage(contour) > 0, sitk.GetArrayFromImage(distance)


def test_dice_and_hd95_of_the_products_masks_are_those_of_simpleitk(evaluated: Path, shared: Path) -> None:
    truth = sitk.ReadImage(str(shared / "ct" / "verse012" / f"{NAME}_seg-vert_msk.nii.gz"), sitk.sitkUInt8)
    out = evaluated / "results" / NAME
    bodies, arches = (sitk.ReadImage(str(out / f"segmentation{end}.nii.gz"), sitk.sitkUInt8) for end in ("", "_posterior"))
    whole = bodies + arches * sitk.Cast(bodies == 0, sitk.sitkUInt8)
    whole.CopyInformation(truth)
    scored = {row["level"]: row for row in rows(evaluated / "levels.csv") if row["status"] == "both"}
    assert len(scored) >= 5
    for level, label in (("T10", 17), ("T11", 18), ("T12", 19), ("L1", 20), ("L2", 21), ("L3", 22)):
        if level not in scored:
            continue
        pair = [sitk.ConstantPad(image == label, [2] * 3, [2] * 3) for image in (truth, whole)]
        measure = sitk.LabelOverlapMeasuresImageFilter()
        measure.Execute(*pair)
        (contour_t, map_t), (contour_p, map_p) = map(surface_map, pair)
        hd95_mm = float(np.percentile(np.concatenate([map_p[contour_t], map_t[contour_p]]), 95))
        assert float(scored[level]["dice"]) == pytest.approx(measure.GetDiceCoefficient(), abs=1e-4)
        assert float(scored[level]["hd95_mm"]) == pytest.approx(hd95_mm, abs=1e-3)


def test_centres_are_held_against_the_datasets_own_centroids(evaluated: Path) -> None:
    (case,) = rows(evaluated / "cases.csv")
    assert (case["centres_from"], case["vertebrae"]) == ("given", "6")
    assert int(case["identified"]) >= 5
    assert float(case["d_mean_mm"]) < 6.0


def test_the_fracture_that_verse_grades_3_is_compared_by_name_and_patient(evaluated: Path) -> None:
    graded = {row["level"]: row for row in rows(evaluated / "grades.csv")}
    assert {level: int(row["reader_grade"]) for level, row in graded.items()} == {"T10": 0, "T11": 0, "T12": 0, "L1": 3, "L2": 0, "L3": 1}
    assert (graded["L1"]["reader_type"], graded["L3"]["reader_type"]) == ("wedge", "biconcave")
    patients = [row for row in rows(evaluated / "grade_agreement.csv") if row["unit"] == "per patient, not graded counts as 0"]
    assert {(row["grade_at_least"], row["measure"]): row["of"] for row in patients} == {
        (str(grade), measure): of for grade in (1, 2, 3) for measure, of in (("sensitivity", "1"), ("specificity", "0"))
    }
    assert rows(evaluated / "density.csv")[0]["reader_mg_cm3"] == "61.3000"


@pytest.mark.parametrize("name", ["verse19_appendix_e1_wide.csv", "verse19_fractures_long.csv"])
def test_the_counts_of_the_paper_come_out_of_its_spreadsheet(shared: Path, name: str) -> None:
    series = read_verse_grades(shared / "anatomy" / "tables" / name).values()
    # Loeffler 2020, Table: 142 + 96 + 51 = 289 fractures, 31 vertebrae with foreign material; 91 of 141 patients have a fracture.
    assert Counter(grade.grade for row in series for grade in row.grades.values()) == {0: 1195, 1: 142, 2: 96, 3: 51, None: 31}
    fractured = {row.patient for row in series if any(grade.grade for grade in row.grades.values())}
    assert len(fractured) == 91


def test_the_published_split_of_ctspine1k_is_read(shared: Path) -> None:
    split = read_split(shared / "anatomy" / "tables" / "ctspine1k_split.txt")
    # Deng 2021, Table 1: 610 / 197 / 198.
    assert {name: len(cases) for name, cases in split.items()} == {"trainset": 610, "test_public": 197, "test_private": 198}
