"""Densities of digital patients over tube voltages, kernels and slice thicknesses: error, and how often the interval holds the truth.

``python tests/evidence/density_coverage.py [--write]`` measures the levels T12-L4 (fractured ones left out) of a digital patient per tube
voltage, seen through three kernels and four thicknesses with a mask off by a millimetre, and calibrates each with an entry that fits.
``read``: the scanner's true line, so what is left is the measurement. ``level`` and ``mean``: what an asynchronous calibration cannot know
is drawn on top from the published spreads: the entry's own fit (0.5 %, 1 mg/cm3), drift since the phantom scan (1.4 HU per year, Loeffler
2019) over 0 to 180 days, and the patient's size (2 %, Dudle 2024). ``--write`` keeps the figures.
"""

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from scipy import ndimage

from trabecula_calibration.contrast import ContrastReading, Phase
from trabecula_calibration.density import LevelHu, assess_density
from trabecula_calibration.entries import CalibrationEntry
from trabecula_calibration.matching import AcquisitionFacts
from trabecula_calibration.physics import Material
from trabecula_morphometry.digital_patient import DigitalPatient, PatientOptions, make_digital_patient
from trabecula_morphometry.measure import measure_column
from trabecula_morphometry.vertebra import VertebraInput
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

FIGURES = Path(__file__).with_name("density_coverage.json")
LEVELS = ("T12", "L1", "L2", "L3", "L4")
KERNELS = {"soft": 14.0, "standard": 25.0, "sharp": 70.0}
"""SD of the noise of a 1 mm slice, HU."""

FACTORS = (1, 2, 5, 8)
BASE_SLICE_MM = 0.6
DRAWS = 40
FIRST = date(2026, 1, 1)


@dataclass(frozen=True)
class Reading:
    """One level of one scan: HU as measured, and the truth of its density."""

    level: LevelHu
    truth_mg_cm3: float


def scanned(
    patient: DigitalPatient, kernel: str, factor: int, rng: np.random.Generator, base_slice_mm: float = BASE_SLICE_MM
) -> tuple[Volume, LabelVolume]:
    """The patient through a kernel and a slice thickness, with a mask that is off by a millimetre."""
    fine = patient.volume.hu_zyx.astype(np.float32)
    spacing = patient.volume.grid.spacing_xyz_mm
    if kernel == "soft":
        fine = ndimage.gaussian_filter(fine, (0.0, 0.5 / spacing[1], 0.5 / spacing[0]))
    elif kernel == "sharp":
        fine = fine + 0.8 * (fine - ndimage.gaussian_filter(fine, (0.0, 0.9 / spacing[1], 0.9 / spacing[0])))
    count = fine.shape[0] // factor
    hu = fine[: count * factor].reshape(count, factor, *fine.shape[1:]).mean(axis=1)
    noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), (0.0, 0.8, 0.8))
    hu = hu + noise * np.float32(KERNELS[kernel] / noise.std() / max(base_slice_mm * factor, 1.0) ** 0.5)
    matrix = patient.volume.grid.voxel_to_lps.copy()
    matrix[:3, 3] = patient.volume.grid.to_lps((0.0, 0.0, (factor - 1) / 2))
    matrix[2, 2] *= factor
    grid = Grid(shape_zyx=hu.shape, voxel_to_lps=matrix)
    moved = patient.bodies.grid.voxel_to_lps.copy()
    moved[:3, 3] += rng.normal(0.0, 1.0, 3)
    bodies = LabelVolume(labels_zyx=patient.bodies.labels_zyx, grid=Grid(shape_zyx=patient.bodies.grid.shape_zyx, voxel_to_lps=moved))
    return Volume(hu_zyx=np.rint(np.clip(hu, -1024, 3071)).astype(np.int16), grid=grid), bodies


def readings(patient: DigitalPatient, volume: Volume, bodies: LabelVolume) -> list[Reading]:
    """Trabecular HU of the unfractured levels, by the product's own measurement."""
    inputs = [
        VertebraInput(name=level.name, label=_label(level.name), center_lps_mm=level.center_lps_mm, complete=True)
        for level in patient.truth.levels
        if level.name in LEVELS
    ]
    column = measure_column(volume, bodies, None, inputs, slice_spacing_mm=volume.grid.slice_spacing_mm)
    return [
        Reading(
            LevelHu(name=level.name, mean_hu=level.voi.mean_hu, sd_hu=level.voi.sd_hu, volume_mm3=level.voi.volume_mm3),
            patient.truth.level(level.name).density_k2hpo4_mg_cm3,
        )
        for level in column.levels
        if level.voi is not None and patient.truth.level(level.name).genant_grade == 0
    ]


def _label(name: str) -> int:
    return 19 if name == "T12" else 19 + int(name[1:])


def draws(found: list[Reading], kvp: int, slope: float, spacing_mm: float, rng: np.random.Generator) -> list[tuple[str, float, bool]]:
    """Error and coverage of each level and of the mean over what an asynchronous calibration cannot know."""
    rows = []
    for _ in range(DRAWS):
        days = int(rng.integers(0, 181))
        fit_slope, fit_intercept = slope * (1 + rng.normal(0, 0.005)), rng.normal(0, 1.0)
        drift_hu, size = rng.normal(0, 1.4) * days / 365.25, 1 + rng.normal(0, 0.02)
        entry = CalibrationEntry(
            id="e",
            manufacturer="M",
            model="X",
            device_serial="1",
            kvp=kvp,
            slope_mg_cm3_per_hu=fit_slope,
            intercept_mg_cm3=fit_intercept,
            material=Material.K2HPO4,
            residual_sd_mg_cm3=1.5,
            valid_from=FIRST,
            valid_to=FIRST + timedelta(days=400),
        )
        seen = [
            LevelHu(name=r.level.name, mean_hu=r.level.mean_hu * size + drift_hu, sd_hu=r.level.sd_hu, volume_mm3=r.level.volume_mm3)
            for r in found
        ]
        facts = AcquisitionFacts(kvp=kvp, manufacturer="M", model="X", device_serial="1", slice_spacing_mm=spacing_mm)
        phase = ContrastReading(phase=Phase.UNENHANCED, confidence=1.0)
        answer = assess_density(seen, facts, phase, (entry,), FIRST + timedelta(days=days), 70)
        truth = {r.level.name: r.truth_mg_cm3 for r in found}
        for name, density in answer.per_level.items():
            low, high = density.interval95
            rows.append(("level", density.value_mg_cm3 - truth[name], low <= truth[name] <= high))
        if answer.mean is not None:
            expected = float(np.mean([truth[name] for name in answer.levels_used]))
            low, high = answer.mean.interval95
            rows.append(("mean", answer.mean.value_mg_cm3 - expected, low <= expected <= high))
    return rows


def measure(
    kvps: tuple[int, ...] = (80, 100, 120, 140),
    kernels: tuple[str, ...] = tuple(KERNELS),
    factors: tuple[int, ...] = FACTORS,
    base_slice_mm: float = BASE_SLICE_MM,
) -> dict:
    """All figures; per kVp, kernel and thickness, per each of them, and over everything."""
    rng, table = np.random.default_rng(11), []
    pooled: dict[str, list[tuple[str, float, bool]]] = defaultdict(list)
    for kvp in kvps:
        options = PatientOptions(
            seed=kvp, tube_voltage_kvp=kvp, spacing_xyz_mm=(0.9, 0.9, base_slice_mm), field_of_view_mm=150.0, noise_sd_hu=0.0, fractures=()
        )
        patient = make_digital_patient(options)
        slope = 1.0 / patient.truth.line.slope_hu_per_mg_cm3
        for kernel in kernels:
            for factor in factors:
                volume, bodies = scanned(patient, kernel, factor, rng, base_slice_mm)
                found = readings(patient, volume, bodies)
                rows = [("read", r.level.mean_hu * slope - r.truth_mg_cm3, True) for r in found]
                rows += draws(found, kvp, slope, volume.grid.slice_spacing_mm, rng)
                thickness = round(base_slice_mm * factor, 1)
                table.append({"kvp": kvp, "kernel": kernel, "slice_mm": thickness, **_summary(rows)})
                sys.stdout.write(json.dumps(table[-1]) + "\n")
                sys.stdout.flush()
                for name in ("all", f"{kvp} kVp", kernel, f"{thickness} mm"):
                    pooled[name] += rows
    return {**{name: _summary(rows) for name, rows in pooled.items()}, "cells": table}


def _summary(rows: list[tuple[str, float, bool]]) -> dict[str, float]:
    out: dict[str, float] = {}
    for kind in ("read", "level", "mean"):
        errors = np.array([error for what, error, _ in rows if what == kind])
        if len(errors):
            out[f"{kind}_error"] = round(float(errors.mean()), 2)
            out[f"{kind}_p95_abs"] = round(float(np.percentile(np.abs(errors), 95)), 2)
        if len(errors) and kind != "read":
            out[f"{kind}_covered"] = round(float(np.mean([held for what, _, held in rows if what == kind])), 4)
    return out


if __name__ == "__main__":
    found = measure()
    for name, figures in found.items():
        if name != "cells":
            sys.stdout.write(f"{name}: {json.dumps(figures)}\n")
    if "--write" in sys.argv:
        FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
