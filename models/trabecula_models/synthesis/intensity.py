"""Draws Hounsfield units for tissues.

Ranges: clinical-facts section 7 (ICRU-44 compositions, enhanced organs at 120 kVp) widened for other voltages.
Three styles: `PRIOR` (plausible), `MIXED` (plausible bone in arbitrary soft tissue), `WIDE` (everything arbitrary, as in
SynthSeg, Billot 2023): the trial found that rich priors prevent false bodies and arbitrary values teach shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from trabecula_models.synthesis.scene import DEPTH_STEP_MM
from trabecula_models.synthesis.tissues import BONE_TISSUES, Tissue

TISSUES, LEVELS, DEPTHS = 32, 32, 256


class Style(Enum):
    """How far intensities keep to reality."""

    PRIOR = "prior"
    MIXED = "mixed"
    WIDE = "wide"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Look-up tables of one patient: interior and rim HU by (tissue, level), rim weight by (tissue, depth), texture SD."""

    interior_hu: NDArray[np.float32]
    rim_hu: NDArray[np.float32]
    rim_weight: NDArray[np.float32]
    texture_hu: NDArray[np.float32]


PHASE_WORDS = {"unenhanced": "none", "arterial": "arterial", "portal_venous": "portal"}


def _soft_tissue(rng: np.random.Generator, phase: str) -> NDArray[np.float64]:
    u = rng.uniform
    hu = np.zeros(TISSUES)
    blood = u(28, 62)
    aorta, vein, heart, liver, spleen, kidney = blood, blood, blood, u(30, 72), u(35, 60), u(22, 48)
    if phase == "arterial":
        aorta, heart, vein = u(180, 480), u(120, 480), u(40, 130)
        liver, spleen, kidney = u(45, 85), u(80, 150), u(110, 230)
    elif phase == "portal":
        aorta, vein = u(105, 210), u(100, 200)
        heart, liver, spleen, kidney = aorta + u(-20, 20), u(80, 135), u(95, 145), u(130, 230)
    values = {
        Tissue.AIR: -1000,
        Tissue.SKIN: u(-20, 60),
        Tissue.FAT: u(-125, -75),
        Tissue.MUSCLE: u(25, 75) if rng.random() < 0.75 else u(-15, 40),
        Tissue.LUNG: u(-930, -650),
        Tissue.HEART_WALL: u(35, 60) if phase == "none" else u(60, 140),
        Tissue.HEART_BLOOD: heart,
        Tissue.AORTA: aorta,
        Tissue.VEIN: vein,
        Tissue.LIVER: liver if rng.random() < 0.9 else u(-10, 35),
        Tissue.SPLEEN: spleen,
        Tissue.KIDNEY_CORTEX: kidney,
        Tissue.KIDNEY_MEDULLA: kidney * u(0.5, 1.0) if rng.random() < 0.8 else u(200, 900),
        Tissue.BOWEL_WALL: u(20, 60) if phase == "none" else u(40, 120),
        Tissue.PANCREAS: u(20, 50) if phase == "none" else u(60, 130),
        Tissue.GLAND: u(10, 80),
        Tissue.FLUID: u(-5, 25) if rng.random() < 0.85 else u(100, 600),
        Tissue.AIRWAY: u(-1000, -850),
        Tissue.CANAL: u(-5, 50),
        Tissue.CARTILAGE: u(60, 150) if rng.random() < 0.7 else u(100, 260),
        Tissue.TABLE: u(-300, 250),
        Tissue.DISC: u(45, 125) if rng.random() < 0.9 else u(10, 180),
    }
    for content in (Tissue.STOMACH_CONTENT, Tissue.COLON_CONTENT):
        kind = rng.choice(4, p=[0.25, 0.35, 0.15, 0.25])
        values[content] = (u(-1000, -800), u(-5, 50), u(-120, 20), u(120, 700))[kind]
    for tissue, value in values.items():
        hu[tissue] = value
    return hu


def _trabecular(rng: np.random.Generator) -> float:
    """Interior HU of a body; a third of the patients between 20 and 120 HU (osteopenic to osteoporotic)."""
    low, high = [(15, 120), (80, 185), (150, 290), (-20, 420)][int(rng.choice(4, p=[0.4, 0.32, 0.18, 0.1]))]
    return float(rng.uniform(low, high))


def draw_tables(rng: np.random.Generator, style: Style, phase: str | None = None) -> Tables:
    """Draw the look-up tables of one patient; `phase` fixes the contrast phase (unenhanced, arterial, portal_venous)."""
    u = rng.uniform
    drawn = str(rng.choice(["none", "arterial", "portal"], p=[0.4, 0.2, 0.4]))
    soft = _soft_tissue(rng, PHASE_WORDS[phase] if phase else drawn)
    if style is not Style.PRIOR:
        arbitrary = np.where(rng.random(TISSUES) < 0.85, u(-160, 420, TISSUES), u(-900, 1000, TISSUES))
        keep = [Tissue.AIR, *([Tissue.LUNG, Tissue.AIRWAY, Tissue.FAT] if rng.random() < 0.5 else [])]
        if style is Style.MIXED:
            keep += [Tissue.DISC, Tissue.CANAL]
        arbitrary[keep] = soft[keep]
        soft = arbitrary
    interior = np.repeat(soft[:, None], LEVELS, 1)
    rim = interior.copy()
    weight = np.zeros((TISSUES, DEPTHS))
    texture = np.full(TISSUES, 1.0) * u(0, 14, TISSUES)
    texture[Tissue.AIR] = 0
    texture[Tissue.LUNG] = u(10, 80)
    texture[[Tissue.STOMACH_CONTENT, Tissue.COLON_CONTENT]] = u(0, 120, 2)
    trab, cort = _trabecular(rng), u(300, 1100)
    offsets = rng.normal(0, 14, LEVELS) + np.where(rng.random(LEVELS) < 0.1, u(30, 200, LEVELS), 0)
    depth_mm = np.arange(DEPTHS) * DEPTH_STEP_MM
    for tissue in BONE_TISSUES:
        if style is Style.WIDE:
            inner = np.full(LEVELS, u(-150, 500)) + offsets
            outer = u(-150, 900) if rng.random() < 0.5 else float(inner[0])
            thickness = u(0.4, 2.0)
        elif tissue is Tissue.BODY:
            inner, outer, thickness = trab + offsets, max(cort * u(0.5, 0.95), trab + 80), u(0.35, 1.3)
        elif tissue is Tissue.POSTERIOR:
            inner, outer, thickness = trab + u(0, 160) + offsets, cort * u(0.8, 1.2), u(0.6, 2.0)
        elif tissue is Tissue.SACRUM:
            inner, outer, thickness = np.full(LEVELS, trab + u(-110, 40)), cort * u(0.5, 1.0), u(0.5, 1.5)
        else:
            inner, outer, thickness = np.full(LEVELS, trab * 0.6 + u(-40, 160)), cort * u(0.7, 1.1), u(0.6, 1.8)
        interior[tissue], rim[tissue] = inner, outer
        weight[tissue, 1:] = np.exp(-((depth_mm[1:] / thickness) ** 1.5))
        texture[tissue] = u(4, 45)
    return Tables(
        interior_hu=interior.astype(np.float32),
        rim_hu=rim.astype(np.float32),
        rim_weight=weight.astype(np.float32),
        texture_hu=texture.astype(np.float32),
    )


def paint(packed_zyx: NDArray[np.uint32], tables: Tables) -> NDArray[np.float32]:
    """Return noise-free HU of packed scene voxels."""
    tissue = (packed_zyx & np.uint32(31)).astype(np.int32)
    level = (packed_zyx >> np.uint32(24)).astype(np.int32)
    depth = ((packed_zyx >> np.uint32(8)) & np.uint32(255)).astype(np.int32)
    where = tissue * LEVELS + level
    inner = tables.interior_hu.ravel().take(where)
    inner += (tables.rim_hu.ravel().take(where) - inner) * tables.rim_weight.ravel().take(tissue * DEPTHS + depth)
    return np.asarray(inner)
