"""NIfTI in and out."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from builders.series import body_hu, ct_series
from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import InputError
from trabecula_morphometry.volume import AIR_HU, Grid, LabelVolume
from trabecula_service.dicom.image import NotEvaluableError
from trabecula_service.dicom.nifti import write_label_nifti
from trabecula_service.dicom.read import read_input

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_ct(
    path: Path, *, affine: np.ndarray | None = None, shape: tuple[int, ...] = (60, 50, 30), code: int = 1, kind: type = np.int16
) -> np.ndarray:
    """Write the digital body on a grid given in RAS+; returns the HU as [i, j, k]."""
    affine = np.array([[-2.0, 0, 0, 60], [0, -2.0, 0, 50], [0, 0, 3.0, -40], [0, 0, 0, 1]]) if affine is None else affine
    voxels = np.stack(np.meshgrid(*[np.arange(n) for n in shape[:3]], indexing="ij"), axis=-1)
    hu = np.rint(body_hu((voxels @ affine[:3, :3].T + affine[:3, 3]) * [-1, -1, 1]))
    image = nibabel.Nifti1Image(hu.astype(kind).reshape(shape), affine)
    image.set_sform(affine, code=code)
    image.set_qform(affine if code else None, code=code)
    nibabel.save(image, path)
    return hu


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
def test_nifti_hu_lie_at_their_lps_points(tmp_path: Path, name: str, kind: type) -> None:
    hu = write_ct(tmp_path / name, kind=kind)
    image = read_input(tmp_path / name)
    np.testing.assert_array_equal(image.volume.hu_zyx, hu.transpose(2, 1, 0))
    np.testing.assert_allclose(image.volume.grid.to_lps([0, 0, 0]), [-60, -50, -40])
    assert (image.source.format, image.source.study_instance_uid, image.acquisition.kvp, image.headers) == ("nifti", None, None, ())


def test_nifti_of_any_axis_order_keeps_its_voxels_and_places_them(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 2.5, -70], [-1.5, 0.1, 0, 45], [0, 2.0, 0, -30], [0, 0, 0, 1]])
    write_ct(tmp_path / "ct.nii", affine=affine, shape=(50, 40, 55))
    image = read_input(tmp_path / "ct.nii")
    points = image.volume.grid.to_lps([[10, 20, 30], [25, 30, 20]])
    np.testing.assert_allclose(image.volume.sample(points, order=0), np.rint(body_hu(points)))


def test_scaled_integers_and_not_a_number_are_read(tmp_path: Path) -> None:
    hu = write_ct(tmp_path / "a.nii", kind=np.float32)
    hu[:5, :5, :5] = np.nan
    hu[:5, 45:, :5] = -3024
    image = nibabel.Nifti1Image(hu.astype(np.float32), nibabel.load(tmp_path / "a.nii").affine)
    nibabel.save(image, tmp_path / "b.nii")
    read = read_input(tmp_path / "b.nii")
    assert read.volume.hu_zyx[0, 0, 0] == read.volume.hu_zyx[0, 49, 0] == AIR_HU
    assert read.padding_share == pytest.approx(2 * 125 / hu.size)
    scaled = nibabel.Nifti1Image(np.rint((np.nan_to_num(hu, nan=-1000) + 4000) / 2).astype(np.int16), image.affine)
    scaled.header.set_slope_inter(2.0, -4000.0)
    nibabel.save(scaled, tmp_path / "c.nii")
    assert np.abs(read_input(tmp_path / "c.nii").volume.hu_zyx - read.volume.hu_zyx)[10:].max() <= 1


def test_cut_nifti_is_unreadable(tmp_path: Path) -> None:
    for name in ("ct.nii", "ct.nii.gz"):
        write_ct(tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-500])
        with pytest.raises(InputError, match="cannot be read") as caught:
            read_input(tmp_path / name)
        assert not isinstance(caught.value, NotEvaluableError)


def test_four_dimensions_or_no_orientation_are_refused(tmp_path: Path) -> None:
    hu = write_ct(tmp_path / "ct.nii")
    nibabel.save(nibabel.Nifti1Image(np.stack([hu, hu], axis=-1).astype(np.int16), np.eye(4)), tmp_path / "4d.nii")
    write_ct(tmp_path / "nowhere.nii", code=0)
    for name, code in (("4d.nii", Code.NOT_CT), ("nowhere.nii", Code.GEOMETRY_IMPLAUSIBLE)):
        with pytest.raises(NotEvaluableError) as caught:
            read_input(tmp_path / name)
        assert caught.value.code is code


def test_a_trailing_axis_of_one_is_no_fourth_dimension(tmp_path: Path) -> None:
    hu = write_ct(tmp_path / "ct.nii", shape=(60, 50, 30, 1))
    np.testing.assert_array_equal(read_input(tmp_path / "ct.nii").volume.hu_zyx, hu.transpose(2, 1, 0))


def test_mr_in_nifti_is_not_hu(tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 255, (60, 50, 30)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(grey, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "mr.nii.gz")
    with pytest.raises(NotEvaluableError) as caught:
        read_input(tmp_path / "mr.nii.gz")
    assert caught.value.code is Code.HU_IMPLAUSIBLE


@pytest.mark.parametrize("tilt_deg", [0.0, 12.0])
def test_labels_written_on_the_grid_of_a_series_lie_where_the_series_lies(tmp_path: Path, tilt_deg: float) -> None:
    ct_series(tilt_deg=tilt_deg, flip_rows=True).write(tmp_path / "dicom")
    grid = read_input(tmp_path / "dicom").volume.grid
    labels = np.zeros(grid.shape_zyx, dtype=np.uint8)
    labels[4, 5, 6] = 20
    write_label_nifti(tmp_path / "labels.nii.gz", LabelVolume(labels_zyx=labels, grid=grid))
    stored = nibabel.load(tmp_path / "labels.nii.gz")
    assert stored.get_data_dtype() == np.uint8
    assert np.asarray(stored.dataobj)[6, 5, 4] == 20
    np.testing.assert_allclose(stored.affine, RAS @ grid.voxel_to_lps, atol=1e-4)
    assert (int(stored.header["sform_code"]), int(stored.header["qform_code"])) == (1, 0 if tilt_deg else 1)
    if not tilt_deg:
        np.testing.assert_allclose(stored.get_qform(), stored.affine, atol=1e-3)


def test_labels_go_back_onto_the_grid_of_a_nifti_input_and_are_the_same_bytes_twice(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 2.5, -70], [-1.5, 0.1, 0, 45], [0, 2.0, 0, -30], [0, 0, 0, 1]])
    write_ct(tmp_path / "ct.nii", affine=affine, shape=(50, 40, 55))
    grid = read_input(tmp_path / "ct.nii").volume.grid
    for name in ("a.nii.gz", "b.nii.gz"):
        write_label_nifti(tmp_path / name, LabelVolume(labels_zyx=np.ones(grid.shape_zyx, dtype=np.uint8), grid=grid))
    assert nibabel.load(tmp_path / "a.nii.gz").shape == (50, 40, 55)
    np.testing.assert_allclose(nibabel.load(tmp_path / "a.nii.gz").affine, affine, atol=1e-5)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_left_handed_label_grids_are_written_too(tmp_path: Path) -> None:
    grid = Grid(shape_zyx=(4, 5, 6), voxel_to_lps=np.diag([1.0, 2.0, -3.0, 1.0]))
    write_label_nifti(tmp_path / "l.nii.gz", LabelVolume(labels_zyx=np.zeros((4, 5, 6), dtype=np.uint8), grid=grid))
    np.testing.assert_allclose(nibabel.load(tmp_path / "l.nii.gz").affine, RAS @ grid.voxel_to_lps)
