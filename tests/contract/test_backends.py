"""Every foreign backend gives what the port promises: on a CT that a perfect model can read, the digital patient's own vertebrae.

nnunetv2 and TotalSegmentator are stand-ins with the API of versions 2.8.1 and 2.18.0; the MONAI bundle is a real one, run by MONAI.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from builders.coded_ct import coarse_patient, coded_volume, write_monai_bundle
from builders.foreign_packages import install_nnunet, install_totalsegmentator, nnunet_folder, totalsegmentator_weights
from trabecula_models.backends.choice import BackendChoice, BackendName
from trabecula_models.backends.port import Backend
from trabecula_models.backends.registry import build_backend
from trabecula_models.forward import Compute
from trabecula_models.segmentation import SpineSegmentation
from trabecula_morphometry.levels import LABEL_OF_LEVEL, LEVEL_OF_LABEL, LEVELS_IN_ORDER, SACRUM_LABEL
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of MONAI's own import are not ours

CPU = Compute(device="cpu")
LEVELS = ["T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5"]
NUMBERS = [0, *(LABEL_OF_LEVEL[name] for name in LEVELS), SACRUM_LABEL]

Build = Callable[[Path, pytest.MonkeyPatch], Backend]


def build_nnunet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    install_nnunet(monkeypatch)
    labels = {"background": 0, **{name: LABEL_OF_LEVEL[name] for name in LEVELS}, "sacrum": SACRUM_LABEL}
    return build_backend(BackendChoice(name=BackendName.NNUNET, model=nnunet_folder(folder / "m", labels), compute=CPU))


def build_totalsegmentator(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    install_totalsegmentator(monkeypatch, totalsegmentator_weights(folder / "w"))
    return build_backend(BackendChoice(name=BackendName.TOTALSEGMENTATOR, compute=CPU))


def build_monai_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    del monkeypatch
    names = ["background", *(f"vertebrae_{LEVEL_OF_LABEL[number]}" for number in NUMBERS[1:-1]), "sacrum"]
    return build_backend(BackendChoice(name=BackendName.MONAI_BUNDLE, model=write_monai_bundle(folder / "b", names, NUMBERS), compute=CPU))


BACKENDS: dict[str, Build] = {"nnunet": build_nnunet, "totalsegmentator": build_totalsegmentator, "monai-bundle": build_monai_bundle}


def dice(found: LabelVolume, truth: LabelVolume, label: int) -> float:
    a, b = found.resample(truth.grid).labels_zyx == label, truth.labels_zyx == label
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield BACKENDS[request.param](tmp_path_factory.mktemp("model"), monkeypatch)


@pytest.fixture(scope="module")
def found(backend: Backend) -> SpineSegmentation:
    return vertebrae_of(backend, coded_volume(coarse_patient()))


def vertebrae_of(backend: Backend, volume: Volume) -> SpineSegmentation:
    found = backend.segment(volume)
    if found is None:
        pytest.fail("nothing found")
    return found


def test_a_backend_finds_the_named_bodies_and_splits_off_the_arches(found: SpineSegmentation) -> None:
    patient = coarse_patient()
    assert [vertebra.name for vertebra in found.vertebrae] == LEVELS
    scores = {name: dice(found.bodies, patient.bodies, LABEL_OF_LEVEL[name]) for name in LEVELS}
    assert min(scores.values()) > 0.9, scores
    assert np.mean([dice(found.posterior, patient.posterior, LABEL_OF_LEVEL[name]) for name in LEVELS]) > 0.8
    truth = {name: patient.bodies.grid.to_lps(np.argwhere(patient.bodies.labels_zyx == LABEL_OF_LEVEL[name])[:, ::-1]) for name in LEVELS}
    for vertebra in found.vertebrae:
        assert np.linalg.norm(vertebra.center_lps_mm - truth[vertebra.name].mean(axis=0)) < 2.5
        assert 0 <= vertebra.confidence <= 1


def test_a_backends_masks_lie_on_one_fine_upright_grid(found: SpineSegmentation) -> None:
    assert np.array_equal(found.bodies.grid.voxel_to_lps[:3, :3], np.eye(3))
    assert np.array_equal(found.bodies.grid.voxel_to_lps, found.posterior.grid.voxel_to_lps)
    assert not ((found.bodies.labels_zyx > 0) & (found.posterior.labels_zyx > 0)).any()
    assert set(np.unique(found.bodies.labels_zyx)) == set(NUMBERS)
    order = [LEVELS_IN_ORDER.index(vertebra.name) for vertebra in found.vertebrae]
    assert order == sorted(set(order))


def test_a_backend_says_what_it_is_and_repeats_itself(backend: Backend, found: SpineSegmentation) -> None:
    second = vertebrae_of(backend, coded_volume(coarse_patient()))
    assert found.backend in BACKENDS
    assert len(found.weights_sha256) == 64
    assert np.array_equal(found.bodies.labels_zyx, second.bodies.labels_zyx)
    assert found.numbering == second.numbering


def test_a_backend_says_nothing_where_no_vertebra_is_in_view(backend: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    patient = coarse_patient()
    empty = Volume(
        hu_zyx=np.zeros((40, 48, 48), np.int16), grid=Grid(shape_zyx=(40, 48, 48), voxel_to_lps=patient.volume.grid.voxel_to_lps)
    )
    assert backend.segment(empty) is None
    assert not capsys.readouterr().out, "standard output may be a result"


def test_a_volume_that_is_turned_gives_the_same_vertebrae(backend: Backend, found: SpineSegmentation) -> None:
    volume = coded_volume(coarse_patient())
    # rows, columns and slices in other orders and directions: the same voxels, said otherwise
    hu = volume.hu_zyx[::-1, :, ::-1].transpose(1, 0, 2)
    matrix = volume.grid.voxel_to_lps.copy()
    matrix[:3, 3] = volume.grid.to_lps([hu.shape[2] - 1, 0, hu.shape[1] - 1])
    matrix[:3, :3] = np.stack([-volume.grid.voxel_to_lps[:3, 0], -volume.grid.voxel_to_lps[:3, 2], volume.grid.voxel_to_lps[:3, 1]], axis=1)
    turned = vertebrae_of(backend, Volume(hu_zyx=hu, grid=Grid(shape_zyx=hu.shape, voxel_to_lps=matrix)))
    assert [v.name for v in turned.vertebrae] == LEVELS
    assert np.allclose([v.center_lps_mm for v in turned.vertebrae], [v.center_lps_mm for v in found.vertebrae], atol=0.6)
