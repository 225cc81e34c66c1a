"""The scores of the held-out bench, on a made column of cubes: names off by one, a missed and an invented body, masks grown by a voxel."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bench.bench_heldout import SHARES_IN_PEOPLE, Row, foreign_found, id_rate_in_people, level_scores, summary_line, variants_said
from trabecula_models.segmentation import FoundVertebra, NameDecision, SpineSegmentation
from trabecula_models.synthesis.posed_patient import TrueMasks
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

GRID = Grid(shape_zyx=(160, 40, 40), voxel_to_lps=np.eye(4))
CENTRES = {"L1": 130.0, "L2": 95.0, "L3": 60.0, "L4": 25.0}


def masks(names: dict[str, float], half: int = 10) -> LabelVolume:
    labels = np.zeros(GRID.shape_zyx, np.uint8)
    for name, z in names.items():
        labels[int(z) - half : int(z) + half, 20 - half : 20 + half, 20 - half : 20 + half] = LABEL_OF_LEVEL[name]
    return LabelVolume(labels_zyx=labels, grid=GRID)


def truth() -> SimpleNamespace:
    levels = tuple(SimpleNamespace(name=name, center_lps_mm=(20.0, 20.0, z), complete=name != "L4") for name, z in CENTRES.items())
    slices = Grid(shape_zyx=(32, 40, 40), voxel_to_lps=np.diag([1.0, 1.0, 5.0, 1.0]))
    volume = Volume(hu_zyx=np.full(slices.shape_zyx, 100, np.int16), grid=slices)

    def masks_on(grid: Grid) -> TrueMasks:
        bodies = masks(CENTRES).resample(grid)
        return TrueMasks(bodies=bodies, posterior=bodies, foreign_zyx=np.zeros(grid.shape_zyx, bool))

    return SimpleNamespace(levels=levels, bodies=masks(CENTRES), volume=volume, masks_on=masks_on)


def found(names: dict[str, float], *, certain: bool = True, half: int = 10) -> SpineSegmentation:
    vertebrae = tuple(
        FoundVertebra(name=name, label=LABEL_OF_LEVEL[name], confidence=1.0, center_lps_mm=(20.0, 20.0, z), complete=True)
        for name, z in names.items()
    )
    bodies, none = masks(names, half), masks({})
    return SpineSegmentation(
        vertebrae=vertebrae, numbering=NameDecision(certain=certain), bodies=bodies, posterior=none, weights_sha256="0", backend="made"
    )


def line(row: Row) -> list[str]:
    return summary_line("x", [row | {"slice_mm": 1.0}]).split()


def test_the_truth_itself_scores_full_marks() -> None:
    row = level_scores(found(CENTRES), truth())
    assert (row["levels"], row["identified"]) == (3, 3)  # L4 is cut and not asked for
    assert row["dice_by_name"] == row["dice_by_place"] == row["dice_in_space"] == {"L1": 1.0, "L2": 1.0, "L3": 1.0}
    assert not row["missed"]
    assert not row["invented"]
    assert line(row)[-1] == "100"


def test_what_the_slices_of_a_series_leave_of_the_true_bodies_is_scored_beside() -> None:
    cut = level_scores(found(CENTRES), truth())["dice_cut"]
    # L1 reaches from 120 to 140 mm: the 5 mm slices at 120 to 135 mm stand for 117.5 to 137.5.
    assert cut["L1"] == pytest.approx(18 / 20, abs=0.03)


def test_names_off_by_one_are_no_identification_and_unsafe_only_when_certain() -> None:
    shifted = {"T12": 130.0, "L1": 95.0, "L2": 60.0, "L3": 25.0}
    row = level_scores(found(shifted), truth())
    assert row["identified"] == 0
    assert row["wrong_names"] == {"L1": "T12", "L2": "L1", "L3": "L2"}
    assert row["dice_by_name"]["L2"] == 0.0
    assert row["dice_by_place"]["L2"] == 1.0
    assert line(row)[-1] == "0"
    assert line(level_scores(found(shifted, certain=False), truth()))[-1] == "100"


def test_missed_and_invented_bodies_are_counted() -> None:
    row = level_scores(found({"L1": 130.0, "L3": 60.0, "L5": 42.0}), truth())
    assert row["missed"] == ["L2"]
    assert row["invented"] == ["L5"]
    assert level_scores(None, truth())["missed"] == ["L1", "L2", "L3"]


def test_masks_too_large_show_in_the_volume_ratio() -> None:
    row = level_scores(found(CENTRES, half=11), truth())
    assert row["volume_ratio"]["L2"] == pytest.approx(1.1**3, rel=1e-6)
    assert row["dice_in_space"]["L2"] == pytest.approx(2 / (1 + 1.1**3), rel=1e-6)
    # In slices of 5 mm the true L2 (85 to 104) is seen in four, the one found (84 to 105) in five.
    assert row["dice_by_name"]["L2"] == pytest.approx(2 * 4 / (4 + 5 * 1.1**2), rel=1e-6)


def test_the_id_rate_in_people_counts_each_kind_of_column_as_often_as_it_occurs() -> None:
    rows = [{"variant": variant, "levels": 10, "identified": 10} for variant in SHARES_IN_PEOPLE]
    assert id_rate_in_people(rows) == pytest.approx(100)
    without_t13 = [row | {"identified": 0 if row["variant"] == "T13" else 10} for row in rows]
    assert id_rate_in_people(without_t13) == pytest.approx(100 - 0.4)
    assert id_rate_in_people(rows[1:]) is None


def test_a_variant_counts_as_said_only_where_the_sacrum_was_in_view() -> None:
    def row(variant: str, said: list[str], anchors: list[str]) -> Row:
        return {"variant": variant, "named_variants": said, "anchors": anchors}

    sacrum = ["sacrum", "last_rib"]
    rows = [
        row("sacralised_L5", ["sacralised_L5"], sacrum),
        row("sacralised_L5", [], sacrum),
        row("sacralised_L5", [], ["last_rib"]),
        row("usual", ["sacralised_L5"], sacrum),
        row("L6", ["L6"], sacrum),
    ]
    said = variants_said(rows)
    assert said["sacralised_L5"] == (1, 2, 1, 2)
    assert said["L6"] == (1, 1, 0, 3)
    assert said["T13"] == (0, 0, 0, 4)


def test_metal_and_cement_count_where_there_is_enough_of_it() -> None:
    rows = [
        {"levels": 4, "foreign_mm3": {"L1": (900.0, 700.0), "L2": (300.0, 0.0), "L3": (40.0, 0.0)}},
        {"levels": 3, "foreign_mm3": {"T12": (0.0, 200.0)}},
    ]
    assert foreign_found(rows) == (1, 2, 1, 4)
    assert foreign_found([{"levels": 2, "foreign_mm3": {}}]) == (0, 0, 0, 2)
