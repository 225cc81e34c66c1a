"""Real CT: the same HU at the same places as an independent reader (SimpleITK), and the traps of each case."""

from pathlib import Path

import numpy as np
import pytest

from trabecula_morphometry.codes import Code
from trabecula_morphometry.volume import AIR_HU
from trabecula_service.dicom.image import CtImage
from trabecula_service.dicom.pixels import HISTOGRAM_BINS, HISTOGRAM_LOW_HU
from trabecula_service.dicom.plausible_hu import why_not_hu
from trabecula_service.dicom.read import open_input, read_input

pytestmark = pytest.mark.real_ct

CASES = ("petct-abdopelvis", "ircadb1-01", "colon-sens64", "hcc-007/two-phases", "hcc-007/pre10mm", "totalseg-dicom")
COMPARED_SLICES = 5


def assert_same_as_simpleitk(image: CtImage, files: dict[str, Path]) -> None:
    """Compare some slices: their place in LPS, their pixel spacing and all their HU (fill below -1024 counts as air)."""
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is the independent reader")
    for k in np.linspace(0, len(image.headers) - 1, COMPARED_SLICES).astype(int):
        other = sitk.ReadImage(str(files[str(image.headers[k].SOPInstanceUID)]))
        np.testing.assert_allclose(image.volume.grid.to_lps([0, 0, k]), other.GetOrigin(), atol=1e-3)
        np.testing.assert_allclose(image.volume.grid.to_lps([7, 3, k]), other.TransformIndexToPhysicalPoint((7, 3, 0)), atol=1e-3)
        np.testing.assert_array_equal(image.volume.hu_zyx[k], np.maximum(sitk.GetArrayFromImage(other)[0], AIR_HU))


def files_by_uid(folder: Path) -> dict[str, Path]:
    from pydicom import dcmread

    return {str(dcmread(path, stop_before_pixels=True).file_meta.MediaStorageSOPInstanceUID): path for path in folder.iterdir()}


@pytest.mark.parametrize("case", CASES)
def test_hu_and_places_are_those_of_an_independent_reader(shared: Path, case: str) -> None:
    folder = shared / "ct" / case / "dicom"
    assert_same_as_simpleitk(read_input(folder), files_by_uid(folder))


def test_two_phases_in_one_series_are_told_apart(shared: Path) -> None:
    folder = shared / "ct" / "hcc-007" / "two-phases" / "dicom"
    with open_input(folder) as found:
        portal, arterial = found.images()
    assert (portal.source.acquisition_number, arterial.source.acquisition_number) == (3, 1)
    assert [len(image.headers) for image in (portal, arterial)] == [75, 39]
    assert {flag.code for flag in portal.flags} == {Code.OTHER_ACQUISITION}
    assert_same_as_simpleitk(arterial, files_by_uid(folder))
    assert read_input(folder, acquisition_number=1).source.content_sha256 == arterial.source.content_sha256


def test_manufacturers_fill_is_air(shared: Path) -> None:
    image = read_input(shared / "ct" / "petct-abdopelvis" / "dicom")
    assert image.volume.hu_zyx.min() == AIR_HU
    assert image.padding_share == pytest.approx(0.21, abs=0.01)


def test_stripped_header_is_read_and_nothing_made_up(shared: Path) -> None:
    image = read_input(shared / "ct" / "ircadb1-01" / "dicom")
    assert {flag.code for flag in image.flags} == {Code.HU_CLIPPED}
    assert (image.acquisition.kvp, image.acquisition.kernel, image.acquisition.age_years) == (None, None, None)


def test_uneven_8_mm_slices_are_named_and_lie_at_their_places(shared: Path) -> None:
    folder = shared / "ct" / "liver-8mm" / "dicom"
    image = read_input(folder)
    assert (image.even_slices, image.slice_gaps_mm, image.scanned_step_mm) == (False, (16.0, 16.0), 8.0)
    assert Code.SLICES_MISSING in {flag.code for flag in image.flags}
    first, last = image.headers[0].ImagePositionPatient, image.headers[-1].ImagePositionPatient
    np.testing.assert_allclose(image.volume.grid.to_lps([0, 0, 0]), first, atol=1e-3)
    reach = image.volume.grid.to_lps([0, 0, image.volume.hu_zyx.shape[0] - 1])[2] - first[2]
    assert 0 <= float(last[2]) - float(first[2]) - reach < 6.0


def test_emptied_uids_come_from_the_file_meta_information(shared: Path) -> None:
    image = read_input(shared / "ct" / "totalseg-dicom" / "dicom")
    assert (image.source.study_instance_uid, image.source.series_instance_uid) == (None, None)
    assert all(header.SOPInstanceUID for header in image.headers)
    assert image.acquisition.kernel == "Br38f"


@pytest.mark.parametrize("case", CASES)
def test_a_lost_intercept_would_be_noticed_in_every_case(shared: Path, case: str) -> None:
    hu = read_input(shared / "ct" / case / "dicom").volume.hu_zyx[::2, ::4, ::4].astype(np.int64)
    measured = hu[hu > AIR_HU]

    def histogram(shift: int) -> np.ndarray:
        return np.bincount(np.clip(measured + shift - HISTOGRAM_LOW_HU, 0, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS)

    assert why_not_hu(histogram(0)) is None
    assert all(why_not_hu(histogram(shift)) for shift in (1024, 1000, -1024, 2048))


@pytest.mark.parametrize("name", ["verse012", "totalseg-example"])
def test_nifti_is_that_of_an_independent_reader(shared: Path, name: str) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is the independent reader")
    path = next(path for path in (shared / "ct" / name).glob("*_ct.nii.gz"))
    image, other = read_input(path), sitk.ReadImage(str(path))
    np.testing.assert_allclose(image.volume.grid.to_lps([5, 6, 7]), other.TransformIndexToPhysicalPoint((5, 6, 7)), atol=1e-2)
    np.testing.assert_array_equal(image.volume.hu_zyx, np.maximum(np.rint(sitk.GetArrayFromImage(other)), AIR_HU))
