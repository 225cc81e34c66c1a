"""Whatever computes the networks, the labels are the same, again and again; nothing is sent anywhere."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from builders.coded_ct import coarse_patient
from trabecula_models.bundle import load_bundle
from trabecula_models.errors import ModelError
from trabecula_models.forward import Compute, Engine, Precision, build_forward, openvino_installed, resolve_device
from trabecula_models.inference import NetworkRunner, scale_hu
from trabecula_models.torch_forward import half_type
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import analysis_grid

BUNDLE = load_bundle("delineate")
CPU_TORCH = Compute(device="cpu", engine=Engine.TORCH, precision=Precision.FLOAT32)
CPU_OPENVINO = Compute(device="cpu", engine=Engine.OPENVINO)

needs_openvino = pytest.mark.skipif(not openvino_installed(), reason="the extra openvino is not installed")


def lumbar_patch() -> np.ndarray:
    """L2-L4 of a digital patient at the fine network's voxel size, scaled: (1, z, y, x)."""
    patient = coarse_patient()
    voxels = np.argwhere(patient.bodies.labels_zyx == LABEL_OF_LEVEL["L3"])[:, ::-1]
    middle = patient.volume.grid.to_lps(voxels).mean(axis=0) + np.array([0.0, 15.0, 0.0])
    half = np.array([48, 48, 64]) * 1.5 / 2
    return scale_hu(patient.volume.resample(analysis_grid(middle - half, middle + half, 1.5)).hu_zyx[:64, :48, :48])[None]


@needs_openvino
def test_openvino_gives_the_labels_of_torch_in_999_of_1000_voxels() -> None:
    patch = lumbar_patch()
    by_torch, by_openvino = (build_forward(BUNDLE, compute)(patch) for compute in (CPU_TORCH, CPU_OPENVINO))
    labels = by_torch[:7].argmax(axis=0)
    assert set(np.unique(labels)) >= {0, 1, 2}
    same = labels == by_openvino[:7].argmax(axis=0)
    assert same.mean() >= 0.999
    assert same[labels > 0].mean() >= 0.999
    assert np.abs(by_torch - by_openvino).max() < 0.02


@pytest.mark.parametrize("compute", [CPU_TORCH, pytest.param(CPU_OPENVINO, marks=needs_openvino)], ids=lambda compute: compute.engine.value)
def test_the_same_patch_gives_the_same_numbers(compute: Compute) -> None:
    forward, patch = build_forward(BUNDLE, compute), lumbar_patch()
    assert np.array_equal(forward(patch), forward(patch))


def test_a_window_larger_than_the_volume_and_many_small_ones_agree_inside() -> None:
    runner = NetworkRunner(load_bundle("delineate"), CPU_TORCH)
    patch = (lumbar_patch()[0] + 1) / 2 * 1200 - 200
    whole, parts = (runner.run(patch, window_zyx=window, overlap=0.5) for window in ((96, 96, 96), (48, 48, 48)))
    assert whole.shape == parts.shape == (8, *patch.shape)
    same = whole[:7].argmax(axis=0)[12:-12, 8:-8, 8:-8] == parts[:7].argmax(axis=0)[12:-12, 8:-8, 8:-8]
    assert same.mean() > 0.9


def test_a_small_volume_is_shown_with_air_around_it_where_a_least_window_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, shown = NetworkRunner(load_bundle("locate"), CPU_TORCH), []
    monkeypatch.setattr(runner, "_forward", lambda patch: (shown.append(patch), patch)[1])
    hu = np.random.default_rng(6).uniform(0, 100, (40, 30, 37)).astype(np.float32)
    out = runner.run(hu, window_zyx=(96, 96, 112), least_zyx=(1, 80, 96))
    assert [patch.shape for patch in shown] == [(1, 48, 80, 96)]
    assert (shown[0] == scale_hu(np.float32(-1000))).mean() == pytest.approx(1 - hu.size / shown[0].size)
    assert out[0] == pytest.approx(scale_hu(hu), abs=1e-6)


@pytest.mark.parametrize("width", [20, 48, 60])
def test_the_mirrored_look_at_a_mirror_image_is_the_mirrored_answer(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = NetworkRunner(load_bundle("locate"), CPU_TORCH)
    across = np.linspace(0, 1, 32, dtype=np.float32)
    monkeypatch.setattr(runner, "_forward", lambda patch: np.concatenate([patch, patch * across]))
    hu = np.random.default_rng(5).normal(50, 200, (20, 32, width)).astype(np.float32)
    seen, mirrored = runner.run(hu, window_zyx=(32, 32, 32)), runner.run(hu[..., ::-1], window_zyx=(32, 32, 32), mirrored=True)
    assert mirrored == pytest.approx(seen[..., ::-1], abs=1e-5)
    assert not np.allclose(seen[1], runner.run(hu, window_zyx=(32, 32, 32), mirrored=True)[1])


def test_half_precision_is_used_only_where_the_machine_has_units_for_it() -> None:
    assert half_type("cpu", frozenset({"avx2"})) is None
    assert half_type("cpu", frozenset({"avx2", "amx_bf16"})) is torch.bfloat16
    assert half_type("cuda", frozenset()) is torch.float16
    assert build_forward(BUNDLE, CPU_TORCH).engine == "torch float32 cpu"


def test_bfloat16_moves_few_labels() -> None:
    patch = lumbar_patch()
    exact = build_forward(BUNDLE, CPU_TORCH)
    expected = exact(patch)[:7].argmax(axis=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = exact(patch)[:7].argmax(axis=0)
    assert (found == expected).mean() > 0.99


def test_an_engine_or_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trabecula_models.forward.openvino_installed", lambda: False)
    with pytest.raises(ModelError, match=r"trabecula\[openvino\]"):
        build_forward(BUNDLE, CPU_OPENVINO)
    assert build_forward(BUNDLE, Compute(device="cpu")).engine.startswith("torch")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ModelError, match="'cuda'"):
        resolve_device("cuda")
    assert resolve_device("auto") == "cpu"


@needs_openvino
def test_openvino_needs_no_torch_and_reports_nothing_to_its_makers(tmp_path: Path) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise SystemExit('the network was touched')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "import numpy as np\n"
        "from trabecula_models.bundle import load_bundle\n"
        "from trabecula_models.openvino_forward import OpenVinoForward\n"
        "out = OpenVinoForward(load_bundle('delineate'))(np.zeros((1, 16, 16, 16), np.float32))\n"
        "print(out.shape, [m for m in ('torch', 'openvino_telemetry') if sys.modules.get(m)])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"HOME": str(tmp_path), "PATH": "/usr/bin"}, check=True
    )
    assert run.stdout.strip() == "(8, 16, 16, 16) []"
    assert not any(tmp_path.iterdir())
