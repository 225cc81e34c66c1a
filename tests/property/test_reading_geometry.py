"""However a series is stored, the same HU lie at the same LPS points."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.series import ORIENTATIONS, body_hu, ct_series
from trabecula_morphometry.codes import Code
from trabecula_service.dicom.image import CtImage
from trabecula_service.dicom.read import read_input

SHAPE = (12, 40, 44)
SPACING = (3.0, 2.0, 2.2)


def read_written(order: list[int] | None = None, **options: object) -> CtImage:
    series = ct_series(shape_zyx=SHAPE, spacing_mm=SPACING, **options)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        series.write(Path(folder), order=order)
        return read_input(Path(folder))


def assert_body_lies_where_it_should(image: CtImage) -> None:
    """Every voxel of the volume holds the HU of the digital body at the LPS point that its grid says."""
    voxels = np.stack(np.meshgrid(*[np.arange(n) for n in image.volume.hu_zyx.shape], indexing="ij")[::-1], axis=-1)
    expected = np.rint(body_hu(np.round(image.volume.grid.to_lps(voxels), 6)))
    # Rounding of positions to 16 characters may move a voxel across an edge of the body.
    assert np.mean(image.volume.hu_zyx != expected) < 1e-3


def assert_runs_along_the_normal(image: CtImage) -> None:
    x_step, y_step, z_step = image.volume.grid.voxel_to_lps[:3, :3].T
    assert np.cross(x_step, y_step) @ z_step > 0


@settings(max_examples=12, deadline=None)
@given(
    order=st.permutations(range(SHAPE[0])),
    orientation=st.sampled_from(sorted(ORIENTATIONS)),
    flip_rows=st.booleans(),
    flip_columns=st.booleans(),
    feet_first=st.booleans(),
    tilt_deg=st.sampled_from([0.0, -22.0, 3.0, 18.5]),
)
def test_file_order_orientation_flips_and_tilt_do_not_move_the_patient(
    order: list[int], orientation: str, flip_rows: bool, flip_columns: bool, feet_first: bool, tilt_deg: float
) -> None:
    image = read_written(
        order, orientation=orientation, flip_rows=flip_rows, flip_columns=flip_columns, feet_first=feet_first, tilt_deg=tilt_deg
    )
    assert_body_lies_where_it_should(image)
    assert_runs_along_the_normal(image)
    assert image.even_slices
    assert {flag.code for flag in image.flags} == ({Code.GANTRY_TILT} if tilt_deg else set())


@settings(max_examples=8, deadline=None)
@given(yaw=st.floats(-40, 40), pitch=st.floats(-40, 40))
def test_oblique_slices_lie_where_their_cosines_say(yaw: float, pitch: float) -> None:
    a, b = np.radians([yaw, pitch])
    row = np.array([np.cos(a), np.sin(a), 0.0])
    column = np.array([-np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b)])
    image = read_written(orientation=tuple(np.concatenate([row, column]).tolist()))
    assert_body_lies_where_it_should(image)
    assert image.flags == ()


@settings(max_examples=8, deadline=None)
@given(missing=st.sets(st.integers(2, SHAPE[0] - 3), min_size=1, max_size=3), tilt_deg=st.sampled_from([0.0, 15.0]))
def test_scanned_slices_keep_their_place_when_others_are_missing(missing: set[int], tilt_deg: float) -> None:
    whole = ct_series(shape_zyx=SHAPE, spacing_mm=SPACING, tilt_deg=tilt_deg)
    image = read_written(missing=missing, tilt_deg=tilt_deg)
    kept = [k for k in range(SHAPE[0]) if k not in missing]
    np.testing.assert_allclose(image.volume.grid.voxel_to_lps, whole.voxel_to_lps, atol=1e-5)
    np.testing.assert_array_equal(image.volume.hu_zyx[kept], whole.hu_zyx[kept])
    assert image.interpolated_slices == tuple(sorted(missing))


@settings(max_examples=6, deadline=None)
@given(instance_numbers=st.sampled_from(["reversed", "repeated", "absent"]), thickness=st.sampled_from([0.5, 5.0, None]))
def test_instance_numbers_and_thickness_decide_nothing(instance_numbers: str, thickness: float | None) -> None:
    series = ct_series(shape_zyx=SHAPE, spacing_mm=SPACING).with_tags(SliceThickness=thickness)
    for k, dataset in enumerate(series.datasets):
        dataset.InstanceNumber = {"reversed": SHAPE[0] - k, "repeated": 1, "absent": None}[instance_numbers]
    with tempfile.TemporaryDirectory() as folder:
        series.write(Path(folder))
        image = read_input(Path(folder))
    np.testing.assert_array_equal(image.volume.hu_zyx, series.hu_zyx)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=600))
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    from trabecula_morphometry.errors import InputError

    for head in (b"", bytes(128) + b"DICM", bytes(128) + b"DICM\x02\x00\x10\x00UI\x12\x001.2.840.10008.1.2\0"):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "image.dcm").write_bytes(head + content)
            try:
                read_input(Path(folder))
            except InputError:
                continue
            raise AssertionError("random bytes were read as a volume")
