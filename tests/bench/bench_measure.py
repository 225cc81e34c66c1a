"""``./run bench measure``: seconds to measure all levels of one digital patient (frames, heights, grades, HU), masks given.

Wall and processor seconds, the best of five: the first run loads code, others may be disturbed. Aim: under 1 s for all levels on two cores.
"""

import os
import sys
import time

from trabecula_morphometry.digital_patient import PatientOptions, make_digital_patient
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.measure import measure_column
from trabecula_morphometry.vertebra import VertebraInput

REPEATS = 5
SLICES_MM = (1.0, 2.5)


def main() -> None:
    """Print one line per slice spacing."""
    sys.stdout.write(f"{os.cpu_count()} processors\nslices   levels   wall s   processor s\n")
    for spacing_mm in SLICES_MM:
        patient = make_digital_patient(PatientOptions(seed=31, spacing_xyz_mm=(0.8, 0.8, spacing_mm), field_of_view_mm=264.0))
        found = [VertebraInput(name=t.name, label=LABEL_OF_LEVEL[t.name], center_lps_mm=t.center_lps_mm) for t in patient.truth.levels]
        walls, processor = [], []
        for _ in range(REPEATS):
            wall, cpu = time.perf_counter(), time.process_time()
            measured = measure_column(patient.volume, patient.bodies, patient.posterior, found, slice_spacing_mm=spacing_mm, age_years=70)
            walls.append(time.perf_counter() - wall)
            processor.append(time.process_time() - cpu)
        if not all(level.heights is not None and level.genant is not None for level in measured.levels):
            raise SystemExit("a level was not measured")
        sys.stdout.write(f"{spacing_mm:4.1f} mm   {len(found):6}   {min(walls):6.2f}   {min(processor):11.2f}\n")


if __name__ == "__main__":
    main()
