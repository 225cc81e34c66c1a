"""Names of what a synthetic patient is made of, and how the label sources map to them.

A scene stores one `Tissue` per voxel. `SEGMENTATION_CLASS` folds the tissues to the seven classes
that both networks learn.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Tissue(IntEnum):
    """One intensity group of a scene (value = stored code)."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    LUNG = 4
    HEART_WALL = 5
    HEART_BLOOD = 6
    AORTA = 7
    VEIN = 8
    LIVER = 9
    SPLEEN = 10
    KIDNEY_CORTEX = 11
    KIDNEY_MEDULLA = 12
    BOWEL_WALL = 13
    STOMACH_CONTENT = 14
    COLON_CONTENT = 15
    PANCREAS = 16
    GLAND = 17
    FLUID = 18
    AIRWAY = 19
    CANAL = 20
    CARTILAGE = 21
    OTHER_BONE = 22
    RIB = 23
    PELVIS = 24
    SACRUM = 25
    DISC = 26
    BODY = 27
    POSTERIOR = 28
    TABLE = 29
    OLD_SPINE = 30
    OLD_PELVIS = 31


CLASS_NAMES: tuple[str, ...] = ("background", "body", "posterior", "disc", "sacrum", "rib", "pelvis")
"""The seven classes, in the order of the network's output channels."""

BONE_TISSUES: tuple[Tissue, ...] = (
    Tissue.OTHER_BONE,
    Tissue.RIB,
    Tissue.PELVIS,
    Tissue.SACRUM,
    Tissue.BODY,
    Tissue.POSTERIOR,
)


def _segmentation_class() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[[Tissue.BODY, Tissue.POSTERIOR, Tissue.DISC, Tissue.SACRUM, Tissue.RIB, Tissue.PELVIS]] = range(1, 7)
    return table


SEGMENTATION_CLASS: NDArray[np.uint8] = _segmentation_class()
"""Look-up table from a tissue code to the class index of `CLASS_NAMES`."""


def icrp_table() -> NDArray[np.uint8]:
    """Look-up table from an ICRP 110 organ id to a `Tissue` (ids: torso/icrp110_labels.csv)."""
    table = np.full(256, Tissue.GLAND, np.uint8)
    groups: dict[Tissue, tuple[int, ...]] = {
        Tissue.AIR: (0,),
        Tissue.SKIN: (122, 123, 124, 125),
        Tissue.FAT: (62, 64, 116, 117, 118, 119),
        Tissue.MUSCLE: (106, 107, 108, 109, 133),
        Tissue.LUNG: (97, 99),
        Tissue.HEART_WALL: (87,),
        Tissue.HEART_BLOOD: (88,),
        Tissue.VEIN: (9, 10, 11, 12, 96, 98),
        Tissue.LIVER: (95,),
        Tissue.SPLEEN: (127,),
        Tissue.KIDNEY_CORTEX: (89, 92),
        Tissue.KIDNEY_MEDULLA: (90, 91, 93, 94),
        Tissue.BOWEL_WALL: (72, 74, 76, 78, 80, 82, 84, 86),
        Tissue.STOMACH_CONTENT: (73, 75),
        Tissue.COLON_CONTENT: (77, 79, 81, 83, 85),
        Tissue.PANCREAS: (113,),
        Tissue.FLUID: (71, 138),
        Tissue.AIRWAY: (7, 8, 140),
        Tissue.CARTILAGE: (57, 58, 59, 60),
        Tissue.OTHER_BONE: (*range(13, 41), 45, 46, 55, 56, 128),
        Tissue.RIB: (43, 44),
        Tissue.OLD_PELVIS: (41, 42, 53, 54),
        Tissue.OLD_SPINE: (*range(47, 53), 126),
    }
    for tissue, ids in groups.items():
        table[list(ids)] = tissue
    return table


def spl_table() -> NDArray[np.uint8]:
    """Look-up table from an SPL abdominal atlas id to a `Tissue` (ids: torso/spl_abdominal_labels.csv)."""
    table = np.full(256, Tissue.VEIN, np.uint8)
    groups: dict[Tissue, tuple[int, ...]] = {
        Tissue.FAT: (0, 95),
        Tissue.LIVER: (1,),
        Tissue.SPLEEN: (2,),
        Tissue.PANCREAS: (3,),
        Tissue.AORTA: (4, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 24, 25, 26, 27, 28, 29, 39),
        Tissue.COLON_CONTENT: (6,),
        Tissue.FLUID: (7, 51, 52),
        Tissue.STOMACH_CONTENT: (9,),
        Tissue.MUSCLE: (21, *range(43, 51), 53, *range(59, 68)),
        Tissue.KIDNEY_CORTEX: (22, 23),
        Tissue.KIDNEY_MEDULLA: (54, 55),
        Tissue.GLAND: (36, 37),
        Tissue.OLD_PELVIS: (68, 87),
        Tissue.OLD_SPINE: (*range(69, 87),),
        Tissue.RIB: (*range(88, 95),),
    }
    for tissue, ids in groups.items():
        table[list(ids)] = tissue
    return table
