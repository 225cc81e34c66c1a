"""A model's numbers mean what its label map says, and a map that cannot be right is refused."""

from pathlib import Path

import numpy as np
import pytest

from trabecula_models.backends.label_map import (
    LABEL_MAP_FOLDER,
    RIB_NUMBER,
    LabelMap,
    LabelMapError,
    Parts,
    map_from_names,
    read_label_map,
    verse_number,
)
from trabecula_morphometry.levels import LABEL_OF_LEVEL, SACRUM_LABEL


@pytest.mark.parametrize("name", [path.stem for path in LABEL_MAP_FOLDER.glob("*.toml")])
def test_every_shipped_map_names_all_thoracic_and_lumbar_levels(name: str) -> None:
    label_map = read_label_map(name)
    named = set(label_map.numbers.values())
    assert {LABEL_OF_LEVEL[level] for level in (*(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6)))} <= named


def test_totalsegmentator_counts_from_below() -> None:
    label_map = read_label_map("totalsegmentator")
    mask = np.array([0, 1, 25, 26, 27, 31, 32, 50, 117])
    assert label_map.to_verse(mask).tolist() == [0, 0, SACRUM_LABEL, SACRUM_LABEL, 24, 20, 19, 1, 0]


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("L1", 20),
        ("vertebrae_T12", 19),
        ("Vertebra T13", 28),
        ("l6", 25),
        ("S1", 26),
        ("sacrum", 26),
        ("rib_left_12", RIB_NUMBER),
        ("costal_cartilages", None),
        ("T14", None),
    ],
)
def test_names_are_read_as_models_write_them(written: str, number: int | None) -> None:
    assert verse_number(written) == number


@pytest.mark.parametrize(
    "names", [{1: "liver"}, {1: "L1", 2: "vertebrae_L1"}, {300: "L1"}, {1: "sacrum"}], ids=["none", "twice", "too large", "sacrum alone"]
)
def test_a_map_that_cannot_be_right_is_refused(names: dict[int, str]) -> None:
    with pytest.raises(LabelMapError):
        map_from_names(names)


def test_a_sites_own_map_is_a_file_and_its_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('parts = "body"\n[labels]\n3 = "L1"\n4 = "L2"\n')
    assert read_label_map(str(path)) == LabelMap(numbers={3: 20, 4: 21}, parts=Parts.BODY)
    path.write_text('parts = "body"\n[labels]\n3 = "L1"\n4 = "LX"\n')
    with pytest.raises(LabelMapError, match="LX"):
        read_label_map(str(path))
    with pytest.raises(LabelMapError, match="ctspine1k, totalsegmentator, verse"):
        read_label_map("no-such-map")
