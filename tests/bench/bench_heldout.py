"""``./run bench heldout``: the product's segmenter on the held-out synthetic set, level by level.

Each case is drawn from its number (nothing is stored), given to ``SpineSegmenter`` and compared with its truth. Results are kept per
case and per weights, so that a stopped run goes on; the table and ``cases.csv`` are made from whatever is there.
"""

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.counting_reader import names_by_counting
from bench.heldout_picture import write_picture
from trabecula_models.segment import SpineSegmenter
from trabecula_models.segmentation import SpineSegmentation
from trabecula_models.synthesis.held_out import CASE_COUNT, HeldOutCase, draw_held_out, held_out_case
from trabecula_models.synthesis.held_out_scenes import HELD_OUT_EDITION
from trabecula_models.synthesis.posed_patient import TrueMasks
from trabecula_models.synthesis.variants import Variant
from trabecula_models.synthesis.whole_scan import WholeScan
from trabecula_morphometry.foreign import mark_foreign
from trabecula_morphometry.levels import FOREIGN_LABEL, LABEL_OF_LEVEL, SACRUM_LABEL
from trabecula_morphometry.mask_sampling import resample_masks
from trabecula_morphometry.voi import FOREIGN_MM3
from trabecula_morphometry.volume import LabelVolume

IDENTIFIED_MM = 20.0
"""VerSe: a level is identified when the centre of that name is the nearest one to it and closer than this (Sekuboyina 2021)."""

SAME_BODY_MM = 14.0
"""A found body this close to a true one is that body, whatever its name (neighbouring centres lie at least 17 mm apart)."""

DICE_LEVELS = ("L1", "L2", "L3")
NO_LABEL = 255
COUNTED_TOGETHER = {
    "usual count, any ribs": (Variant.USUAL.value, Variant.SHORT_RIB.value, Variant.NO_RIB_12.value),
    "T13, L6, sacralised L5": (Variant.T13.value, Variant.L6.value, Variant.SACRALISED_L5.value),
    "six or four lumbar vertebrae": (Variant.L6.value, Variant.FOUR_LUMBAR.value),
    "all but T13": tuple(variant.value for variant in Variant if variant is not Variant.T13),
}

SHARES_IN_PEOPLE = {
    Variant.T13.value: 0.004,
    Variant.L6.value: 0.043,
    Variant.FOUR_LUMBAR.value: 0.034,
    Variant.SACRALISED_L5.value: 0.011,
    Variant.SHORT_RIB.value: 0.126,
    Variant.NO_RIB_12.value: 0.080,
}
SHARES_IN_PEOPLE[Variant.USUAL.value] = 1 - sum(SHARES_IN_PEOPLE.values())
"""How common each variant is, the rest is usual: 13 and 11 pairs of ribs (CT, 1340 people), 25 and 23 mobile vertebrae (18 and 14 of
418, Tins 2016), sacralised L5 (11 of 1005), hypoplastic twelfth ribs (551 people, Skeletal Radiol 2025). The set has far more of them."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class SolidBodies:
    """Labels of bodies without what metal or cement takes, and where that is: whether it is body or not is no question of Dice."""

    labels: NDArray[np.uint8]
    foreign: NDArray[np.bool_]


def solid(masks: TrueMasks) -> SolidBodies:
    """The true bodies beside metal and cement."""
    return SolidBodies(np.where(masks.foreign_zyx, np.uint8(0), masks.bodies.labels_zyx), masks.foreign_zyx)


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Dice coefficient; two empty masks agree."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def level_scores(found: SpineSegmentation | None, truth: WholeScan) -> Row:
    """Compare names, centres and bodies of one case.

    Bodies are compared on the CT's own grid, where masks are delivered and where readers of real CT outline theirs (ADR 0007), and in
    space: on the lattice that the segmenter outlines on. The truth is looked up in the drawn patient at every voxel of either.
    """
    named = {v.name: np.array(v.center_lps_mm) for v in found.vertebrae} if found else {}
    true = {level.name: np.array(level.center_lps_mm) for level in truth.levels}
    whole = [level.name for level in truth.levels if level.complete]
    pictured, outlined = truth.volume.grid, found.bodies.grid if found else truth.bodies.grid
    masks_in_space = truth.masks_on(outlined)
    in_images, in_space = solid(truth.masks_on(pictured)), solid(masks_in_space)
    delivered, own = np.zeros_like(in_images.labels), np.zeros_like(in_space.labels)
    if found:
        delivered = resample_masks((found.bodies, found.posterior), pictured)[0].labels_zyx * ~in_images.foreign
        own = found.bodies.labels_zyx * ~in_space.foreign
    cut = LabelVolume(labels_zyx=in_images.labels, grid=pictured).resample(outlined).labels_zyx
    identified, errors, missed, shifts = 0, [], [], {}
    dice_by_name, dice_by_place, dice_in_space, dice_cut, volume_ratio = {}, {}, {}, {}, {}
    for name in whole:
        near = min(named, key=lambda other: float(np.linalg.norm(named[other] - true[name])), default=None)
        distance = float(np.linalg.norm(named[near] - true[name])) if near else np.inf
        identified += near == name and distance < IDENTIFIED_MM
        if distance > SAME_BODY_MM:
            missed.append(name)
        else:
            errors.append(distance)
            shifts[name] = near
        if name in DICE_LEVELS:
            label = LABEL_OF_LEVEL[name]
            at_place = LABEL_OF_LEVEL[near] if near and distance <= SAME_BODY_MM else NO_LABEL
            dice_by_name[name] = dice(in_images.labels == label, delivered == label)
            dice_by_place[name] = dice(in_images.labels == label, delivered == at_place)
            dice_in_space[name] = dice(in_space.labels == label, own == at_place)
            dice_cut[name] = dice(in_space.labels == label, cut == label)
            volume_ratio[name] = float((own == at_place).sum() / max((in_space.labels == label).sum(), 1))
    false = [n for n, c in named.items() if min((float(np.linalg.norm(c - t)) for t in true.values()), default=np.inf) > SAME_BODY_MM]
    wrong = {name: near for name, near in shifts.items() if near != name}
    decision = found.numbering if found else None
    return {
        "in_view": {level.name: level.complete for level in truth.levels},
        "sacrum_in_view": bool((truth.bodies.labels_zyx == SACRUM_LABEL).any()),
        "levels": len(whole),
        "identified": identified,
        "missed": missed,
        "invented": false,
        "wrong_names": wrong,
        "certain": bool(decision and decision.certain),
        "anchors": list(decision.anchors) if decision else [],
        "named_variants": list(decision.variants) if decision else [],
        "alternatives": {str(a.shift): a.probability for a in decision.alternatives} if decision else {},
        "dice_by_name": dice_by_name,
        "dice_by_place": dice_by_place,
        "dice_in_space": dice_in_space,
        "dice_cut": dice_cut,
        "volume_ratio": volume_ratio,
        "centre_error_mm": errors,
        "foreign_mm3": foreign_volumes(found, truth, masks_in_space) if found else {},
        "timing_s": found.timing_s if found else {},
    }


def foreign_volumes(found: SpineSegmentation, truth: WholeScan, in_space: TrueMasks) -> dict[str, tuple[float, float]]:
    """Metal and cement inside each whole true body, mm3: the true one and what the product marks; levels without either are left out."""
    marked = mark_foreign(truth.volume, found.bodies, found.posterior).labels_zyx == FOREIGN_LABEL
    voxel_mm3 = in_space.bodies.grid.voxel_volume_mm3
    volumes = {}
    for level in truth.levels:
        inside = in_space.bodies.labels_zyx == LABEL_OF_LEVEL[level.name]
        pair = (float((in_space.foreign_zyx & inside).sum()) * voxel_mm3, float((marked & inside).sum()) * voxel_mm3)
        if level.complete and max(pair) > 0:
            volumes[level.name] = pair
    return volumes


def run_case(number: int, drawing: int, segmenter: SpineSegmenter, picture: Path) -> Row:
    """Draw, analyse and score one case, and write its picture."""
    case: HeldOutCase = held_out_case(number, drawing)
    started = time.perf_counter()
    truth = draw_held_out(number, drawing)
    drawn = time.perf_counter()
    found = segmenter.segment(truth.volume)
    analysed = time.perf_counter()
    scores = level_scores(found, truth)
    write_picture(truth, found, picture)
    groups = {
        "case": number,
        "spine": case.spine,
        "variant": case.variant.value,
        "region": case.region.value,
        "slice_mm": case.slice_mm,
        "kernel": case.kernel,
        "phase": case.phase,
        "fractures": sum(level.fracture is not None for level in truth.levels),
        "kvp": case.patient.tube_voltage_kvp,
        "density": round(case.patient.density_mg_cm3, 1),
        "noise_hu": round(case.scan.noise_hu, 1),
        "worn": case.patient.wear > 0,
        "implant": case.patient.implant.value,
        "shape_zyx": list(truth.volume.hu_zyx.shape),
    }
    return groups | scores | {"draw_s": round(drawn - started, 1), "analyse_s": round(analysed - drawn, 1)}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def id_rate(rows: Sequence[Row]) -> float:
    """Share of the levels in view that were identified, percent."""
    return 100 * sum(row["identified"] for row in rows) / max(sum(row["levels"] for row in rows), 1)


def id_rate_in_people(rows: Sequence[Row]) -> float | None:
    """The id-rate if variants were as common in the set as they are in people; None where a kind of column is missing."""
    groups = {variant: [row for row in rows if row["variant"] == variant] for variant in SHARES_IN_PEOPLE}
    return sum(share * id_rate(groups[variant]) for variant, share in SHARES_IN_PEOPLE.items()) if all(groups.values()) else None


def misnamed_by_counting(row: Row, *, cut_seen: bool) -> list[str]:
    """Whole levels of one case that a reader who counts without error would name otherwise than they are.

    Of levels that the field cuts the reader sees, or does not, whether they are thoracic or lumbar and have ribs.
    """
    cut = () if cut_seen else [name for name, whole in row["in_view"].items() if not whole]
    read = names_by_counting(row["variant"], list(row["in_view"]), sacrum=row["sacrum_in_view"], shares=SHARES_IN_PEOPLE, unseen=cut)
    return [name for name, whole in row["in_view"].items() if whole and read[name] != name]


def variants_said(rows: Sequence[Row]) -> dict[str, tuple[int, int, int, int]]:
    """By variant: said in how many of how many columns that have it, and in how many of how many that do not, where a sacrum was seen."""
    with_sacrum = [row for row in rows if "sacrum" in row["anchors"]]
    said = {}
    for variant in (Variant.L6.value, Variant.FOUR_LUMBAR.value, Variant.T13.value, Variant.SACRALISED_L5.value):
        have = [variant in row["named_variants"] for row in with_sacrum if row["variant"] == variant]
        others = [variant in row["named_variants"] for row in with_sacrum if row["variant"] != variant]
        said[variant] = (sum(have), len(have), sum(others), len(others))
    return said


def foreign_found(rows: Sequence[Row]) -> tuple[int, int, int, int]:
    """Bodies with metal or cement that counts: marked, of how many; bodies with none at all: falsely marked, of how many."""
    pairs = [pair for row in rows for pair in row["foreign_mm3"].values()]
    have = [found >= FOREIGN_MM3 for true, found in pairs if true >= FOREIGN_MM3]
    false = sum(found >= FOREIGN_MM3 for true, found in pairs if true == 0)
    return sum(have), len(have), false, sum(row["levels"] for row in rows) - sum(true > 0 for true, _ in pairs)


def summary_line(name: str, rows: list[Row]) -> str:
    """One line of the table."""
    thin, thick = [row for row in rows if row["slice_mm"] <= 1.5], [row for row in rows if row["slice_mm"] >= 5]
    scores = [
        _mean([d for row in some for d in row[key].values()])
        for some, key in (
            (thin, "dice_by_place"),
            (thick, "dice_by_place"),
            (thin, "dice_in_space"),
            (thick, "dice_in_space"),
            (thick, "dice_cut"),
            (rows, "dice_by_name"),
        )
    ]
    safe = sum(not row["wrong_names"] or not row["certain"] for row in rows)
    error = [e for row in rows for e in row["centre_error_mm"]]
    missed, invented = sum(len(row["missed"]) for row in rows), sum(len(row["invented"]) for row in rows)
    written = " ".join(f"{score:8.3f}" for score in scores)
    return (
        f"{name:30} {len(rows):4d} {id_rate(rows):7.1f} {written} "
        f"{float(np.median(error)) if error else float('nan'):7.2f} {missed:6d} {invented:8d} "
        f"{100 * sum(row['certain'] for row in rows) / len(rows):8.0f} {100 * safe / len(rows):6.0f}"
    )


HEADER = (
    f"{'group':30} {'n':>4} {'id %':>7} {'<=1.5mm':>8} {'5 mm':>8} {'thin 3D':>8} {'5 mm 3D':>8} {'cut 3D':>8} {'by name':>8} {'d mm':>7} "
    f"{'missed':>6} {'invented':>8} {'certain%':>8} {'safe%':>6}"
)


def print_table(rows: list[Row], write: Callable[[str], object]) -> None:
    """All cases, each subgroup, and every case whose names are wrong."""
    write("Dice: mean body Dice of L1-L3 on the CT's own grid, whatever the name; by name: 0 where the name is another.\n")
    write("3D: in space, at 1 mm; cut: of the true bodies themselves once they are cut into slices of 5 mm.\n")
    write("safe: names right or declared uncertain.\n")
    write(HEADER + "\n" + summary_line("all", rows) + "\n")
    in_people = id_rate_in_people(rows)
    if in_people is not None:
        write(f"id-rate with variants as common as in people: {in_people:.1f} %\n")
    levels = sum(row["levels"] for row in rows)
    for reader, cut_seen in (("sees everything", True), ("does not see what cut vertebrae are", False)):
        beyond = {row["case"]: misnamed_by_counting(row, cut_seen=cut_seen) for row in rows}
        lost = sum(map(len, beyond.values()))
        both = sum(name in row["wrong_names"] for row in rows for name in beyond[row["case"]])
        write(f"id-rate of a reader who {reader} and counts: {100 * (1 - lost / levels):.1f} % ({lost} of {levels} levels named wrong, ")
        write(f"{both} of them wrong here too, in {sum(map(bool, beyond.values()))} columns)\n")
    for variant, (right, have, false, others) in variants_said(rows).items():
        write(f"{variant} said where a sacrum is seen: {right} of {have} columns that have it, {false} of {others} that do not\n")
    right, have, false, without = foreign_found(rows)
    write(f"metal or cement ({FOREIGN_MM3:.0f} mm3): marked in {right} of {have} bodies with it, falsely in {false} of {without} others\n")
    for slices, some in (
        ("<= 1.5 mm", [row for row in rows if row["slice_mm"] <= 1.5]),
        ("5 mm", [row for row in rows if row["slice_mm"] >= 5]),
    ):
        scores = [d for row in some for d in row["dice_by_place"].values()]
        if scores:
            write(f"median Dice in slices of {slices}: {float(np.median(scores)):.3f}\n")
    for name, variants in COUNTED_TOGETHER.items():
        together = [row for row in rows if row["variant"] in variants]
        if together:
            write(summary_line(name, together) + "\n")
    for key in ("spine", "variant", "region", "slice_mm", "kernel", "phase", "kvp", "worn", "implant"):
        for value in sorted({row[key] for row in rows}):
            write(summary_line(f"{key} {value}", [row for row in rows if row[key] == value]) + "\n")
    broken = [row for row in rows if row["fractures"]]
    if broken:
        write(summary_line("with drawn fractures", broken) + "\n")
    for row in rows:
        if row["wrong_names"] or row["missed"] or row["invented"]:
            state = "CERTAIN" if row["certain"] and row["wrong_names"] else "certain" if row["certain"] else "uncertain"
            write(
                f"case {row['case']:3d} {row['spine']} {row['variant']} {row['region']} {row['slice_mm']} mm {row['kernel']}: {state}, "
                f"wrong {row['wrong_names']}, missed {row['missed']}, invented {row['invented']}, anchors {row['anchors']}, "
                f"variants {row['named_variants']}, alternatives {row['alternatives']}\n"
            )


def write_csv(rows: list[Row], path: Path) -> None:
    """One line per case; lists and mappings as JSON."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({key: json.dumps(value) if isinstance(value, list | dict) else value for key, value in row.items()})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then print the table of what is there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trabecula" / "held_out_scores"
    parser = argparse.ArgumentParser(prog="run bench heldout", description=main.__doc__)
    parser.add_argument("--cases", type=int, default=CASE_COUNT, help="the first N of the 100 cases")
    parser.add_argument("--only", default="", help="these cases instead, as in 3,17,40")
    parser.add_argument("--drawing", type=int, default=0, help="another drawing of the set, for figures that no choice was made on")
    parser.add_argument("--weights", type=Path, help="another weights folder than the package's")
    parser.add_argument("--out", type=Path, default=cache, help="folder for scores; a sub-folder per weights, edition and drawing")
    options = parser.parse_args(arguments)
    segmenter = SpineSegmenter(options.weights) if options.weights else SpineSegmenter()
    folder = options.out / f"{segmenter.weights_sha256[:12]}-{HELD_OUT_EDITION}-{options.drawing}"
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(n) for n in options.only.split(",")] if options.only else list(range(options.cases))
    for number in numbers:
        path = folder / f"case_{number:03d}.json"
        if not path.exists():
            row = run_case(number, options.drawing, segmenter, path.with_suffix(".png"))
            path.write_text(json.dumps(row, indent=1) + "\n")
            sys.stderr.write(f"case {number}: {row['identified']}/{row['levels']} identified, certain {row['certain']}\n")
    rows = [json.loads((folder / f"case_{number:03d}.json").read_text()) for number in numbers]
    write_csv(rows, folder / "cases.csv")
    print_table(rows, sys.stdout.write)
    sys.stdout.write(f"weights {segmenter.weights_sha256[:12]}, table of cases: {folder / 'cases.csv'}\n")


if __name__ == "__main__":
    main()
