"""The held-out test set: 100 whole abdominal and chest CTs, each drawn from its number alone.

Case k is the same volume on every machine with the same source material. Scenes: `held_out_scenes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trabecula_models.synthesis.column_scenes import PROCEDURAL, load_column_scene
from trabecula_models.synthesis.held_out_scenes import BDMAP12, HEALTHIVERT, VERSE010, held_out_folder, scene_of
from trabecula_models.synthesis.implants import STREAK_HU, Implant
from trabecula_models.synthesis.scanner import KERNELS, ScanPlan
from trabecula_models.synthesis.variants import Variant
from trabecula_models.synthesis.whole_scan import PatientPlan, Region, WholeScan, scan_patient

CASE_COUNT = 100
SEED = 20261121
PLAIN_CASES = 20
"""The first cases, one of each scene, are without wear, metal, breathing steps and oblique lie."""

# One row in 20 cases; five rows of spines and slices make 100. A third of the cases show a variant.
_SCENES: tuple[tuple[str, Variant], ...] = (
    (BDMAP12, Variant.USUAL),
    (HEALTHIVERT, Variant.L6),
    (BDMAP12, Variant.T13),
    (VERSE010, Variant.SACRALISED_L5),
    (HEALTHIVERT, Variant.USUAL),
    (VERSE010, Variant.USUAL),
    (PROCEDURAL, Variant.USUAL),
    (BDMAP12, Variant.SACRALISED_L5),
    (PROCEDURAL, Variant.L6),
    (HEALTHIVERT, Variant.T13),
    (BDMAP12, Variant.USUAL),
    (VERSE010, Variant.USUAL),
    (HEALTHIVERT, Variant.USUAL),
    (PROCEDURAL, Variant.SACRALISED_L5),
    (PROCEDURAL, Variant.USUAL),
    (BDMAP12, Variant.L6),
    (VERSE010, Variant.FOUR_LUMBAR),
    (BDMAP12, Variant.NO_RIB_12),
    (HEALTHIVERT, Variant.SHORT_RIB),
    (PROCEDURAL, Variant.T13),
)
_REGIONS: tuple[Region, ...] = (
    Region.ABDOMEN_PELVIS,
    Region.ABDOMEN_PELVIS,
    Region.CHEST_ABDOMEN_PELVIS,
    Region.ABDOMEN,
    Region.ABDOMEN_PELVIS,
    Region.CHEST,
    Region.LUMBAR_SMALL_FIELD,
)
_SLICES_MM = (1.0, 5.0, 1.5, 3.0, 1.25, 5.0, 0.7, 2.5, 1.0, 5.0, 1.5)
_PHASES = ("unenhanced", "portal_venous", "arterial")
_FRACTURE_SHARE = 0.35
_WORN_EVERY, _IMPLANT_EVERY = 5, 9
"""From case 20 on: every fifth case is degenerated, every ninth carries metal or cement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutCase:
    """One case with the groups that its scores are counted in."""

    number: int
    spine: str
    variant: Variant
    region: Region
    slice_mm: float
    kernel: str
    phase: str
    patient: PatientPlan
    scan: ScanPlan


def held_out_case(number: int, drawing: int = 0) -> HeldOutCase:
    """The plan of case `number` (0-99) of a drawing: 0 is the set itself, others show its spines in other people, regions and slices."""
    if not 0 <= number < CASE_COUNT:
        raise ValueError(f"the held-out set has cases 0 to {CASE_COUNT - 1}, not {number}")
    rng = np.random.default_rng((SEED + drawing, number))
    spine, variant = _SCENES[number % len(_SCENES)]
    region = _REGIONS[(number + drawing) % len(_REGIONS)]
    step = _SLICES_MM[(number + drawing) % len(_SLICES_MM)]
    kernel = str(rng.choice(["soft", "standard", "bone"], p=[0.45, 0.4, 0.15]))
    phase = _PHASES[int(rng.integers(3))]
    small = region is Region.LUMBAR_SMALL_FIELD
    field = float(rng.uniform(141, 200) if small else rng.uniform(300, 420))
    voltage = int(rng.choice([80, 100, 120, 140], p=[0.07, 0.28, 0.57, 0.08]))
    patient = PatientPlan(
        region=region,
        phase=phase,
        tube_voltage_kvp=voltage,
        density_mg_cm3=float(rng.choice([rng.uniform(30, 80), rng.uniform(80, 130), rng.uniform(130, 220)])),
        fractures=int(rng.integers(1, 4)) if rng.random() < _FRACTURE_SHARE else 0,
        field_of_view_mm=field,
        axial_deg=25.0 if number >= PLAIN_CASES and number % 13 == 0 else 6.0,
        breathing_steps=int(number >= PLAIN_CASES and number % 6 == 0),
        wear=float(rng.uniform(0.4, 1.0)) if number >= PLAIN_CASES and number % _WORN_EVERY == 0 else 0.0,
        implant=list(Implant)[1 + number // _IMPLANT_EVERY % 3] if number >= PLAIN_CASES and number % _IMPLANT_EVERY == 0 else Implant.NONE,
        streak_hu=float(rng.uniform(*STREAK_HU)),
    )
    scan = ScanPlan(
        slice_thickness_mm=step * float(rng.choice([1.0, 1.25])),
        slice_step_mm=step,
        pixel_mm=field / 512 if step < 5 and not small else float(rng.uniform(0.6, 0.9)),
        field_of_view_mm=field,
        kernel=KERNELS[kernel],
        noise_hu=float(np.exp(rng.uniform(np.log(5), np.log(28)))),
        circle=bool(rng.random() < 0.6),
    )
    return HeldOutCase(
        number=number, spine=spine, variant=variant, region=region, slice_mm=step, kernel=kernel, phase=phase, patient=patient, scan=scan
    )


def draw_held_out(number: int, drawing: int = 0) -> WholeScan:
    """Scan case `number` of a drawing; its scene is built on first use (20 seconds and more)."""
    case = held_out_case(number, drawing)
    scene = load_column_scene(scene_of(case.spine, case.variant), held_out_folder())
    return scan_patient(scene, case.patient, case.scan, np.random.default_rng((SEED + drawing, number, 1)))
