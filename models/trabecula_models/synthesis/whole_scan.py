"""A whole CT of one synthetic patient with everything that is known about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.synthesis.bone_changes import draw_bone_changes
from trabecula_models.synthesis.clutter import add_clutter, add_paraspinal_fat, add_texture
from trabecula_models.synthesis.implants import Implant, add_streaks, draw_implants
from trabecula_models.synthesis.intensity import Style, Tables, draw_tables
from trabecula_models.synthesis.pose import draw_pose
from trabecula_models.synthesis.posed_patient import PosedPatient, TrueMasks, body_labels, posterior_labels
from trabecula_models.synthesis.scanner import ScanPlan, reconstruct
from trabecula_models.synthesis.scene import CENTRE_STEP_MM, DEPTH_STEP_MM, Scene
from trabecula_models.synthesis.tissues import Tissue
from trabecula_models.synthesis.true_levels import PaintedBox, TrueLevel, true_levels
from trabecula_models.synthesis.warp import Collapse, draw_collapse
from trabecula_morphometry.digital_patient import phantom_line_at
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

DEPTH_OF_BOX_MM = 300
CORE_DEPTH_MM = 3.0
"""Trabecular truth is read this deep inside the bone: no cortex, no partial volume of it."""


class Region(Enum):
    """What of the trunk a scan covers."""

    CHEST = "chest"
    CHEST_ABDOMEN_PELVIS = "chest_abdomen_pelvis"
    ABDOMEN = "abdomen"
    ABDOMEN_PELVIS = "abdomen_pelvis"
    LUMBAR_SMALL_FIELD = "lumbar_small_field"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientPlan:
    """One patient on the table; density is that of L1-L3 before each level's own difference, K2HPO4."""

    region: Region
    phase: str
    tube_voltage_kvp: int
    density_mg_cm3: float
    fractures: int
    field_of_view_mm: float
    axial_deg: float = 6.0
    breathing_steps: int = 0
    wear: float = 0.0
    """Severity of degenerative change, 0 to 1."""
    implant: Implant = Implant.NONE
    streak_hu: float = 250.0
    """Height of metal's streaks."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WholeScan:
    """The series, its masks on a 1 mm grid of the scanned box, and the truth, cranial to caudal.

    `bodies` and `posterior` hold VerSe labels (sacrum 26) of the bone as it is under implants; `foreign_zyx` on the same grid says
    where metal or cement is. `masks_on` gives them on any other grid.
    """

    volume: Volume
    bodies: LabelVolume
    posterior: LabelVolume
    foreign_zyx: NDArray[np.bool_]
    levels: tuple[TrueLevel, ...]
    scene: str
    patient: PatientPlan
    scan: ScanPlan
    person: PosedPatient

    def masks_on(self, grid: Grid) -> TrueMasks:
        """The true masks on an LPS-parallel grid, inside the scanned box and empty beyond it."""
        labelled = (self.bodies.labels_zyx > 0) | (self.posterior.labels_zyx > 0) | self.foreign_zyx
        box = ndimage.find_objects(labelled.astype(np.uint8), max_label=1)[0]
        if box is None:
            return self.person.masks_on(grid, np.full(3, np.inf), np.full(3, -np.inf))
        own = self.bodies.grid
        first, last = (np.array([getattr(part, end) for part in box[::-1]]) for end in ("start", "stop"))
        low, high = own.bounds_lps_mm()
        return self.person.masks_on(grid, np.maximum(own.to_lps(first - 2), low), np.minimum(own.to_lps(last + 1), high))


def _extent_mm(scene: Scene, region: Region, rng: np.random.Generator) -> tuple[float, float]:
    """Lowest and highest scene z of a scan."""
    frames = sorted(scene.frames, key=lambda frame: -float(frame.centre[0]))
    z = np.array([float(frame.centre[0]) for frame in frames])
    first_lumbar = next(i for i, frame in enumerate(frames) if 20 <= frame.level <= 25)
    bottom, top = 8.0, float(scene.packed_zyx.shape[0] - 8)
    last = z[-1]
    if region is Region.CHEST:
        return float(z[first_lumbar + int(rng.integers(0, 3))] + rng.uniform(-15, 15)), top
    if region is Region.CHEST_ABDOMEN_PELVIS:
        return max(bottom, float(last - rng.uniform(90, 150))), top
    upper = float(z[max(first_lumbar - int(rng.integers(2, 5)), 0)] + rng.uniform(-15, 15))
    if region is Region.ABDOMEN:
        return float(z[-int(rng.integers(1, 4))] + rng.uniform(-15, 15)), upper
    if region is Region.LUMBAR_SMALL_FIELD:
        return float(last - rng.uniform(5, 60)), float(z[first_lumbar - int(rng.integers(0, 3))] + rng.uniform(-15, 15))
    return max(bottom, float(last - rng.uniform(80, 160))), upper


def _draw_collapses(scene: Scene, count: int, rng: np.random.Generator) -> dict[int, Collapse]:
    """Fractures cluster at T7-T8 and around T12-L1 (VerSe'19 grades)."""
    weights = np.array([{15: 1.0, 16: 0.6, 18: 1.0, 19: 1.6, 20: 1.8, 21: 1.2, 22: 1.0, 23: 0.8}.get(f.level, 0.25) for f in scene.frames])
    chosen = rng.choice(len(weights), size=min(count, len(weights)), replace=False, p=weights / weights.sum())
    return {int(index): draw_collapse(rng) for index in chosen}


def _tables(patient: PatientPlan, rng: np.random.Generator) -> tuple[Tables, NDArray[np.float64]]:
    """Intensities with the planned density in the bodies; returns the density of each VerSe index too."""
    tables = draw_tables(rng, Style.PRIOR, phase=patient.phase)
    line = phantom_line_at(patient.tube_voltage_kvp)
    count = tables.interior_hu.shape[1]
    rising = np.interp(np.arange(count), [8, 22, 28], [1.35, 1.0, 1.05])  # densest in the upper thoracic spine
    density = np.maximum(patient.density_mg_cm3 * rising + rng.normal(0, 6, count), 5.0)
    interior, rim = tables.interior_hu.copy(), tables.rim_hu.copy()
    interior[Tissue.BODY] = [line.hu_of(float(one)) for one in density]
    rim[Tissue.BODY] = np.maximum(rim[Tissue.BODY], interior[Tissue.BODY] + 120)
    return replace(tables, interior_hu=interior, rim_hu=rim), density


def _render(person: PosedPatient, size_zyx: tuple[int, int, int], tables: Tables, rng: np.random.Generator) -> PaintedBox:
    """Paint the scanned box slab by slab; texture and clutter are added over the whole, implants last."""
    axes = [np.asarray(np.arange(n) - (n - 1) / 2, np.float64) for n in size_zyx]
    hu, centre_mm, hardware = (np.empty(size_zyx, np.float32) for _ in range(3))
    tissue, level = np.empty(size_zyx, np.uint8), np.empty(size_zyx, np.uint8)
    core, foreign = np.empty(size_zyx, bool), np.empty(size_zyx, bool)
    for part, slab in person.slabs(axes[0], axes[1], axes[2], tables):
        hu[part], tissue[part], level[part] = slab.hu, slab.tissue, slab.level
        foreign[part], hardware[part] = slab.foreign, slab.hardware
        deep = ((slab.packed >> np.uint32(8)) & np.uint32(255)) * np.float32(DEPTH_STEP_MM) >= CORE_DEPTH_MM
        centre_mm[part] = ((slab.packed >> np.uint32(16)) & np.uint32(255)) * np.float32(CENTRE_STEP_MM)
        core[part] = deep & (slab.tissue == Tissue.BODY)
    add_paraspinal_fat(hu, tissue, centre_mm, tables, rng)
    add_texture(hu, tissue, tables, rng)
    add_clutter(hu, tissue, 1.0, rng, blobs=40.0)
    hu[foreign] = hardware[foreign]
    core &= ~foreign
    return PaintedBox(hu=hu, tissue=tissue, level=level, core=core, foreign=foreign)


def scan_patient(scene: Scene, patient: PatientPlan, scan: ScanPlan, rng: np.random.Generator) -> WholeScan:
    """Scan a scene's patient; the same plans and generator state give the same volume, bit for bit.

    LPS is that of the patient, its origin in the middle of the scanned box.
    """
    low, high = _extent_mm(scene, patient.region, rng)
    near = min(scene.frames, key=lambda frame: abs(float(frame.centre[0]) - (low + high) / 2)).centre
    small = patient.region is Region.LUMBAR_SMALL_FIELD
    focus = np.array([(low + high) / 2, near[1] + 8 if small else scene.packed_zyx.shape[1] / 2 - 10, near[2]], float)
    collapses = _draw_collapses(scene, patient.fractures, rng)
    steps = tuple((float(rng.uniform(-0.4, 0.4) * (high - low)), *rng.uniform([-4, -8], [4, 8])) for _ in range(patient.breathing_steps))
    pose = draw_pose(rng, focus, collapses, axial_deg=patient.axial_deg, steps=steps)
    scale = 1 / float(np.linalg.norm(pose.matrix[:, 0]))
    field = patient.field_of_view_mm
    size = (int((high - low) * scale), int(min(DEPTH_OF_BOX_MM, field)), int(min(scene.packed_zyx.shape[2] * scale + 20, field)))
    tables, density = _tables(patient, rng)
    changes = draw_bone_changes(rng, len(scene.frames), patient.wear)
    implants = draw_implants(rng, scene.frames, patient.implant)
    person = PosedPatient(scene=scene, pose=pose, changes=changes, implants=implants)
    painted = _render(person, size, tables, rng)
    matrix = np.eye(4)
    matrix[:3, 3] = [-(n - 1) / 2 for n in size[::-1]]
    grid = Grid(shape_zyx=size, voxel_to_lps=matrix)
    own = np.where(painted.tissue == Tissue.BODY, painted.level, 0).astype(np.uint8)
    levels = true_levels(scene, pose, grid, own, painted, density, collapses, field)
    if implants:
        add_streaks(painted.hu, patient.streak_hu, rng)
    hu, first_mm = reconstruct(painted.hu, scan, rng)
    count = hu.shape[1]
    series = np.diag([scan.pixel_mm, scan.pixel_mm, scan.slice_step_mm, 1.0])
    series[:3, 3] = [-(count - 1) / 2 * scan.pixel_mm, -(count - 1) / 2 * scan.pixel_mm, first_mm]
    return WholeScan(
        volume=Volume(hu_zyx=hu, grid=Grid(shape_zyx=hu.shape, voxel_to_lps=series)),
        bodies=LabelVolume(labels_zyx=body_labels(painted.tissue, painted.level), grid=grid),
        posterior=LabelVolume(labels_zyx=posterior_labels(painted.tissue, painted.level), grid=grid),
        foreign_zyx=painted.foreign,
        levels=levels,
        scene=scene.name,
        patient=patient,
        scan=scan,
        person=person,
    )
