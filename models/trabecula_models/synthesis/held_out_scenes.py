"""Scenes that no network is trained on: columns of three spines kept back and of procedural ones, in the usual torsos.

Shapes of vertebrae and the way they hang together are new to the networks; torsos (skin, organs) and sacra are those of training, as no
others with a clear licence were found. A figure reached here therefore speaks for bones, less for soft tissue.
"""

from __future__ import annotations

from pathlib import Path

from trabecula_models.synthesis.column_scenes import PROCEDURAL, ColumnScene
from trabecula_models.synthesis.sources import cache_folder
from trabecula_models.synthesis.torso import FEMALE, MALE
from trabecula_models.synthesis.variants import Variant

HEALTHIVERT, VERSE010, BDMAP12 = "healthivert0007", "verse010", "bdmap12_raw"
UPPER_SPINES = ("bdmap06_refined", "bdmap31_refined")
"""Whose levels stand above those that a spine lacks: a slim person with much kyphosis, a large one with scoliosis."""
SPINES = (HEALTHIVERT, VERSE010, BDMAP12, PROCEDURAL)
SCOLIOSIS_COBB_DEG = 20.0
HELD_OUT_EDITION = 6
"""Raised when what is drawn changes, so that no older scene and no older score is taken for one of these. 2: the procedural column's
upper thoracic bodies are whole (every second one was half a body). 3: upper thoracic levels are those of real people (they were smaller
copies of the eighth, without the wide T1 and the narrow T5 that tell levels apart). 4: columns begin with C7, and the upper ribs run around
the lungs (they ran behind the shoulder blades). 5: ribs pass in front of the tips of their transverse processes, as the first ones had lain
hidden behind them. 6: the rims of a concave back wall and what a crushed body pushes into the canal belong to the true body (ADR 0035)."""
_DONORS = ("remus_vhm", "spl")


def scene_of(spine: str, variant: Variant) -> ColumnScene:
    """The scene of a spine and a variant: torsos and sacra alternate, verse010 keeps its scoliosis."""
    torsos = (FEMALE, MALE) if SPINES.index(spine) % 2 == 0 else (MALE, FEMALE)
    which = list(Variant).index(variant) % 2
    return ColumnScene(
        spine=spine,
        variant=variant,
        torso=torsos[which],
        donor=_DONORS[which],
        upper=UPPER_SPINES[which],
        least_cobb_deg=SCOLIOSIS_COBB_DEG if spine == VERSE010 else 0.0,
        for_testing=True,
    )


def held_out_folder() -> Path:
    """Cache folder of these scenes, apart from those of training."""
    return cache_folder() / f"held_out-{HELD_OUT_EDITION}"
