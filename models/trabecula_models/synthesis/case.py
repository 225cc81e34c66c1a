"""Writes one synthetic CT with everything known about it: what `trabecula synthesize` calls."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from trabecula_models.synthesis.column_scenes import ColumnScene, load_column_scene
from trabecula_models.synthesis.implants import STREAK_HU, Implant
from trabecula_models.synthesis.scanner import KERNELS, ScanPlan
from trabecula_models.synthesis.scene_set import VARIANT_SCENES, default_scene_folder
from trabecula_models.synthesis.whole_scan import PatientPlan, Region, WholeScan, scan_patient
from trabecula_morphometry.levels import FOREIGN_LABEL
from trabecula_morphometry.volume import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticCase:
    """Paths of a written case."""

    ct: Path
    bodies: Path
    posterior: Path
    truth: Path


def draw_plans(rng: np.random.Generator) -> tuple[PatientPlan, ScanPlan]:
    """Draw a patient and a protocol from the whole range that the generator knows."""
    region = list(Region)[int(rng.choice(5, p=[0.15, 0.15, 0.15, 0.4, 0.15]))]
    small = region is Region.LUMBAR_SMALL_FIELD
    field_mm = float(rng.uniform(141, 200) if small else rng.uniform(300, 420))
    step_mm = float(rng.choice([0.7, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 5.0]))
    patient = PatientPlan(
        region=region,
        phase=str(rng.choice(["unenhanced", "portal_venous", "arterial"])),
        tube_voltage_kvp=int(rng.choice([80, 100, 120, 140], p=[0.07, 0.28, 0.57, 0.08])),
        density_mg_cm3=float(rng.uniform(20, 250)),
        fractures=int(rng.poisson(0.7)),
        field_of_view_mm=field_mm,
        axial_deg=float(rng.choice([6.0, 25.0], p=[0.92, 0.08])),
        breathing_steps=int(rng.random() < 0.15),
        wear=float(rng.uniform(0, 1)) if rng.random() < 0.5 else 0.0,
        implant=list(Implant)[int(rng.choice(4, p=[0.85, 0.06, 0.04, 0.05]))],
        streak_hu=float(rng.uniform(*STREAK_HU)),
    )
    scan = ScanPlan(
        slice_thickness_mm=step_mm * float(rng.choice([1.0, 1.25])),
        slice_step_mm=step_mm,
        pixel_mm=float(rng.uniform(0.35, 0.5) if small else rng.uniform(0.65, 0.95)),
        field_of_view_mm=field_mm,
        kernel=KERNELS[str(rng.choice(list(KERNELS), p=[0.45, 0.4, 0.15]))],
        noise_hu=float(np.exp(rng.uniform(np.log(4), np.log(30)))),
        circle=bool(rng.random() < 0.6),
    )
    return patient, scan


def draw_case(seed: int, scene_folder: Path) -> tuple[ColumnScene, WholeScan]:
    """Draw one whole scan: the seed chooses the scene and everything else; a scene that is not in the folder is built first."""
    rng = np.random.default_rng(seed)
    plan = VARIANT_SCENES[int(rng.integers(len(VARIANT_SCENES)))]
    patient, scan = draw_plans(rng)
    return plan, scan_patient(load_column_scene(plan, scene_folder), patient, scan, rng)


def _save(path: Path, array_zyx: NDArray[np.generic], grid: Grid) -> None:
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])  # NIfTI's x and y run to the right and forwards
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array_zyx.transpose(2, 1, 0)), to_ras @ grid.voxel_to_lps), path)


def write_case(scan: WholeScan, folder: Path, **about: object) -> SyntheticCase:
    """Write the CT, its masks on the CT's grid (VerSe labels, sacrum 26, foreign material 40) and `truth.json` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    case = SyntheticCase(
        ct=folder / "ct.nii.gz", bodies=folder / "bodies.nii.gz", posterior=folder / "posterior.nii.gz", truth=folder / "truth.json"
    )
    grid = scan.volume.grid
    _save(case.ct, scan.volume.hu_zyx, grid)
    masks = scan.masks_on(grid)
    _save(case.bodies, masks.bodies_with_foreign(FOREIGN_LABEL).labels_zyx, grid)
    _save(case.posterior, masks.posterior.labels_zyx, grid)
    truth = {
        **about,
        "scene": scan.scene,
        "patient": {key: value.value if isinstance(value, Region | Implant) else value for key, value in asdict(scan.patient).items()},
        "scan": asdict(scan.scan),
        "levels": [asdict(level) for level in scan.levels],
    }
    case.truth.write_text(json.dumps(truth, indent=1) + "\n")
    return case


def write_synthetic_case(folder: Path, *, seed: int, scene_folder: Path | None = None) -> SyntheticCase:
    """Draw and write the case of a seed; building its scene needs the source material ($TRABECULA_SHARED)."""
    plan, scan = draw_case(seed, scene_folder or default_scene_folder())
    return write_case(scan, folder, seed=seed, variant=plan.variant.value)
