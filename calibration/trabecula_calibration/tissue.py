"""The patient's own tissue as a cross-check of HU accuracy: air around the body, fat, muscle, blood. A flag, never a silent recalibration.

Fat and muscle are read where they are pure: even patches of 6 mm and more in slabs across L1-L4, by the median. An optional line from the
same tissues (``phantomless_line``) has its own basis and is never mixed with a phantom's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_calibration.physics import Material, physics_slope
from trabecula_morphometry.frame import BodyShape
from trabecula_morphometry.levels import level_position
from trabecula_morphometry.volume import AIR_HU, Volume

_STEP_MM = 2.0
_BACK_MM = np.arange(-160.0, 121.0, _STEP_MM)
_LEFT_MM = np.arange(-190.0, 191.0, _STEP_MM)
_MIN_PATCH = 60
"""Voxels of 2 mm (2.4 cm2) that a tissue must fill over all slabs."""

FAT_WINDOW_HU = (-160.0, -40.0)
MUSCLE_WINDOW_HU = (5.0, 115.0)

EXPECTED_120_HU = {"air": -1000.0, "fat": -102.0, "muscle": 52.0}
"""Readings of the real cases at 120 kVp (fat -85 to -116, psoas 44 to 62); ICRU-44 adipose is denser than a living layer of fat."""

FAT_SHIFT_HU = ((80.0, -24.0), (100.0, -9.0), (120.0, 0.0), (140.0, 5.0))
"""How far adipose lies from its 120 kVp value (tabulated attenuation at the effective energies of ``physics``)."""

TOLERANCE_HU = {"air": 60.0, "fat": 30.0, "muscle": 35.0}
"""Patients differ (fat by 15, muscle by 20 with its own fat and contrast); beyond this the scanner or the rescaling is suspect."""

ENHANCED_MUSCLE_HU = 8.0

BLOOD_HU, BLOOD_TOLERANCE_HU = 43.0, 30.0
"""Aorta without contrast: 35 to 65 HU, down to 25 in anaemia (clinical-facts 7); the same at 80 to 140 kVp within 3 HU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueReading:
    """Median HU of the tissues that were found; None where there was too little of one."""

    air_hu: float | None = None
    fat_hu: float | None = None
    muscle_hu: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomlessLine:
    """``density = slope * HU + intercept`` from the patient's own tissue, mg/cm3 of ``material``."""

    slope_mg_cm3_per_hu: float
    intercept_mg_cm3: float
    material: Material


def read_tissues(volume: Volume, shapes: Sequence[tuple[str, BodyShape]]) -> TissueReading:
    """Median HU of air, fat and muscle in slabs across the lumbar bodies (all bodies where no lumbar one is in view)."""
    lumbar = [shape for name, shape in shapes if level_position("L1") <= level_position(name) <= level_position("L4")]
    chosen = lumbar or [shape for _, shape in shapes]
    found: dict[str, list[NDArray[np.float64]]] = {"air": [], "fat": [], "muscle": []}
    for shape in chosen:
        hu, spread, back, left = _slab(volume, shape)
        even = spread < np.percentile(spread[hu > -200.0], 50) if (hu > -200.0).any() else np.zeros(hu.shape, bool)
        found["fat"].append(hu[_patch(even & _within(hu, FAT_WINDOW_HU))])
        # Beside and behind the body lie psoas and the muscles of the back; bowel and vessels lie in front.
        flank = (np.abs(left) > 0.6 * shape.width_mm) & (np.abs(left) < 75.0) & (back > -25.0) & (back < 75.0)
        found["muscle"].append(hu[_patch(even & flank & _within(hu, MUSCLE_WINDOW_HU))])
        # Blankets and the table lie in the air around a patient: only wide, empty places count.
        outside = _patch((hu < -930.0) & (hu > AIR_HU + 0.5) & (np.hypot(back, left) > 90.0), steps=4)
        found["air"].append(hu[outside])
    values = {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in found.items()}
    medians = {name: float(np.median(part)) if len(part) >= _MIN_PATCH else None for name, part in values.items()}
    # Air without any noise was written by the reconstruction, not measured.
    if medians["air"] is not None and float(values["air"].std()) < 0.5:
        medians["air"] = None
    return TissueReading(air_hu=medians["air"], fat_hu=medians["fat"], muscle_hu=medians["muscle"])


def _slab(volume: Volume, shape: BodyShape) -> tuple[NDArray[np.float64], ...]:
    """HU averaged over 8 mm along the column, its local spread, and the coordinates (posterior, left), all [back, left]."""
    back, left = np.meshgrid(_BACK_MM, _LEFT_MM, indexing="ij")
    frame = shape.frame
    points = frame.origin_lps_mm + back[..., None] * frame.posterior + left[..., None] * frame.left
    layers = np.stack([volume.sample(points + up * frame.superior) for up in (-4.0, -2.0, 0.0, 2.0, 4.0)]).astype(np.float64)
    hu = layers.mean(axis=0)
    held = volume.grid.contains(points)
    hu[~held] = AIR_HU
    smooth = ndimage.uniform_filter(hu, 3)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(hu * hu, 3) - smooth**2, 0.0))
    return smooth, spread, back, left


def _within(hu: NDArray[np.float64], window_hu: tuple[float, float]) -> NDArray[np.bool_]:
    return np.asarray((hu > window_hu[0]) & (hu < window_hu[1]))


def _patch(mask: NDArray[np.bool_], steps: int = 1) -> NDArray[np.bool_]:
    return np.asarray(ndimage.binary_erosion(mask, iterations=steps))


def tissue_disagreements(reading: TissueReading, kvp: float | None, *, enhanced: bool, blood_hu: float | None = None) -> tuple[str, ...]:
    """What the tissues say against the scanner's HU, in words; empty where they agree or nothing was found.

    ``blood_hu`` is the aorta's; it says nothing where there is contrast in it.
    """
    found = []
    for name, seen in (("air", reading.air_hu), ("fat", reading.fat_hu), ("muscle", reading.muscle_hu)):
        if seen is None:
            continue
        expected = expected_tissue_hu(name, kvp, enhanced=enhanced)
        if abs(seen - expected) > TOLERANCE_HU[name]:
            found.append(f"{name} {seen:.0f} HU, expected {expected:.0f} +- {TOLERANCE_HU[name]:.0f}")
    if blood_hu is not None and not enhanced and abs(blood_hu - BLOOD_HU) > BLOOD_TOLERANCE_HU:
        found.append(f"blood {blood_hu:.0f} HU, expected {BLOOD_HU:.0f} +- {BLOOD_TOLERANCE_HU:.0f}")
    return tuple(found)


def expected_tissue_hu(name: str, kvp: float | None, *, enhanced: bool) -> float:
    """Expected HU of "air", "fat" or "muscle"; 120 kVp is assumed where the voltage is unknown."""
    expected = EXPECTED_120_HU[name]
    if name == "fat" and kvp is not None:
        expected += float(np.interp(kvp, [row[0] for row in FAT_SHIFT_HU], [row[1] for row in FAT_SHIFT_HU]))
    return expected + (ENHANCED_MUSCLE_HU if name == "muscle" and enhanced else 0.0)


def phantomless_line(
    reading: TissueReading, kvp: float | None, material: Material, *, enhanced: bool, blood_hu: float | None = None
) -> PhantomlessLine | None:
    """A line from the patient's tissue: the physics slope, after the image's HU are drawn onto those expected of its tissues.

    Needs fat and muscle; blood joins only without contrast. None where they are missing or the voltage is outside 80-140.
    """
    slope = physics_slope(kvp, material) if kvp is not None else None
    if slope is None or reading.fat_hu is None or reading.muscle_hu is None:
        return None
    pairs = [
        (reading.fat_hu, expected_tissue_hu("fat", kvp, enhanced=enhanced)),
        (reading.muscle_hu, expected_tissue_hu("muscle", kvp, enhanced=enhanced)),
        (reading.air_hu if reading.air_hu is not None else -1000.0, -1000.0),
    ]
    if blood_hu is not None and not enhanced:
        pairs.append((blood_hu, BLOOD_HU))
    seen, expected = np.array(pairs).T
    gain, offset = np.polyfit(seen, expected, 1)
    return PhantomlessLine(slope_mg_cm3_per_hu=slope * float(gain), intercept_mg_cm3=slope * float(offset), material=material)
