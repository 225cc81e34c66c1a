"""Whole scans: the same plans and seed give the same volume; what the truth says is what the volume shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trabecula_models.synthesis.bone_changes import BoneChanges, Lip, apply_bone_changes
from trabecula_models.synthesis.case import write_case
from trabecula_models.synthesis.held_out import CASE_COUNT, held_out_case
from trabecula_models.synthesis.implants import Implant
from trabecula_models.synthesis.sample import gather
from trabecula_models.synthesis.scanner import KERNELS, ScanPlan, noise_tile
from trabecula_models.synthesis.scene import Scene
from trabecula_models.synthesis.tissues import Tissue
from trabecula_models.synthesis.variants import Variant
from trabecula_models.synthesis.whole_scan import PatientPlan, Region, WholeScan, scan_patient
from trabecula_morphometry.digital_patient import phantom_line_at
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import Grid, LabelVolume

PATIENT = PatientPlan(
    region=Region.ABDOMEN_PELVIS, phase="unenhanced", tube_voltage_kvp=120, density_mg_cm3=110.0, fractures=0, field_of_view_mm=150.0
)
SCAN = ScanPlan(
    slice_thickness_mm=2.0, slice_step_mm=2.0, pixel_mm=1.2, field_of_view_mm=150.0, kernel=KERNELS["soft"], noise_hu=8.0, circle=False
)


def scanned(scene: Scene, patient: PatientPlan = PATIENT, scan: ScanPlan = SCAN, seed: int = 4) -> WholeScan:
    return scan_patient(scene, patient, scan, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def plain(boxy_scene: Scene) -> WholeScan:
    return scanned(boxy_scene)


def test_same_seed_same_volume_bit_for_bit(boxy_scene: Scene, plain: WholeScan) -> None:
    again, other = scanned(boxy_scene), scanned(boxy_scene, seed=5)
    assert np.array_equal(plain.volume.hu_zyx, again.volume.hu_zyx)
    assert np.array_equal(plain.bodies.labels_zyx, again.bodies.labels_zyx)
    assert plain.levels == again.levels
    assert not np.array_equal(plain.volume.hu_zyx, other.volume.hu_zyx)


def test_true_centres_and_heights_are_those_of_the_masks(plain: WholeScan) -> None:
    assert [level.name for level in plain.levels] == ["T12", "L1", "L2", "L3", "L4", "L5"]
    z = [level.center_lps_mm[2] for level in plain.levels]
    assert z == sorted(z, reverse=True)
    for level in plain.levels[1:-1]:
        heights = (level.height_anterior_mm, level.height_middle_mm, level.height_posterior_mm)
        assert heights == pytest.approx([heights[1]] * 3, abs=2.0)
        assert 19 < heights[1] < 31  # 25 mm in the source, sized 0.84-1.18
        assert level.fracture is None


def test_density_is_what_the_core_of_the_volume_shows(plain: WholeScan) -> None:
    line = phantom_line_at(120)
    for level in plain.levels:
        assert level.trabecular_hu == pytest.approx(line.hu_of(level.density_k2hpo4_mg_cm3), abs=40)
        voxel = np.rint(plain.volume.grid.to_voxel(np.array([level.center_lps_mm]))[0]).astype(int)[::-1]
        box = plain.volume.hu_zyx[tuple(slice(v - 2, v + 3) for v in voxel)]
        assert box.mean() == pytest.approx(level.trabecular_hu, abs=60)


def test_a_drawn_fracture_lowers_the_measured_height_by_its_loss(boxy_scene: Scene) -> None:
    intact, broken = scanned(boxy_scene), scanned(boxy_scene, replace(PATIENT, fractures=3))
    lost = [level for level in broken.levels if level.fracture and level.complete]
    assert len(lost) >= 1
    scale = np.median([b.height_middle_mm for b in broken.levels if not b.fracture]) / np.median(
        [a.height_middle_mm for a in intact.levels]
    )
    for level in lost:
        before = next(one for one in intact.levels if one.name == level.name).height_anterior_mm * scale
        assert 1 - level.height_anterior_mm / before == pytest.approx(level.loss_anterior, abs=0.12)


def test_metal_is_foreign_in_the_truth_and_bright_in_the_volume(boxy_scene: Scene) -> None:
    with_screws = scanned(boxy_scene, replace(PATIENT, implant=Implant.SCREWS))
    voxels = np.argwhere(with_screws.foreign_zyx)
    assert len(voxels) > 1000
    hu = with_screws.volume.sample(with_screws.bodies.grid.to_lps(voxels[:, ::-1]))
    assert np.median(hu) > 1500
    labelled = with_screws.masks_on(with_screws.bodies.grid).bodies_with_foreign(40).labels_zyx
    assert (labelled[with_screws.foreign_zyx] == 40).all()


def test_the_true_masks_are_the_same_wherever_they_are_looked_up(boxy_scene: Scene) -> None:
    worn = scanned(boxy_scene, replace(PATIENT, wear=1.0, implant=Implant.SCREWS))
    on_own = worn.masks_on(worn.bodies.grid)
    assert np.array_equal(on_own.bodies.labels_zyx, worn.bodies.labels_zyx)
    assert np.array_equal(on_own.posterior.labels_zyx, worn.posterior.labels_zyx)
    assert np.array_equal(on_own.foreign_zyx, worn.foreign_zyx)


def test_masks_on_another_lattice_are_not_moved(plain: WholeScan) -> None:
    # The nearest voxel would move them by 0.4, 0.45 and 0.35 mm. Their flat walls lie within a voxel of the source, hence the 0.3.
    matrix = plain.bodies.grid.voxel_to_lps.copy()
    matrix[:3, 3] += [0.4, 0.45, 0.35]
    grid = Grid(shape_zyx=plain.bodies.grid.shape_zyx, voxel_to_lps=matrix)

    def centre(masks: LabelVolume, label: int) -> np.ndarray:
        return masks.grid.to_lps(np.argwhere(masks.labels_zyx == label)[:, ::-1]).mean(axis=0)

    looked_up = plain.masks_on(grid).bodies
    for level in plain.levels[1:-1]:
        label = LABEL_OF_LEVEL[level.name]
        assert centre(looked_up, label) == pytest.approx(centre(plain.bodies, label), abs=0.3)


def test_wear_adds_bone_at_the_rims(boxy_scene: Scene) -> None:
    frame = boxy_scene.frames[0]
    points = np.stack(np.meshgrid(*[np.arange(c - 30, c + 30, dtype=np.float32) for c in frame.centre], indexing="ij")).reshape(3, -1)
    packed = gather(boxy_scene, points)
    tissue, level = (packed & np.uint32(255)).astype(np.uint8), (packed >> np.uint32(24)).astype(np.uint8)
    before, hu = tissue == Tissue.BODY, np.zeros(len(packed), np.float32)
    lip = Lip(end=1, angle_rad=0.0, radius_mm=5.0)
    apply_bone_changes(BoneChanges(lips=(lip,)), frame, points, hu, tissue, level)
    added = (tissue == Tissue.BODY) & ~before
    assert added.sum() > 60
    assert (level[added] == frame.level).all()
    assert (points[0][added] > frame.centre[0]).all()
    assert (points[1][added] < frame.centre[1]).all()


@pytest.mark.parametrize(("kernel", "low", "high"), [("soft", 0.15, 0.35), ("bone", 0.4, 0.8)])
def test_noise_peaks_where_the_kernel_says(kernel: str, low: float, high: float) -> None:
    tile = noise_tile(np.random.default_rng(1), 256, 0.5, KERNELS[kernel].noise_peak_per_mm, slices=4)
    power = (np.abs(np.fft.fft2(tile)) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256, 0.5), np.fft.fftfreq(256, 0.5)))
    rings = np.digitize(frequency, np.arange(0, 1.0, 0.05))
    strongest = np.argmax([power[rings == ring].mean() for ring in range(1, 20)]) * 0.05 + 0.025
    assert low <= strongest <= high


def test_a_written_case_lies_on_one_grid_and_carries_its_truth(plain: WholeScan, tmp_path: Path) -> None:
    import json

    import nibabel as nib

    case = write_case(plain, tmp_path, seed=4)
    ct, bodies = nib.load(case.ct), nib.load(case.bodies)
    assert ct.shape == bodies.shape == plain.volume.hu_zyx.shape[::-1]
    assert np.allclose(ct.affine, bodies.affine)
    truth = json.loads(case.truth.read_text())
    third = next(level for level in truth["levels"] if level["name"] == "L3")
    voxels = np.argwhere(np.asarray(bodies.dataobj) == 22)
    ras = (bodies.affine @ np.append(voxels.mean(axis=0), 1))[:3]
    assert ras * [-1, -1, 1] == pytest.approx(third["center_lps_mm"], abs=1.0)


def test_held_out_plans_are_fixed_and_cover_what_they_claim() -> None:
    cases = [held_out_case(number) for number in range(CASE_COUNT)]
    assert cases[7] == held_out_case(7)
    assert len(cases) == 100
    for variant in (Variant.L6, Variant.T13, Variant.SACRALISED_L5):
        assert sum(case.variant is variant for case in cases) >= 15
    assert {case.region for case in cases} == set(Region)
    assert sum(case.slice_mm <= 1.5 for case in cases) >= 40
    assert sum(case.slice_mm == 5 for case in cases) >= 20
    assert sum(case.patient.implant is not Implant.NONE for case in cases) >= 5
    with pytest.raises(ValueError, match="held-out"):
        held_out_case(CASE_COUNT)


def test_another_drawing_of_the_held_out_set_has_the_same_spines_in_other_people_and_scans() -> None:
    for number in range(CASE_COUNT):
        one, other = held_out_case(number), held_out_case(number, drawing=1)
        assert (one.spine, one.variant) == (other.spine, other.variant)
        assert one.slice_mm != other.slice_mm or one.region is not other.region
        assert one.patient.density_mg_cm3 != other.patient.density_mg_cm3
