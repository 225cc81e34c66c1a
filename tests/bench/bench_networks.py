"""``./run bench``: our three networks against one of nnU-Net's 3d_fullres size on the same volume, side by side.

The large one is MONAI's DynUNet with 32-320 channels and random weights (they cost the same as trained ones), sliding over the whole
volume at 1.5 mm in windows of 128 voxels that overlap by half, without mirroring, as TotalSegmentator runs. It is timed on a few windows
and its total is extrapolated from their number; the line says so. Ours are timed whole: resampling, all networks, mirroring, naming, masks.
"""

import argparse
import os
import sys
import time
from dataclasses import dataclass
from math import prod

import numpy as np

from conftest import shared_folder
from trabecula_models.forward import Compute, Engine, openvino_installed
from trabecula_models.inference import window_starts
from trabecula_models.locate import coarse_grid
from trabecula_models.segment import SpineSegmenter
from trabecula_morphometry.digital_patient import make_digital_patient
from trabecula_morphometry.volume import Volume
from trabecula_service.dicom.read import read_input

LARGE_CHANNELS = (32, 64, 128, 256, 320, 320)
LARGE_CLASSES = 26
WINDOW = 128
OVERLAP = 0.5
SPACING_MM = 1.5


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Wall seconds, and seconds of processor time (all threads), which a busy machine does not change."""

    wall_s: float
    cpu_s: float

    def times(self, factor: float) -> "Cost":
        return Cost(wall_s=self.wall_s * factor, cpu_s=self.cpu_s * factor)


class Stopwatch:
    """Measures one block."""

    def __enter__(self) -> "Stopwatch":
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.cost = Cost(wall_s=time.perf_counter() - self._wall, cpu_s=time.process_time() - self._cpu)


def bench_volume() -> Volume:
    """ircadb1-01 where the real cases are here, else a digital patient."""
    shared = shared_folder()
    return read_input(shared / "ct" / "ircadb1-01" / "dicom").volume if shared else make_digital_patient().volume


def ours(volume: Volume, segmenter: SpineSegmenter) -> Cost:
    """From the volume to named vertebrae with their masks, as an analysis does it."""
    with Stopwatch() as watch:
        if segmenter.segment(volume) is None:
            raise SystemExit("no column in the bench's volume")
    return watch.cost


def large_windows(volume: Volume) -> int:
    """Windows that cover the whole volume at 1.5 mm."""
    return prod(len(window_starts(size, WINDOW, OVERLAP)) for size in coarse_grid(volume, SPACING_MM).shape_zyx)


def large(windows: int, device: str) -> Cost:
    """The mean cost of one window of the large network, over ``windows`` of them after one that is not counted."""
    import torch
    from monai.networks.nets.dynunet import DynUNet

    torch.manual_seed(0)
    kernels, strides = [[3] * 3] * len(LARGE_CHANNELS), [[1] * 3] + [[2] * 3] * (len(LARGE_CHANNELS) - 1)
    network = DynUNet(3, 1, LARGE_CLASSES, kernels, strides, strides[1:], filters=LARGE_CHANNELS).eval().to(device)
    patch = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, WINDOW, WINDOW, WINDOW)).astype(np.float32)).to(device)
    half = torch.autocast(device, dtype=torch.float16, enabled=device == "cuda")
    with torch.inference_mode(), half:
        network(patch).sum().item()
        with Stopwatch() as watch:
            for _ in range(windows):
                network(patch).sum().item()  # the sum waits for a GPU to finish
    return watch.cost.times(1 / windows)


def main() -> None:
    """Print one line per network and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=2, help="windows of the large network that are timed")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--repeat", type=int, default=3, help="runs of our networks; the median counts")
    options = parser.parse_args()
    volume = bench_volume()
    engines = [Engine.TORCH] + ([Engine.OPENVINO] if options.device == "cpu" and openvino_installed() else [])
    segmenters = {engine: SpineSegmenter(compute=Compute(device=options.device, engine=engine)) for engine in engines}
    costs: dict[Engine, list[Cost]] = {engine: [] for engine in engines}
    for _ in range(options.repeat + 1):
        for engine in engines:  # by turns, so that a busy spell meets all alike
            costs[engine].append(ours(volume, segmenters[engine]))
    windows = large_windows(volume)
    one = large(options.windows, options.device)
    total = one.times(windows)
    cores = len(os.sched_getaffinity(0))
    sys.stdout.write(f"{' x '.join(str(n) for n in volume.hu_zyx.shape)} voxels, {cores} cores, {options.device}\n")
    sys.stdout.write(
        f"DynUNet 32-320 at 1.5 mm: {total.wall_s:.0f} s wall, {total.cpu_s:.0f} s processor: "
        f"{windows} windows x {one.wall_s:.1f} s, extrapolated from {options.windows} windows\n"
    )
    for engine in engines:
        measured = costs[engine][1:]  # the first run compiles and warms up
        wall_s, cpu_s = float(np.median([cost.wall_s for cost in measured])), float(np.median([cost.cpu_s for cost in measured]))
        sys.stdout.write(
            f"ours, {segmenters[engine].engine}: {wall_s:.1f} s wall, {cpu_s:.1f} s processor; "
            f"{total.wall_s / wall_s:.0f} x faster by wall, {total.cpu_s / cpu_s:.0f} x by processor time (aim 30)\n"
        )


if __name__ == "__main__":
    main()
