"""Fits the norms of the column: `python -m trabecula_models.training.column_norms`.

Distances of pedicle centres and body centres come from the VID data set (2,116 scans, CC BY-SA 4.0). The product measures pedicles at
their roots, so VID's distances are brought to that by the spines whose true masks training has.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trabecula_models.bundle import WEIGHTS_FOLDER
from trabecula_models.column_norms import NORMS_FILE, tilts_deg
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


def read_vid(table: Path | None = None) -> tuple[Points, Points]:
    """Body centres (scans, levels, 3) in LPS mm and pedicle distances (scans, levels) in mm, NaN where unknown; scans without L6.

    Parameters
    ----------
    table : `vid_keypoints.parquet`; default: the one in the source material.
    """
    import pandas as pd  # extra `train`

    points = pd.read_parquet(table or shared_folder() / "anatomy" / "tables" / "vid_keypoints.parquet")
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
    return places["body"], np.linalg.norm(places["left"] - places["right"], axis=2)


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
    measured = pedicle_distances_mm(np.array([spine.frames[level].centre for level in levels]), instances, posterior, 1.0)
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


def main() -> None:
    """Fit and write the norms."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS_FOLDER / NORMS_FILE)
    options = parser.parse_args()
    centers, pedicle_mm = read_vid()
    vid_mm = np.exp(np.nanmean(without_outliers(np.log(pedicle_mm)), axis=0))
    factors = root_factors(vid_mm, [root_distances_mm(load_spine(name)) for name in MASKED_SPINES])
    tilt, covariance = normal_with_gaps(without_outliers(np.array([tilts_deg(scan) for scan in centers])))
    norms = {
        "source": "VID data set (ImFusion), CC BY-SA 4.0; pedicle roots over pedicle centres: " + ", ".join(MASKED_SPINES),
        "first_rank": FIRST_RANK,
        "pedicle_distance_mm": [round(float(value), 2) for value in vid_mm * factors],
        "tilt_deg": [round(float(value), 2) for value in tilt],
        "tilt_covariance_deg2": [[round(float(value), 2) for value in row] for row in covariance],
    }
    options.out.write_text(json.dumps(norms, indent=1) + "\n")


if __name__ == "__main__":
    main()
