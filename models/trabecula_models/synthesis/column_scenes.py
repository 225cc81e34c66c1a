"""Scenes whose column is put together: any spine of the list, any variant, a real curve, ribs that hang on their vertebrae.

Sources are those of `scene_set.LICENCES`; the set kept back for testing has its own list (`held_out_scenes`).
"""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from trabecula_models.synthesis.assembly import assemble
from trabecula_models.synthesis.body_split import split_vertebrae
from trabecula_models.synthesis.ribs import RibPlan
from trabecula_models.synthesis.scene import Scene
from trabecula_models.synthesis.scene_build import build_scene
from trabecula_models.synthesis.sources import FORBIDDEN_SPINES
from trabecula_models.synthesis.spine_curves import draw_curve
from trabecula_models.synthesis.spines import Spine, add_sacrum_and_pelvis, load_spine
from trabecula_models.synthesis.torso import Torso, load_torso
from trabecula_models.synthesis.variants import Variant, join_last_to_sacrum, rib_changes, usual_pieces, vary

PROCEDURAL = "procedural"
CUT_IN_SOURCE: dict[str, tuple[int, ...]] = {"healthivert0007": (16, 17), "bdmap12_raw": (15,)}
"""Levels that the source's field of view cuts."""

NARROW_DISC_MM = 6.0
"""How much closer the sacrum stands to a sacralised L5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnScene:
    """One scene to build. Its name alone seeds what is drawn (curve, ribs), so the same scene is the same everywhere.

    `upper` gives the levels above those of `spine`, `donor` the sacrum and the hip bones.
    """

    spine: str
    variant: Variant
    torso: str
    donor: str
    upper: str
    least_cobb_deg: float = 0.0
    for_testing: bool = False

    @property
    def name(self) -> str:
        """File name of the scene."""
        return f"{self.spine}-{self.variant.value}-{self.torso}"


@lru_cache(maxsize=1)
def procedural_spine() -> Spine:
    """Bodies, arches and sacrum of a digital patient as a spine (T9-L5); its own CT is not used.

    A vertebra at the upper end of the patient's field is left out: it is cut, and the levels above would be made of it.
    """
    from trabecula_morphometry.digital_patient import PatientOptions, make_digital_patient

    options = PatientOptions(seed=77, sex="M", fractures=(), spacing_xyz_mm=(1.0, 1.0, 1.0), field_of_view_mm=200.0, noise_sd_hu=0.0)
    patient = make_digital_patient(options)
    body = patient.bodies.labels_zyx
    known = (body > 0) & (body <= 25)
    levels = np.where(known, body, patient.posterior.labels_zyx).astype(np.uint8)
    cut = np.isin(levels, np.setdiff1d(levels[-1], [0]))
    levels[cut], known = 0, known & ~cut
    _, frames = split_vertebrae(levels, known)
    return Spine(levels_zyx=levels, body_zyx=known, frames={frame.level: frame for frame in frames})


@lru_cache(maxsize=8)
def _spine(name: str, for_testing: bool) -> Spine:
    if name == PROCEDURAL:
        return procedural_spine()
    return load_spine(name, for_testing=for_testing and name in FORBIDDEN_SPINES, without=CUT_IN_SOURCE.get(name, ()))


@lru_cache(maxsize=3)
def _torso(name: str) -> Torso:
    return load_torso(name)


def build_column_scene(plan: ColumnScene) -> Scene:
    """Build one scene from the source material (15 seconds, 3 GB)."""
    rng = np.random.default_rng(zlib.crc32(plan.name.encode()))
    pieces = vary(usual_pieces(_spine(plan.spine, plan.for_testing), _spine(plan.upper, plan.for_testing)), plan.variant)
    column = assemble(pieces, draw_curve(rng, least_cobb_deg=plan.least_cobb_deg))
    sacralised = plan.variant is Variant.SACRALISED_L5
    column = add_sacrum_and_pelvis(column, _spine(plan.donor, False), lift_mm=NARROW_DISC_MM if sacralised else 0.0)
    if sacralised:
        column = join_last_to_sacrum(column, (-1, 1) if rng.random() < 0.6 else (1,))
    ribs = RibPlan.usual(list(column.frames), rib_changes(plan.variant, rng))
    return build_scene(plan.name, column, _torso(plan.torso), ribs)


def load_column_scene(plan: ColumnScene, folder: Path) -> Scene:
    """Load a scene from `folder`, building it first when it is not there."""
    path = folder / f"{plan.name}.json"
    if not path.exists():
        sys.stderr.write(f"building scene {plan.name}\n")
        build_column_scene(plan).save(folder)
    return Scene.load(path)
