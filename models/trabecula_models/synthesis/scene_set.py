"""The fixed list of scenes that the published weights were trained on, and the command that builds them.

Only sources with a clear licence are used; spines kept back for testing are refused by `sources.read_labels`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trabecula_models.synthesis.column_scenes import ColumnScene, load_column_scene
from trabecula_models.synthesis.ribs import RibPlan
from trabecula_models.synthesis.scene_build import build_scene
from trabecula_models.synthesis.sources import cache_folder
from trabecula_models.synthesis.spines import C3, C7, SACRUM, Spine, add_sacrum_and_pelvis, load_spine
from trabecula_models.synthesis.torso import ATLAS, FEMALE, MALE, Torso, load_torso
from trabecula_models.synthesis.variants import Variant

SCENES: tuple[tuple[str, str, str], ...] = (
    ("totalseg_s0224", FEMALE, "remus_vhm"),
    ("totalseg_s0224", MALE, "spl"),
    ("totalseg_s0224", ATLAS, "remus_vhm"),
    ("malekosh001", FEMALE, "spl"),
    ("malekosh001", MALE, "remus_vhm"),
    ("malekosh001", ATLAS, "remus_vhm"),
    ("verse004", FEMALE, "remus_vhm"),
    ("verse004", MALE, "spl"),
    ("verse004", ATLAS, "remus_vhm"),
    ("remus_vhm", FEMALE, ""),
    ("remus_vhm", MALE, ""),
    ("remus_vhm", ATLAS, ""),
    ("clouthier_mean_L2_L5", FEMALE, "remus_vhm"),
    ("gl003", MALE, ""),
    ("gl003", FEMALE, ""),
    ("gl017", FEMALE, ""),
)
"""(spine, torso, donor of sacrum and pelvis); neck and upper-chest spines need no pelvis."""

NECK_SCENES: tuple[tuple[str, str, str], ...] = (
    ("totalseg_s0224", MALE, "spl"),
    ("gl003", FEMALE, ""),
    ("gl017", MALE, ""),
)
"""The same from C3 on. Without them no network has seen what lies above C7: in real scans its processes were taken for ribs, and bodies of
the neck were run together (ADR 0038)."""

UPPER_CHEST_SPINES = ("gl003", "gl017", "totalseg_s0224", "malekosh001")
"""Spines that reach the first rib: in whole torsos ribs hang on their vertebrae, as the torso's own fit no level (`ribs`)."""

VARIANT_SCENES: tuple[ColumnScene, ...] = tuple(
    ColumnScene(spine=spine, variant=variant, torso=torso, donor=donor, upper="totalseg_s0224")
    for spine, variant, torso, donor in (
        ("totalseg_s0224", Variant.USUAL, MALE, "spl"),
        ("totalseg_s0224", Variant.L6, FEMALE, "remus_vhm"),
        ("totalseg_s0224", Variant.T13, MALE, "spl"),
        ("totalseg_s0224", Variant.NO_RIB_12, FEMALE, "spl"),
        ("malekosh001", Variant.USUAL, FEMALE, "remus_vhm"),
        ("malekosh001", Variant.SACRALISED_L5, MALE, "spl"),
        ("malekosh001", Variant.FOUR_LUMBAR, FEMALE, "spl"),
        ("verse004", Variant.USUAL, MALE, "remus_vhm"),
        ("verse004", Variant.T13, FEMALE, "remus_vhm"),
        ("verse004", Variant.SACRALISED_L5, FEMALE, "remus_vhm"),
        ("remus_vhm", Variant.L6, MALE, "remus_vhm"),
        ("remus_vhm", Variant.SHORT_RIB, FEMALE, "remus_vhm"),
    )
)
"""Columns with real curves, ribs that hang on their vertebrae, and the variants of number; the weights of 0.1 had not seen them."""

SCENE_EDITION = 5
"""Raised when what is built changes. 2: columns with variants begin with C7, upper ribs run around the lungs and hang on the spines
of the upper chest too. 3: ribs pass in front of the tips of their transverse processes. 4: the rims of a concave back
wall and what a crushed body pushes into the canal belong to the body (ADR 0035). 5: necks, which no weights have learnt yet.
Two stages of `delineate` learnt from edition 2, its last from 3; the last two stages of `refine` learnt from 4 (model card)."""

LICENCES: dict[str, str] = {
    "totalseg_s0224": "TotalSegmentator data set, CC BY 4.0",
    "malekosh001": "malekosh/deep-learning-models-for-vertebral-fractures, MIT",
    "verse004": "VerSe (Sekuboyina 2021, Loeffler 2020), CC BY-SA 4.0",
    "gl003": "VerSe, CC BY-SA 4.0",
    "gl017": "VerSe, CC BY-SA 4.0",
    "remus_vhm": "RemusR9/artisynth_lumbosacralSpineModel, BSD-3-Clause",
    "clouthier_mean_L2_L5": "aclouthier/morphable-lumbar-model, MIT",
    ATLAS: "SPL abdominal atlas, 3D Slicer licence",
    FEMALE: "ICRP 110 adult female phantom, copyright ICRP, distributed with Geant4",
    MALE: "ICRP 110 adult male phantom, copyright ICRP, distributed with Geant4",
}


def default_scene_folder() -> Path:
    """Return the cache folder of scenes ($XDG_CACHE_HOME or ~/.cache)."""
    return cache_folder() / f"scenes-{SCENE_EDITION}"


def build_scenes(folder: Path) -> list[Path]:
    """Build every scene of the three lists that is not in `folder` yet; return their paths (about 6 minutes, 5 GB memory)."""
    torsos: dict[str, Torso] = {}
    donors: dict[str, Spine] = {}
    paths = []
    plans = [(f"{spine}-{torso}", C7, spine, torso, donor) for spine, torso, donor in SCENES]
    plans += [(f"{spine}-neck-{torso}", C3, spine, torso, donor) for spine, torso, donor in NECK_SCENES]
    for name, highest, spine_name, torso_name, donor_name in plans:
        path = folder / f"{name}.json"
        paths.append(path)
        if path.exists():
            continue
        if torso_name not in torsos:
            torsos[torso_name] = load_torso(torso_name)
        spine = load_spine(spine_name, highest=highest)
        if donor_name and not (spine.levels_zyx == SACRUM).any():
            if donor_name not in donors:
                donors[donor_name] = load_spine(donor_name)
            spine = add_sacrum_and_pelvis(spine, donors[donor_name])
        ribs = RibPlan.usual(list(spine.frames)) if spine_name in UPPER_CHEST_SPINES and torso_name != ATLAS else None
        build_scene(name, spine, torsos[torso_name], ribs).save(folder)
        sys.stderr.write(f"built {name}\n")
    for plan in VARIANT_SCENES:
        load_column_scene(plan, folder)
        paths.append(folder / f"{plan.name}.json")
    return paths


def main() -> None:
    """Build the scenes: `python -m trabecula_models.synthesis.scene_set [--folder DIR]`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--folder", type=Path, default=default_scene_folder())
    build_scenes(parser.parse_args().folder)


if __name__ == "__main__":
    main()
