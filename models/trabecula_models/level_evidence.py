"""What was seen of a column, and how well it fits a list of level names.

Every figure that names are weighed by stands here with its source; `naming` decides.
"""

from dataclasses import dataclass
from math import erfc, exp, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from trabecula_models.column_norms import ColumnNorms, pedicle_log_likelihood, tilt_log_likelihood

CERVICAL = tuple(f"C{i}" for i in range(1, 8))
THORACIC = tuple(f"T{i}" for i in range(1, 13))
LUMBAR = tuple(f"L{i}" for i in range(1, 6))

USUAL_RANK: dict[str, float] = {name: float(rank) for rank, name in enumerate(CERVICAL + THORACIC + LUMBAR)} | {"T13": 18.5, "L6": 24.0}
"""Rank in the usual column, C1 = 0; T13 lies between T12 and L1, L6 below L5."""

RIB_SEEN = {"T1": 0.9, "T12": 0.88, "T13": 0.75, "T11": 0.95, "L1": 0.06}
"""Chance to find a rib beside a level: the 12th is thin and may be missing, and a transverse process of L1 can pass for one. The neck of
the first is short and lies before a long process: found at 15 of 16 drawn T1 and at all four real ones that were looked at (ADR 0038);
anything from 0.4 to 0.96 gave the drawn columns the same names."""
RIB_SEEN_THORACIC, RIB_SEEN_LUMBAR, RIB_SEEN_CERVICAL = 0.96, 0.03, 0.02
"""Cervical ribs: 0.94 % of 1165 people (CT, Surgical and Radiologic Anatomy 2022), and what is taken for one on a side; a thirteenth rib at
the top of a full thorax must not pass for one."""

CERVICAL_PAIR = 0.005
"""Two of them: 46 % of those who have any (the same 1165). So ribs on both sides tell the first thoracic vertebra: they are as rare above
it as a thirteenth pair is below (0.4 %)."""

RIB_BORNE = 0.5
"""A body bears a rib where the chance of it is above this."""

HYPOPLASTIC_RIB_MM, HYPOPLASTIC_SHARE = 38.0, 0.126
"""A twelfth rib shorter than this is hypoplastic (Yun 2018); 12.6 % of 551 people had one (whole-spine CT, Skeletal Radiol 2025)."""

LUMBAR_RIB_MM = 60.0
"""Longest rib that hangs on a thirteenth thoracic or a first lumbar vertebra, with the outline's error. Unverified: 43 mm and less in the
thirteenth ribs that this project draws, no table of real ones found."""

RIB_LENGTH_MM: dict[str, tuple[float, float]] = {"T12": (105.0, 30.0), "T11": (160.0, 35.0)}
"""Head to tip, mean and standard deviation. The twelfth rib is usually 110 mm along its curve (Aubert 1981, 244 urographies); measured
straight: 71-136 mm in four people, the eleventh 97-184 in two and beyond 119 in a third (Visible Human, TotalSegmentator s0046 and
example, one CT)."""
HIGHER_RIB_LENGTH_MM = (200.0, 35.0)
"""The eighth to the tenth (Visible Human: 209-236 mm; s0046, a small person: 127-165)."""

LEAST_LENGTH_LIKELIHOOD, LEAST_LONGER = 5e-4, 0.02
"""Per mm, and for "longer than seen". No length of a rib rules a name out: ribs break, are resected, and an outline can end early."""

PROCESS_REACH_MM: dict[str, float] = {
    **dict(zip(("C7", "T1", "T2", "T3"), (35.0, 40.0, 36.0, 34.0), strict=True)),
    **dict(zip(("T9", "T10", "T11", "T12", "T13"), (30.0, 29.0, 25.0, 23.0, 24.0), strict=True)),
    **dict(zip((*LUMBAR, "L6"), (36.5, 39.5, 43.5, 43.5, 45.0, 45.5), strict=True)),
}
"""How far transverse processes reach from the middle: half the width over them in the true masks of four real spines that the networks
learn from (T12 44-48 mm, L1 69-80 mm, L3 80-95 mm); no length changes as much from one level to the next (processes shorten down to T12
and lengthen from L1 on in 4,080 dry vertebrae too, Clinical Anatomy 24:858, 2011). Of the four spines that go so far up, the longer side
reaches 33-40 mm at C7, 38-43 at T1, 34-37 at T2 and 32-36 at T3. The sixth lumbar one is drawn from the fifth."""
HIGHER_PROCESS_REACH_MM = 32.0
"""T4 to T8, where ribs tell more; unknown above C7."""
PROCESS_REACH_SD_MM = 3.5
"""From level to level of one person (lumbar levels of six real CTs as the product sees them: 1 to 4 mm, root mean square 2.6; a little
more is taken, as six people are few)."""
PROCESS_SIZE_SD = 0.10
"""Spread of the logarithm of a person's processes over what the height of the column lets expect: collapsed and bent columns keep their
processes (the same six CTs: -3 to +19 %, standard deviation 8 %)."""
_PROCESS_SIZES = tuple(PROCESS_SIZE_SD * deviations for deviations in (-2.0, -1.0, 0.0, 1.0, 2.0))

PROCESS_CUT_SHORT = {"L": 0.25, "T": 0.10}
"""How often an outlined process says nothing: thin lumbar ones are lost in noise and thick slices (ircadb1-01: 30 mm of 33 at L1).
Unverified: a choice; 0.4 gave the same names in eight columns."""
PROCESS_REACH_RANGE_MM = 35.0
"""Such reaches lie anywhere over this length (15 to 50 mm)."""
PROCESSES_MISLEAD = 0.10
"""Share of scans whose processes say nothing at all about levels (transitional vertebrae: one in nine people, 1340 CTs)."""

LEVEL_SD = 1.5
"""Standard deviation of the coarse network's level, in levels, all bodies together: its errors are common to a scan. Seen: root mean square
0.8 in 17 drawn columns and 1.0 in six real ones, at most 1.5; more is taken, as six are few."""

TYPICAL_STEP_MM: dict[str, float] = {
    **dict(zip(CERVICAL, (16.0, 17.0, 17.0, 17.0, 17.0, 17.5, 18.5), strict=True)),
    **dict(zip(THORACIC, (19.5, 20.5, 21.0, 21.5, 22.0, 22.5, 23.3, 24.2, 25.5, 27.3, 29.8, 32.4), strict=True)),
    **dict(zip(LUMBAR, (34.6, 35.8, 36.5, 36.3, 36.0), strict=True)),
}
"""Distance from a body's centre to the next one below, mm: T12-L5 from the VID data set, above from vertebra and disc heights of
women and men; cervical ones from general knowledge."""


def usual_step_mm(level_index: float) -> float:
    """Distance to the next body at a level counted from C1 = 0, as the coarse network gives it."""
    names = CERVICAL + THORACIC + LUMBAR
    return TYPICAL_STEP_MM[names[min(max(round(level_index), 0), len(names) - 1)]]


STEP_SIZE_SD, STEP_SHAPE_SD = 0.10, 0.12
"""Spread of the logarithm of the steps: common to one person (body size), and from level to level (VID: 8 %; collapse and errors of
the centres widen it)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ColumnEvidence:
    """What was seen of a chain of n bodies, cranial to caudal.

    Parameters
    ----------
    steps : (n - 1,) levels from each body to the next: 1, or 2 where a body between was missed.
    steps_mm : (n - 1,) centre distances, mm.
    sacrum_below : chance that the last body is the last lumbar one, by a sacrum right below it; 0 where none was seen.
    rib_probability : (n,) chance that a rib is attached, from its voxels; NaN where ribs could not be seen.
    rib_pair_probability : (n,) chance that ribs are attached on both sides; 0 where not both could be seen.
    last_rib_length_mm : length of the longer rib of the lowest body that bears one, as far as it is seen; NaN unknown.
    last_rib_whole : whether its tip is in view.
    shortest_last_rib_mm : length of the shortest rib of that body whose tip is in view; NaN where none is.
    level_index : (n,) the coarse network's level counted from C1 = 0 (T1 = 7, L1 = 19); NaN where it says nothing.
    process_reach_mm : (n,) how far the transverse processes reach to the side, mm; NaN where they are out of view.
    pedicle_distance_mm : (n,) how far apart the pedicle roots stand, mm; NaN where one is not seen.
    tilt_deg : (n - 1,) how far the line from each centre to the one above leans back, degrees.
    sacral_contact_mm2 : over how much the processes of the last body meet the wings of a sacrum, mm2.
    all_seen : whether every body was seen as one, none inferred from the distance of its neighbours.
    """

    steps: NDArray[np.int_]
    steps_mm: NDArray[np.float64]
    sacrum_below: float
    rib_probability: NDArray[np.float64]
    level_index: NDArray[np.float64]
    last_rib_length_mm: float = float("nan")
    last_rib_whole: bool = True
    shortest_last_rib_mm: float = float("nan")
    rib_pair_probability: NDArray[np.float64] | None = None
    process_reach_mm: NDArray[np.float64] | None = None
    pedicle_distance_mm: NDArray[np.float64] | None = None
    tilt_deg: NDArray[np.float64] | None = None
    sacral_contact_mm2: float = 0.0
    all_seen: bool = True

    @property
    def positions(self) -> NDArray[np.int_]:
        """Rank of each body below the first one."""
        return np.concatenate([[0], np.cumsum(self.steps)]).astype(int)


def _rib_seen(name: str) -> float:
    if name in RIB_SEEN:
        return RIB_SEEN[name]
    return {"C": RIB_SEEN_CERVICAL, "T": RIB_SEEN_THORACIC}.get(name[0], RIB_SEEN_LUMBAR)


def _rib_log_likelihood(name: str, rib: float, pair: float) -> float:
    """How well a rib, and another on the other side, hang on a level. Pairs tell cervical levels from thoracic ones only: at the lower end
    of the thorax ribs may be missing on one side."""
    expected = _rib_seen(name)
    if name in CERVICAL:
        rib, expected = max(rib, pair), (1 - pair) * expected + pair * CERVICAL_PAIR
    return log(rib * expected + (1 - rib) * (1 - expected))


def level_log_likelihood(names: tuple[str, ...], last: bool, evidence: ColumnEvidence) -> float:
    """How well the names fit all that was seen but the form of the column; ``last``: whether they end a column."""
    total = 0.0
    if evidence.sacrum_below > 0:
        total += np.log(evidence.sacrum_below if last else 1 - evidence.sacrum_below)
    pairs = np.zeros(len(names)) if evidence.rib_pair_probability is None else evidence.rib_pair_probability
    for name, rib, pair in zip(names, evidence.rib_probability, pairs, strict=True):
        if np.isfinite(rib):
            total += _rib_log_likelihood(name, float(rib), float(pair))
    lowest = last_bearing(evidence.rib_probability)
    if lowest is not None and np.isfinite(evidence.last_rib_length_mm):
        total += _rib_length_log_likelihood(names[lowest], evidence.last_rib_length_mm, evidence.last_rib_whole)
    ratios = _step_ratios(names, evidence)
    total += _step_log_likelihood(ratios) + _process_log_likelihood(names, evidence, _size(ratios))
    heard = np.isfinite(evidence.level_index)
    if heard.any():
        # T13 takes rank 19 as L1 does; the coarse network knows the usual column only.
        ranks = np.array([USUAL_RANK[name] for name in names])
        offset = float(np.median(evidence.level_index[heard] - ranks[heard]))
        total += -0.5 * min((offset / LEVEL_SD) ** 2, 16.0)
    return float(total)


def form_log_likelihood(ranks: NDArray[np.float64], evidence: ColumnEvidence, norms: ColumnNorms) -> float:
    """How well pedicles and lean fit levels of these ranks."""
    total = 0.0
    if evidence.pedicle_distance_mm is not None:
        total += pedicle_log_likelihood(norms, ranks, evidence.pedicle_distance_mm)
    if evidence.tilt_deg is not None:
        total += tilt_log_likelihood(norms, ranks, np.where(evidence.steps == 1, evidence.tilt_deg, np.nan))
    return total


def last_bearing(rib_probability: NDArray[np.float64]) -> int | None:
    """Index of the last body that bears a rib, where the one below it is seen to bear none."""
    bearing = np.flatnonzero(rib_probability > RIB_BORNE)
    seen_below = len(bearing) > 0 and bearing[-1] + 1 < len(rib_probability) and np.isfinite(rib_probability[bearing[-1] + 1])
    return int(bearing[-1]) if seen_below else None


def _rib_length_log_likelihood(name: str, length_mm: float, whole: bool) -> float:
    """How well a rib of this length hangs on a level; of one that leaves the view only that it is longer counts."""
    if name == "T13" or name[0] == "L":
        density, longer = float(length_mm <= LUMBAR_RIB_MM) / LUMBAR_RIB_MM, max(1 - length_mm / LUMBAR_RIB_MM, 0.0)
    else:
        mean, deviation = RIB_LENGTH_MM.get(name, HIGHER_RIB_LENGTH_MM)
        density = float(np.exp(-0.5 * ((length_mm - mean) / deviation) ** 2)) / (deviation * sqrt(2 * pi))
        longer = 0.5 * erfc((length_mm - mean) / (deviation * sqrt(2)))
        if name == "T12":
            short, short_longer = float(length_mm <= HYPOPLASTIC_RIB_MM) / HYPOPLASTIC_RIB_MM, max(1 - length_mm / HYPOPLASTIC_RIB_MM, 0.0)
            density = (1 - HYPOPLASTIC_SHARE) * density + HYPOPLASTIC_SHARE * short
            longer = (1 - HYPOPLASTIC_SHARE) * longer + HYPOPLASTIC_SHARE * short_longer
    return log(max(density, LEAST_LENGTH_LIKELIHOOD)) if whole else log(max(longer, LEAST_LONGER))


def _step_ratios(names: tuple[str, ...], evidence: ColumnEvidence) -> NDArray[np.float64]:
    """Logarithm of each step between neighbours over the usual one at these names; none over a body that was missed."""
    usual = evidence.steps == 1
    expected = np.array([TYPICAL_STEP_MM.get(name, 34.0) for name in names[:-1]])
    ratios: NDArray[np.float64] = np.clip(np.log(evidence.steps_mm[usual] / expected[usual]), -0.6, 0.6)
    return ratios


def _size(ratios: NDArray[np.float64]) -> float:
    """Logarithm of how large the person is against the usual one, drawn towards nothing unusual where few steps tell."""
    return float(ratios.sum() / (len(ratios) + (STEP_SHAPE_SD / STEP_SIZE_SD) ** 2))


def _step_log_likelihood(ratios: NDArray[np.float64]) -> float:
    """How well the centre distances fit the names, whatever the size of the person."""
    size = _size(ratios)
    return float(-0.5 * (size / STEP_SIZE_SD) ** 2 - 0.5 * np.minimum(((ratios - size) / STEP_SHAPE_SD) ** 2, 6.0).sum())


def _process_log_likelihood(names: tuple[str, ...], evidence: ColumnEvidence, size: float) -> float:
    """How well the transverse processes fit the names, beside bodies that bear no rib (its neck runs along the process).

    ``size`` is the logarithm of the person's size against the usual one: a small one has short processes at every level. What tells is
    how they change from level to level, so the processes' own size is left open within its spread.
    """
    if evidence.process_reach_mm is None:
        return 0.0
    told = np.flatnonzero(np.isfinite(evidence.process_reach_mm) & ~(evidence.rib_probability > RIB_BORNE))
    reach_mm = evidence.process_reach_mm[told]
    expected_mm = np.array([PROCESS_REACH_MM.get(names[index], HIGHER_PROCESS_REACH_MM) for index in told])
    cut_short = np.array([PROCESS_CUT_SHORT["L" if names[index][0] == "L" else "T"] for index in told])
    by_size = []
    for larger in _PROCESS_SIZES:
        away = (reach_mm - exp(size + larger) * expected_mm) / PROCESS_REACH_SD_MM
        seen = (1 - cut_short) * np.exp(-0.5 * away**2) / (PROCESS_REACH_SD_MM * sqrt(2 * pi))
        by_size.append(-0.5 * (larger / PROCESS_SIZE_SD) ** 2 + float(np.log(seen + cut_short / PROCESS_REACH_RANGE_MM).sum()))
    weight = log(sum(exp(-0.5 * (larger / PROCESS_SIZE_SD) ** 2) for larger in _PROCESS_SIZES))
    by_body = float(np.logaddexp.reduce(by_size)) - weight
    nothing = -len(told) * log(PROCESS_REACH_RANGE_MM)
    return float(np.logaddexp(log(1 - PROCESSES_MISLEAD) + by_body, log(PROCESSES_MISLEAD) + nothing))
