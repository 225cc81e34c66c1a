"""``./run bench``: wall time and peak memory of ``trabecula analyze``, stage by stage, on one real CT at two sizes.

The real CT (ircadb1-01, 129 slices of 512 x 512) is resampled along its slices to 130 and to 500, written as a DICOM series, and
analysed by a fresh process each time, as a user would. Aim of the first version: 10 s and 2 GB for 130 slices on two cores.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from conftest import shared_folder
from trabecula_morphometry.digital_patient import PatientOptions
from trabecula_morphometry.volume import Grid, Volume
from trabecula_service.demo.ct_series import write_ct_series
from trabecula_service.dicom.read import read_input

SLICE_COUNTS = (130, 500)


def resampled(volume: Volume, slices: int) -> Volume:
    """The same extent along z with another number of slices."""
    count = volume.hu_zyx.shape[0]
    position = np.linspace(0, count - 1, slices)
    low = np.minimum(position.astype(int), count - 2)
    part = (position - low)[:, None, None].astype(np.float32)
    hu = np.empty((slices, *volume.hu_zyx.shape[1:]), dtype=np.int16)
    for index in range(slices):
        hu[index] = np.rint(volume.hu_zyx[low[index]] * (1 - part[index]) + volume.hu_zyx[low[index] + 1] * part[index])
    matrix = volume.grid.voxel_to_lps.copy()
    matrix[:3, 2] *= (count - 1) / (slices - 1)
    return Volume(hu_zyx=hu, grid=Grid(shape_zyx=hu.shape, voxel_to_lps=matrix))


def run_analyze(series: Path, out: Path) -> tuple[float, float, dict[str, float]]:
    """Wall seconds, peak memory in GB and the stages' seconds of one ``trabecula analyze``."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "trabecula_service.cli", "analyze", str(series), "--out", str(out)], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"analyze ended with {process.returncode}")
    return wall, usage.ru_maxrss / 1e6, json.loads((out / "result.json").read_text())["timing_s"]


def main() -> None:
    """Print one line per size."""
    shared = shared_folder()
    if shared is None:
        sys.stdout.write("bench needs the real CT cases (set TRABECULA_SHARED)\n")
        return
    image = read_input(shared / "ct" / "ircadb1-01" / "dicom")
    for slices in SLICE_COUNTS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_ct_series(resampled(image.volume, slices), PatientOptions(), folder / "series", made=datetime(2026, 1, 1, tzinfo=UTC))
            wall, peak_gb, stages = run_analyze(folder / "series", folder / "out")
        parts = "  ".join(f"{name} {seconds:.1f}" for name, seconds in stages.items())
        sys.stdout.write(f"512 x 512 x {slices}: {wall:.1f} s, peak {peak_gb:.2f} GB   [{parts}]\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
