"""Level names as one decision over the whole column.

The order of the bodies is known (they hang in a chain), so a name can only be wrong by a shift. Every plan of the column (usual, L6,
T13, ...) at every shift is scored against all that was seen (sacrum below, ribs and transverse processes beside, distances, pedicles and
lean, the coarse network's level), which gives a probability per reading. Names follow the most probable one; the others are kept as
alternatives, and the decision says it is uncertain unless one reading clearly wins on the strength of an anchor.
"""

from dataclasses import dataclass, field
from math import log

import numpy as np
from numpy.typing import NDArray

from trabecula_models.column_norms import ColumnNorms, column_norms
from trabecula_models.level_evidence import (
    CERVICAL,
    LUMBAR,
    RIB_BORNE,
    THORACIC,
    USUAL_RANK,
    ColumnEvidence,
    form_log_likelihood,
    last_bearing,
    level_log_likelihood,
)
from trabecula_models.segmentation import NameAlternative, NameDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlan:
    """A possible column: its level names, cranial to caudal, and how common it is.

    ``looks_like`` gives the rank in the usual column (L1 = 19) whose pedicles and lean a level has, where its name would mislead.
    """

    names: tuple[str, ...]
    prior: float
    variant: str | None = None
    looks_like: dict[str, float] = field(default_factory=dict)

    def shape_ranks(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        """Ranks (n,) that some of the plan's levels look like."""
        return np.array([self.looks_like.get(name, USUAL_RANK[name]) for name in names])


_LAST_OF_SIX = {"L5": 22.4, "L6": 23.5}
"""By the pedicles of the 47 scans with L6 in the VID data set: 40.7 and 55.8 mm apart, L4 and L5 of the others 36.7 and 48.1 mm; L1 to L4
are alike."""
_FOUR_FOR_FIVE = {"L1": 19.0, "L2": 20.3, "L3": 21.7, "L4": 23.0}
"""Four lumbar levels spread over the usual five: the last one carries the sacrum. Unverified, no table of such columns found."""

COLUMN_PLANS: tuple[ColumnPlan, ...] = (
    # Shares: 24 + 1 mobile vertebrae 18 of 418, 24 - 1 14 of 418 (Tins 2016); 11 pairs of ribs 8 %, 13 pairs 0.4 % of 1340 CTs.
    ColumnPlan(names=CERVICAL + THORACIC + LUMBAR, prior=0.90),
    ColumnPlan(names=(*CERVICAL, *THORACIC, *LUMBAR, "L6"), prior=0.043, variant="L6", looks_like=_LAST_OF_SIX),
    ColumnPlan(names=CERVICAL + THORACIC + LUMBAR[:-1], prior=0.034, variant="four_lumbar", looks_like=_FOUR_FOR_FIVE),
    ColumnPlan(names=(*CERVICAL, *THORACIC, "T13", *LUMBAR), prior=0.004, variant="T13"),
    ColumnPlan(names=CERVICAL + THORACIC[:-1] + LUMBAR, prior=0.015, variant="T11_last"),
)

SACRUM_ANCHOR_PROBABILITY = 0.9
"""A sacrum seen less surely than this counts in the reading, but is not named as what the names were counted from."""

SHORT_RIB_MM = 45.0
"""Where the last body with ribs has one shorter than this, its name is a matter of convention: to VerSe'20 the first vertebra whose ribs
are both under 40 mm is L1, to others a T12 with short ribs, and a thirteenth rib looks the same. One side is enough: a rudimentary pair
can be long on the other (held-out T13 79 and 99: 35 and 40 mm beside 82 and 77). 5 mm are added for the outline. Names are not certain
then, unless the ribs were counted from the first one down."""

SHORT_LAST_RIB, T12_WITHOUT_RIBS = "short_last_rib", "T12_without_ribs"
"""The second, too, is a matter of convention: to VerSe'20 a twelfth vertebra without ribs is the first of six lumbar ones."""

SACRALISED = "sacralised_L5"

SACRAL_CONTACT_MM2 = 20.0
"""A last vertebra that meets the wing of the sacrum over more than this may be joined to it: 34 to 104 mm2 in five of seven drawn columns
that are (none in the other two, in 5 mm slices), none in six that are not, 0 to 7 in three real ones; later, 22 to 94 in 5 of 60 that are
not. One in nine people has a transitional vertebra, and whether it is called L5 or S1 is a matter of counting from above: names are not
certain then, unless the ribs were counted from the first one down."""

FORM_MISLEADS = 0.05
"""Share of columns whose pedicles and lean say nothing: transitional vertebrae (one in nine people), poor outlines. It bounds what form can
say for a reading to a factor of 20. Unverified: a choice."""

FORM_CONTRADICTS = 5.0
"""Names are not certain where the column's form is this much (in log likelihood) more like that of another reading: a body may have been
missed or counted twice (10.8 in a held-out column with two bodies under one peak; at most 3.8 in 31 named rightly and certain)."""

CERTAIN_PROBABILITY, LEAST_EXACT_PROBABILITY = 0.93, 0.85
"""Names are called certain when readings shifted by a level share less than the rest of the first, and the exact list has the second."""

ALTERNATIVE_PROBABILITY, UNLISTED_PROBABILITY = 0.01, 0.001
"""Readings are listed from the first on; where names are open and none reaches it, both neighbours are, with at least the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedColumn:
    """Names of the chain's bodies with a confidence each, and how they were decided."""

    names: tuple[str, ...]
    confidence: tuple[float, ...]
    decision: NameDecision


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Reading:
    """A possible list of names with its log probability, and how well the column's form alone fits it (log, against the best one)."""

    log_probability: float
    names: tuple[str, ...]
    plan: ColumnPlan
    form: float


def _readings(evidence: ColumnEvidence, norms: ColumnNorms) -> list[_Reading]:
    """All readings that the chain's length allows."""
    positions = evidence.positions
    found = []
    for plan in COLUMN_PLANS:
        for first in range(len(plan.names) - int(positions[-1])):
            names = tuple(plan.names[first + p] for p in positions)
            last = first + int(positions[-1]) == len(plan.names) - 1
            # A scan says nothing of variants outside it: their prior counts only where the reading shows them.
            found.append((log(plan.prior) + level_log_likelihood(names, last, evidence), names, plan))
    forms = np.array([form_log_likelihood(plan.shape_ranks(names), evidence, norms) for _, names, plan in found])
    forms -= forms.max(initial=-np.inf)
    # A form that misleads fits every reading as well as it fits the best.
    bounded = np.logaddexp(log(1 - FORM_MISLEADS) + forms, log(FORM_MISLEADS))
    return [
        _Reading(log_probability=likelihood + float(limited), names=names, plan=plan, form=float(form))
        for (likelihood, names, plan), form, limited in zip(found, forms, bounded, strict=True)
    ]


def name_column(evidence: ColumnEvidence, norms: ColumnNorms | None = None) -> NamedColumn:
    """The most probable names of a chain, each level once and in order, and how sure they are.

    Parameters
    ----------
    evidence : what was seen.
    norms : what columns look like; default: the norms that come with the package.

    Raises
    ------
    ValueError : the chain is longer than any column (more than 25 levels).
    """
    readings = _readings(evidence, norms or column_norms())
    if not readings:
        raise ValueError("the chain is longer than a human column")
    logs = np.array([reading.log_probability for reading in readings])
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    by_names: dict[tuple[str, ...], float] = {}
    for weight, reading in zip(weights, readings, strict=True):
        by_names[reading.names] = by_names.get(reading.names, 0.0) + float(weight)
    best = max(by_names, key=lambda names: by_names[names])
    chosen = max((reading for reading in readings if reading.names == best), key=lambda reading: reading.log_probability)
    plan = chosen.plan
    ranks = np.array([USUAL_RANK[name] for name in best])
    shifts: dict[int, float] = {}
    for names, weight in by_names.items():
        shift = int(np.rint(np.median([USUAL_RANK[name] for name in names] - ranks)))
        if names != best:
            shifts[shift] = shifts.get(shift, 0.0) + weight
    confidence = tuple(float(sum(weight for names, weight in by_names.items() if names[index] == name)) for index, name in enumerate(best))
    anchors = _anchors(best, evidence)
    shown_variant = plan.variant if _shows_variant(best, plan, evidence) else None
    # Readings that move no lumbar name (a 12th vertebra without ribs called T11 or L1 at the top) show in the levels' own confidence.
    moved = sum(weight for shift, weight in shifts.items() if shift != 0)
    sure = 1.0 - moved >= CERTAIN_PROBABILITY and by_names[best] >= LEAST_EXACT_PROBABILITY
    open_last_rib = _open_last_rib(best, anchors, evidence)
    joined = _joined_to_sacrum(best, anchors, evidence)
    usual = shown_variant is None and ((open_last_rib is None and joined is None) or "first_rib" in anchors)
    # One in thirteen people has 23 or 25 mobile vertebrae, one in twelve 11 or 13 pairs of ribs (Tins 2016; 1340 CTs): from the sacrum
    # alone, or from the last rib alone, the count may be off by one.
    counted = "first_rib" in anchors or {"sacrum", "last_rib"} <= set(anchors)
    whole = evidence.all_seen and bool((evidence.steps == 1).all()) and chosen.form > -FORM_CONTRADICTS
    certain = sure and counted and usual and whole
    alternatives = tuple(
        NameAlternative(shift=shift, probability=round(weight, 4))
        for shift, weight in sorted(shifts.items(), key=lambda item: -item[1])
        if weight >= ALTERNATIVE_PROBABILITY and shift != 0
    )
    if not certain and not alternatives:
        # Open for a reason that is no reading here (a convention, a body missed): the neighbours are named with what they have.
        alternatives = tuple(
            NameAlternative(shift=shift, probability=max(round(shifts.get(shift, 0.0), 4), UNLISTED_PROBABILITY)) for shift in (-1, 1)
        )
    variants = tuple(variant for variant in (shown_variant, open_last_rib, joined) if variant)
    decision = NameDecision(certain=certain, anchors=anchors, variants=variants, alternatives=alternatives)
    return NamedColumn(names=best, confidence=confidence, decision=decision)


def _anchors(names: tuple[str, ...], evidence: ColumnEvidence) -> tuple[str, ...]:
    """What the names were counted from."""
    anchors = []
    if evidence.sacrum_below >= SACRUM_ANCHOR_PROBABILITY:
        anchors.append("sacrum")
    ribs = evidence.rib_probability
    if last_bearing(ribs) is not None:
        anchors.append("last_rib")
    with_rib = np.flatnonzero(ribs > RIB_BORNE)
    # The body above must be seen to bear none: beside one cut by the top of the image ribs may only be out of view.
    if len(with_rib) and with_rib[0] > 0 and np.isfinite(ribs[with_rib[0] - 1]) and names[with_rib[0]] == "T1":
        anchors.append("first_rib")
    return tuple(anchors)


def _open_last_rib(names: tuple[str, ...], anchors: tuple[str, ...], evidence: ColumnEvidence) -> str | None:
    """What makes the name of the last body with ribs, or of the first without, a matter of convention; None where nothing does."""
    if "last_rib" not in anchors:
        return None
    if evidence.shortest_last_rib_mm < SHORT_RIB_MM:
        return SHORT_LAST_RIB
    bare = {name for name, rib in zip(names, evidence.rib_probability, strict=True) if rib <= RIB_BORNE}
    return T12_WITHOUT_RIBS if "T12" in bare else None


def _joined_to_sacrum(names: tuple[str, ...], anchors: tuple[str, ...], evidence: ColumnEvidence) -> str | None:
    """Whether a fifth lumbar vertebra is seen to be joined to the sacrum below it; it could as well be called S1."""
    seen = "sacrum" in anchors and names[-1] == "L5" and evidence.sacral_contact_mm2 > SACRAL_CONTACT_MM2
    return SACRALISED if seen else None


def _shows_variant(names: tuple[str, ...], plan: ColumnPlan, evidence: ColumnEvidence) -> bool:
    """Whether the variant of a plan can be seen in this chain, or only happens to fit."""
    if plan.variant in ("L6", "T13"):
        return plan.variant in names
    if plan.variant == "four_lumbar":
        return evidence.sacrum_below >= SACRUM_ANCHOR_PROBABILITY and names[-1] == "L4"
    return plan.variant == "T11_last" and {"T11", "L1"} <= set(names)
