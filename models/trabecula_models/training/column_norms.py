"""Fits the norms of the column: `python -m trabecula_models.training.column_norms`.

Distances of pedicle centres and body centres come from the VID data set (2,116 scans, CC BY-SA 4.0). The product measures pedicles at
their roots, so VID's distances are brought to that by the spines whose true masks training has.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trabecula_models.bundle import WEIGHTS_FOLDER
from trabecula_models.column_norms import NORMS_FILE, ColumnNorms, tilts_deg
from trabecula_models.column_pose import column_pose
from trabecula_models.level_evidence import ColumnEvidence
from trabecula_models.naming import name_column
from trabecula_models.pedicles import pedicle_distances_mm
from trabecula_models.synthesis.sources import shared_folder
from trabecula_models.synthesis.spines import Spine, load_spine

FIRST_RANK, LAST_RANK = 6, 23
"""C7 to L5; above C7 too few spines with masks are at hand."""

MASKED_SPINES = ("totalseg_s0224", "malekosh001", "verse004", "remus_vhm", "gl003", "gl017", "spl")
OWN_FACTOR_RANKS = (6, 7, 8)
"""C7, T1 and T2: their pedicles run inwards to the body, so roots and centres differ by another factor than below."""

OUTLIER_DEVIATIONS = 5.0
ROUNDS, PRIOR_SCANS = 60, 10.0
"""Of expectation and maximization; and the weight, in scans, of what each column of the table says alone (few scans show all levels)."""

Points = NDArray[np.float64]

RANKS = ("C7", *(f"T{k}" for k in range(1, 13)), *(f"L{k}" for k in range(1, 6)))
WINDOWS = (("T1", "T12"), ("T2", "L1"), ("T1", "T7"), ("T4", "T12"), ("T6", "L1"), ("T9", "L3"), ("T10", "L4"), ("T11", "L2"), ("L1", "L4"))
FOLDS, MOST_SCANS, SEED = 5, 300, 1
OUTLINE_PERSON_SD, OUTLINE_LEVEL_SD = 0.10, 0.05
"""Error of the logarithm of pedicle distances in the product's outlines, common to a scan and from level to level (seven real CTs)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VidScans:
    """Scans without L6: body centres (scans, levels, 3) in LPS mm and pedicle distances (scans, levels) in mm, NaN where unknown, and
    which person each shows (prone and supine scans are of one)."""

    centers_lps_mm: Points
    pedicle_mm: Points
    person: NDArray[np.int_]


def read_vid() -> VidScans:
    """Read the tables of the VID data set in the source material."""
    import pandas as pd  # extra `train`

    tables = shared_folder() / "anatomy" / "tables"
    points = pd.read_parquet(tables / "vid_keypoints.parquet")
    with_six = set(points.scan[points.level == "L6"])
    rank = {"C7": 6} | {f"T{k}": 6 + k for k in range(1, 13)} | {f"L{k}": 18 + k for k in range(1, 6)}
    points = points[points.level.isin(list(rank)) & ~points.scan.isin(with_six)].drop_duplicates(["scan", "level", "point"])
    scans = {scan: row for row, scan in enumerate(sorted(set(points.scan)))}
    places = {}
    for kind in ("body", "left", "right"):
        part = points[points.point == kind]
        place = np.full((len(scans), LAST_RANK - FIRST_RANK + 1, 3), np.nan)
        place[part.scan.map(scans).to_numpy(), part.level.map(rank).to_numpy() - FIRST_RANK] = part[["x", "y", "z"]].to_numpy(float)
        places[kind] = place
    files = pd.read_csv(tables / "vid_scans.csv.gz").set_index("scan").origin_file.reindex(list(scans)).fillna("")
    folder = [
        scan if not file else file.rsplit("/", 1)[0] if "verse" in file else "/".join(file.split("/")[:3]) for scan, file in files.items()
    ]
    return VidScans(
        centers_lps_mm=places["body"],
        pedicle_mm=np.linalg.norm(places["left"] - places["right"], axis=2),
        person=np.unique(folder, return_inverse=True)[1],
    )


def without_outliers(table: Points) -> Points:
    """The table (scans, columns) with NaN where a value lies far from its column's median (mislabelled points)."""
    middle = np.nanmedian(table, axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(table - middle), axis=0)
    return np.where(np.abs(table - middle) > OUTLIER_DEVIATIONS * spread, np.nan, table)


def normal_with_gaps(table: Points) -> tuple[Points, Points]:
    """Mean and covariance of rows (scans, columns) that lack values (NaN), by expectation and maximization."""
    known_rows = table[np.isfinite(table).sum(axis=1) >= 2]
    mean, deviation = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
    covariance = np.diag(deviation**2)
    for _ in range(ROUNDS):
        filled, unknown = np.empty_like(known_rows), np.zeros_like(covariance)
        for row, values in enumerate(known_rows):
            seen = np.isfinite(values)
            gain = covariance[:, seen] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
            filled[row] = mean + gain @ (values[seen] - mean[seen])
            unknown += covariance - gain @ covariance[seen]
        mean = filled.mean(axis=0)
        away = filled - mean
        count = len(filled)
        covariance = (away.T @ away + unknown + PRIOR_SCANS * np.diag(deviation**2)) / (count + PRIOR_SCANS)
    return mean, covariance


def root_distances_mm(spine: Spine) -> Points:
    """Distances between pedicle roots in the masks of a spine, (levels,) mm, NaN where unknown."""
    levels = [level for level in sorted(spine.frames) if FIRST_RANK < level <= LAST_RANK + 1]
    instances = np.zeros(spine.levels_zyx.shape, np.int16)
    for number, level in enumerate(levels, start=1):
        instances[spine.body_zyx & (spine.levels_zyx == level)] = number
    posterior = np.isin(spine.levels_zyx, levels) & ~spine.body_zyx
    out = np.full(LAST_RANK - FIRST_RANK + 1, np.nan)
    centers = np.array([spine.frames[level].centre for level in levels])
    pose = column_pose(centers[:, ::-1], np.argwhere(posterior)[:, ::-1].astype(float), voxel_mm3=1.0)
    measured = pedicle_distances_mm(centers, pose.axes, instances, posterior, 1.0)
    out[[level - 1 - FIRST_RANK for level in levels]] = measured
    return out


def root_factors(vid_mm: Points, spines: list[Points]) -> Points:
    """Root distance over VID's centre distance at each level, given VID's means (levels,) and the spines' roots."""
    ratios = np.array(spines) / vid_mm
    own = np.array(OWN_FACTOR_RANKS) - FIRST_RANK
    common = np.delete(ratios, own, axis=1)
    factors = np.full(len(vid_mm), float(np.nanmean(common)))
    factors[own] = np.nanmean(ratios[:, own], axis=0)
    return factors


def fit_norms(centers: Points, pedicle_mm: Points, factors: Points) -> ColumnNorms:
    """Norms of scans: centres (scans, levels, 3), pedicle distances (scans, levels), and the factors (levels,) of `root_factors`."""
    tilt, covariance = normal_with_gaps(without_outliers(np.array([tilts_deg(scan) for scan in centers])))
    log_pedicle = np.nanmean(without_outliers(np.log(pedicle_mm)), axis=0) + np.log(factors)
    return ColumnNorms(first_rank=FIRST_RANK, log_pedicle_mm=log_pedicle, tilt_deg=tilt, tilt_covariance=covariance)


def _write(norms: ColumnNorms, path: Path) -> None:
    data = {
        "source": "VID data set (ImFusion), CC BY-SA 4.0; pedicle roots over pedicle centres: " + ", ".join(MASKED_SPINES),
        "first_rank": norms.first_rank,
        "pedicle_distance_mm": [round(float(value), 2) for value in np.exp(norms.log_pedicle_mm)],
        "tilt_deg": [round(float(value), 2) for value in norms.tilt_deg],
        "tilt_covariance_deg2": [[round(float(value), 2) for value in row] for row in norms.tilt_covariance],
    }
    path.write_text(json.dumps(data, indent=1) + "\n")


def check_windows(centers: Points, pedicle_mm: Points, people: NDArray[np.int_], factors: Points, write: Callable[[str], object]) -> None:
    """Name pieces of VID's columns without any anchor, each by norms of other people, with and without their form."""
    rng = np.random.default_rng(SEED)
    fold = rng.permutation(people.max() + 1)[people] % FOLDS
    norms = [fit_norms(centers[fold != k], pedicle_mm[fold != k], factors) for k in range(FOLDS)]
    own = np.exp(rng.normal(0, OUTLINE_PERSON_SD, (len(centers), 1)) + rng.normal(0, OUTLINE_LEVEL_SD, pedicle_mm.shape))
    roots_mm = pedicle_mm * factors * own
    write(f"{'levels in view':16} {'scans':>5} {'by distances':>13} {'and by form':>12} {'wrong at > 95 %':>16}\n")
    for first, last in WINDOWS:
        part = slice(RANKS.index(first), RANKS.index(last) + 1)
        whole = np.flatnonzero(np.isfinite(centers[:, part, 0]).all(axis=1) & np.isfinite(pedicle_mm[:, part]).all(axis=1))
        whole = rng.permutation(whole)[:MOST_SCANS]
        right, right_by_form, misled = 0, 0, 0
        for scan in whole:
            piece = centers[scan, part]
            count = len(piece)
            evidence = ColumnEvidence(
                steps=np.ones(count - 1, dtype=int),
                steps_mm=np.linalg.norm(np.diff(piece, axis=0), axis=1),
                sacrum_below=0.0,
                rib_probability=np.full(count, np.nan),
                level_index=np.full(count, np.nan),
            )
            formed = replace(evidence, pedicle_distance_mm=roots_mm[scan, part], tilt_deg=tilts_deg(piece))
            right += name_column(evidence, norms[fold[scan]]).names[0] == first
            named = name_column(formed, norms[fold[scan]])
            right_by_form += named.names[0] == first
            misled += named.names[0] != first and min(named.confidence) > 0.95
        share = 100 / len(whole)
        write(
            f"{first + ' to ' + last:16} {len(whole):5d} {right * share:11.0f} % {right_by_form * share:10.0f} % {misled * share:14.1f} %\n"
        )


def main() -> None:
    """Fit and write the norms, or with --check name pieces of real columns by norms of other people."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS_FOLDER / NORMS_FILE)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    vid = read_vid()
    vid_mm = np.exp(np.nanmean(without_outliers(np.log(vid.pedicle_mm)), axis=0))
    factors = root_factors(vid_mm, [root_distances_mm(load_spine(name)) for name in MASKED_SPINES])
    if options.check:
        check_windows(vid.centers_lps_mm, vid.pedicle_mm, vid.person, factors, sys.stdout.write)
    else:
        _write(fit_norms(vid.centers_lps_mm, vid.pedicle_mm, factors), options.out)


if __name__ == "__main__":
    main()
