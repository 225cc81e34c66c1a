"""All coordinate systems of VerSe's centroid files lead to the same places."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from builders.label_columns import BlockColumn, save_centroids, save_labels
from trabecula_models.evaluation.centroid_files import VERSE19_MICCAI, VERSE20_MICCAI, read_centroids
from trabecula_models.evaluation.mask_files import read_mask
from trabecula_models.evaluation.overlap import mask_centers_mm
from trabecula_morphometry.errors import InputError

COLUMN = BlockColumn(spacing_mm=(4.0, 1.0, 2.0), shift_mm=(6.0, 0.0, 0.0))


def voxels_by_nibabel(path: Path, direction: str) -> dict[int, list[float]]:
    """Centres of mass in voxels of the image reoriented by nibabel: how VerSe's own tool writes them."""
    image = nib.load(path)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(direction))
    array = np.asarray(image.as_reoriented(turn).dataobj)
    return {int(label): np.argwhere(array == label).mean(axis=0).tolist() for label in np.unique(array)[1:]}


def assert_same_places(found: dict[int, tuple[float, float, float]], within_mm: float) -> None:
    true = COLUMN.centers()
    assert found.keys() == true.keys()
    assert max(np.linalg.norm(np.subtract(found[label], true[label])) for label in true) <= within_mm


@pytest.mark.parametrize("stored", ["RAS", "LPS", "PIR", "SAL"])
@pytest.mark.parametrize("direction", ["PIR", "LPS", "ASR"])
def test_voxels_of_any_direction_and_any_stored_orientation(tmp_path: Path, stored: str, direction: str) -> None:
    mask = save_labels(tmp_path / "a_seg.nii.gz", COLUMN.labels(), stored)
    path = save_centroids(tmp_path / "a_ctd.json", voxels_by_nibabel(mask, direction), direction)
    volume = read_mask(mask)
    found = read_centroids(path, volume.grid, mask_centers_mm(volume))
    assert_same_places(found.centers_mm, 0.01)
    assert found.is_expected_system


@pytest.mark.parametrize(("name", "system"), [("a_iso-ctd.json", VERSE20_MICCAI), ("a_ctd.json", VERSE19_MICCAI)])
def test_millimetres_without_a_direction_as_the_two_challenges_wrote_them(tmp_path: Path, name: str, system: object) -> None:
    mask = save_labels(tmp_path / "a_seg.nii.gz", COLUMN.labels())
    # Distances from the edges of the field (x 0..80 mm, y -20..40, z 100..280), less the half of the 1 mm voxel whose index is written.
    numbers = {}
    for label, (x, y, z) in COLUMN.centers().items():
        from_right, from_left, from_front, from_top = x + 40 - 0.5, 40 - x - 0.5, y + 20 - 0.5, 280 - z - 0.5
        numbers[label] = (from_front, from_top, from_left) if system is VERSE20_MICCAI else (from_top, from_front, from_right)
    volume = read_mask(mask)
    found = read_centroids(save_centroids(tmp_path / name, numbers, None), volume.grid, mask_centers_mm(volume))
    assert found.system == system
    assert_same_places(found.centers_mm, 0.01)


def test_millimetres_where_voxels_are_expected_are_recognised_by_the_masks(tmp_path: Path) -> None:
    mask = save_labels(tmp_path / "a_seg.nii.gz", COLUMN.labels())
    spacing = (1.0, 2.0, 4.0)
    numbers = {
        label: [(voxel + 0.5) * step - 0.5 for voxel, step in zip(voxels, spacing, strict=True)]
        for label, voxels in voxels_by_nibabel(mask, "PIR").items()
    }
    volume = read_mask(mask)
    found = read_centroids(save_centroids(tmp_path / "a_ctd.json", numbers, "PIR"), volume.grid, mask_centers_mm(volume))
    assert not found.is_expected_system
    assert str(found.system) == "PIR, mm"
    assert_same_places(found.centers_mm, 0.01)


def test_centroids_of_another_image_are_refused(tmp_path: Path) -> None:
    volume = COLUMN.labels()
    path = save_centroids(tmp_path / "a_ctd.json", dict.fromkeys(COLUMN.centers(), (300.0, 300.0, 300.0)), "PIR")
    with pytest.raises(InputError, match="far from the masks"):
        read_centroids(path, volume.grid, mask_centers_mm(volume))


def test_a_vertebra_that_is_not_in_view_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a_ctd.json"
    path.write_text('[{"direction": ["P", "I", "R"]}, {"label": 20, "X": NaN, "Y": NaN, "Z": NaN}, {"label": 26, "X": 1, "Y": 1, "Z": 1}]')
    assert read_centroids(path, COLUMN.grid(), {}).centers_mm == {}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"label": 20}]', '[{"direction": ["P", "P", "R"]}]', '[{"direction": ["P"]}]'])
def test_what_is_no_list_of_centroids_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "case_ctd.json"
    path.write_text(text)
    if text == "{}":
        assert read_centroids(path, COLUMN.grid(), {}).centers_mm == {}
        return
    with pytest.raises(InputError, match=r"case_ctd\.json"):
        read_centroids(path, COLUMN.grid(), {})
