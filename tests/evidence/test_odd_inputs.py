"""Odd DICOM out of the wild: what the reader answers to each kind, one row per folder and per telling file.

The images lie in ``odd.zip`` of the shared cases; what a good service should answer stands beside it in ``odd.md``.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from trabecula_morphometry.errors import InputError
from trabecula_service.dicom.files import InputFile, read_header
from trabecula_service.dicom.geometry import plan_slices
from trabecula_service.dicom.image import NotEvaluableError
from trabecula_service.dicom.pixels import decode_file
from trabecula_service.dicom.read import read_input
from trabecula_service.dicom.slices import SliceRecord, slices_of
from trabecula_service.dicom.stacks import stacks_of

pytestmark = [pytest.mark.real_ct, pytest.mark.filterwarnings("ignore")]

READ, UNREADABLE = "read", "unreadable"

ANSWERS = {
    "bad-vr-and-sequences": UNREADABLE,
    "bad-vr-and-sequences/badVR.dcm": "NOT_CT",
    "bad-vr-and-sequences/rtplan_truncated.dcm": "NOT_CT",
    "charset": "NOT_CT",
    "ct-bad-file-meta": "TOO_FEW_SLICES",
    "ct-bad-sequence": "TOO_FEW_SLICES",
    "ct-body-fnndsc-implicit": "TOO_FEW_SLICES",
    "ct-charset": "TOO_FEW_SLICES",
    "ct-coronal-reformat": READ,
    "ct-elscint-intercept-1000": "TOO_FEW_SLICES",
    "ct-enhanced-jpeg-baseline-fragmented": "NOT_CT",
    "ct-enhanced-legacy-converted": "TOO_FEW_SLICES",
    "ct-enhanced-nema": "NOT_CT",
    "ct-exam-summary-philips": "NOT_CT",
    "ct-invalid-values": "TOO_FEW_SLICES",
    "ct-invalid-values/ds-decimal-comma.dcm": "GEOMETRY_IMPLAUSIBLE",
    "ct-invalid-values/ds-text.dcm": "GEOMETRY_IMPLAUSIBLE",
    "ct-invalid-values/ipp-nan.dcm": "GEOMETRY_IMPLAUSIBLE",
    "ct-invalid-values/uid-path-traversal.dcm": "TOO_FEW_SLICES",
    "ct-j2k-pixelrep-mismatch": "TOO_FEW_SLICES",
    "ct-localizer-ge-jpegll": "NOT_CT",
    "ct-localizer-philips": "NOT_CT",
    "ct-missing-slice-siemens": "TOO_FEW_SLICES",
    "ct-missing-slices-axial": "TOO_FEW_SLICES",
    "ct-multi-energy/electron-density.dcm": "HU_IMPLAUSIBLE",
    "ct-multi-energy/iodine-map.dcm": "HU_IMPLAUSIBLE",
    "ct-multi-energy/vnc.dcm": "HU_IMPLAUSIBLE",
    "ct-multi-energy/vncalcium.dcm": "HU_IMPLAUSIBLE",
    "ct-multi-energy/zeff.dcm": "HU_IMPLAUSIBLE",
    "ct-multi-energy/low-kv.dcm": "TOO_FEW_SLICES",
    "ct-multi-energy/vmi-70kev.dcm": "TOO_FEW_SLICES",
    "ct-no-sopclassuid-j2k": "TOO_FEW_SLICES",
    "ct-odd-geometry": "TOO_FEW_SLICES",
    "ct-odd-geometry/no-orientation-position.dcm": "GEOMETRY_IMPLAUSIBLE",
    "ct-pad63536-ge": "TOO_FEW_SLICES",
    "ct-pixelrep-mix-padding": "TOO_FEW_SLICES",
    "ct-private-undefined-length": "TOO_FEW_SLICES",
    "ct-rescale-missing/no-slope.dcm": "HU_IMPLAUSIBLE",
    "ct-rescale-missing/no-slope-no-intercept.dcm": "HU_IMPLAUSIBLE",
    "ct-rescale-missing/slope-empty.dcm": "HU_IMPLAUSIBLE",
    "ct-rescale-missing/slope-zero.dcm": "HU_IMPLAUSIBLE",
    "ct-rle-fragmented": "TOO_FEW_SLICES",
    "ct-sagittal-reformat": READ,
    "ct-same-position-bolus-monitor": "TOO_FEW_SLICES",
    "ct-small": "TOO_FEW_SLICES",
    "ct-supine-flipped-rows": "TOO_FEW_SLICES",
    "ct-syntax-ctimage": "TOO_FEW_SLICES",
    "ct-syntax-small": "TOO_FEW_SLICES",
    "ct-syntax-small/dcmtk-jpeg-extended12.dcm": UNREADABLE,
    "ct-tilt-ge-single-pad63536": "TOO_FEW_SLICES",
    "ct-tilt-ge-variable-spacing": READ,
    "ct-tilt-philips-negative": "TOO_FEW_SLICES",
    "ct-tilt-philips-positive": "TOO_FEW_SLICES",
    "ct-tilt-siemens-no-tilt-tag": "TOO_FEW_SLICES",
    "ct-tomosynthesis-oblique": "NOT_CT",
    "ct-two-kernels-same-study-philips": "TOO_FEW_SLICES",
    "ct-undefined-length-private-be": UNREADABLE,
    "ct-uneven-increment-ge": "HU_IMPLAUSIBLE",
    "dicomdir": UNREADABLE,
    "duplicate-sop": "TOO_FEW_SLICES",
    "mr-axial-series": "NOT_CT",
    "mr-enhanced": "NOT_CT",
    "mr-mixed-orientation": "NOT_CT",
    "mr-small": "NOT_CT",
    "no-preamble": "TOO_FEW_SLICES",
    "no-preamble/ct-bare-explicit.dcm": "TOO_FEW_SLICES",
    "no-preamble/ct-bare-implicit.dcm": "TOO_FEW_SLICES",
    "no-preamble/no_meta.dcm": UNREADABLE,
    "not-dicom": UNREADABLE,
    "not-dicom/hostile-length.dcm": UNREADABLE,
    "not-dicom/text.dcm": UNREADABLE,
    "not-dicom/zip-header.dcm": UNREADABLE,
    "objects-not-input": "NOT_CT",
    "pet": "NOT_CT",
    "sc-dose-report": "NOT_CT",
    "sc-modality-ct-16bit": "NOT_CT",
    "truncated-ct": UNREADABLE,
    "truncated-ct/cut-in-header.dcm": UNREADABLE,
    "truncated-ct/cut-in-pixels.dcm": UNREADABLE,
    "truncated-ct/no-pixeldata.dcm": UNREADABLE,
    "truncated-ct/pixeldata-short-consistent.dcm": UNREADABLE,
    "truncated-ct/pixeldata-long.dcm": "TOO_FEW_SLICES",
    "truncated-mr": "NOT_CT",
    "un-vr-explicit": "TOO_FEW_SLICES",
}

HU_RANGES = {
    "ct-bad-file-meta/CTImageStorage_bad_meta.dcm": (-896, 1167),
    "ct-bad-sequence/bad_sequence.dcm": (-1011, 1243),
    "ct-elscint-intercept-1000/CT-JPEGLosslessSV1.dcm": (-1000, 2037),
    "ct-enhanced-legacy-converted/philips-12frames.dcm": (-1024, 801),
    "ct-j2k-pixelrep-mismatch/J2K_pixelrep_mismatch.dcm": (-1024, 1896),
    "ct-pad63536-ge/mono2-CT-16bit.dcm": (-1024, 3071),
    "ct-pixelrep-mix-padding/pr0-pad63536.dcm": (-1024, 1167),
    "ct-pixelrep-mix-padding/pr1-intercept0.dcm": (-896, 1167),
    "ct-pixelrep-mix-padding/pr1-pad-2000.dcm": (-1024, 1167),
    "ct-rescale-missing/intercept-8192-extended-hu.dcm": (-896, 1167),
    "ct-rle-fragmented/D_CLUNIE_CT1_RLE_FRAGS.dcm": (-1024, 1254),
    "ct-syntax-ctimage/CTImage.dcm": (-1024, 1378),
    "un-vr-explicit/explicit_VR-UN.dcm": (-1024, 1186),
}
"""Lowest and highest HU as listed in odd.md; the makers' fill (-2000, -3024, 62512) counts as air, -1024."""


@pytest.fixture(scope="module")
def odd(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    with zipfile.ZipFile(shared / "ct" / "odd.zip") as packed:
        packed.extractall(folder)
    return folder


def answer(path: Path) -> str:
    try:
        read_input(path)
    except NotEvaluableError as error:
        return str(error.code)
    except InputError:
        return UNREADABLE
    return READ


def records_of(path: Path) -> list[SliceRecord]:
    file = InputFile(path, path.name)
    header = read_header(file)
    assert header is not None
    return slices_of(file, header)


def decoded_hu(path: Path) -> np.ndarray:
    return np.stack([part.hu for part in decode_file(records_of(path))])


def test_every_folder_has_its_answer(odd: Path) -> None:
    assert {entry.name for entry in odd.iterdir()} == {name.split("/")[0] for name in ANSWERS}
    wrong = {name: (got, wanted) for name, wanted in ANSWERS.items() if (got := answer(odd / name)) != wanted}
    assert wrong == {}


def test_decoded_values_are_those_listed(odd: Path) -> None:
    found = {name: (int((hu := decoded_hu(odd / name)).min()), int(hu.max())) for name in HU_RANGES}
    assert found == HU_RANGES


def test_one_image_in_all_lossless_transfer_syntaxes_is_one_image(odd: Path) -> None:
    first = decoded_hu(odd / "ct-small" / "CT_small.dcm")
    names = ("bigendian", "deflated", "implicit", "jpegll", "jpegls", "rle")
    for path in [*(odd / "ct-syntax-small" / f"dcmtk-{name}.dcm" for name in names), odd / "ct-syntax-small" / "gdcm-j2k-lossless.dcm"]:
        np.testing.assert_array_equal(decoded_hu(path), first, err_msg=path.name)


@pytest.mark.parametrize(
    ("folder", "tilt_deg"),
    [
        ("ct-tilt-philips-negative", 18.5),
        ("ct-tilt-philips-positive", 16.5),
        ("ct-tilt-siemens-no-tilt-tag", 14.0),
        ("ct-missing-slice-siemens", 15.5),
    ],
)
def test_gantry_tilt_is_found_from_the_positions(odd: Path, folder: str, tilt_deg: float) -> None:
    records = [record for path in sorted((odd / folder).iterdir()) for record in records_of(path)]
    stack = stacks_of(records)[0]
    assert stack.frame is not None
    plan = plan_slices(stack.positions_lps_mm(), stack.frame)
    assert plan.tilt_deg == pytest.approx(tilt_deg, abs=0.1)
    assert plan.even == (folder != "ct-missing-slice-siemens")


def test_missing_slices_are_seen_from_the_positions(odd: Path) -> None:
    records = [record for path in sorted((odd / "ct-missing-slices-axial").iterdir()) for record in records_of(path)]
    stack = stacks_of(records)[0]
    assert stack.frame is not None
    plan = plan_slices(stack.positions_lps_mm(), stack.frame)
    assert (len(plan.lower), plan.gaps_mm) == (12, pytest.approx((3.0, 3.0)))
