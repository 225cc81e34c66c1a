"""One column of level names from several stacks of one spine, each named by itself (pure).

Neighbouring stacks are tied to each other by the bodies that both show or, without such, by the distance between the last body of the
upper and the first of the lower one. That fixes how their numberings lie to each other; the stack that is sure of its names (a sacrum,
a last rib) then names the whole. Every body is listed once, cranial to caudal, from the stack that shows it better.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trabecula_models.level_evidence import TYPICAL_STEP_MM
from trabecula_morphometry.levels import LEVELS_IN_ORDER
from trabecula_morphometry.vertebra import PointLps

SAME_BODY, SAME_CUT_BODY = 0.45, 0.62
"""Share of the step to the next body within which two centres are one body: half a step would touch its neighbour. The two seen parts of
a cut body have their middles up to half a body height (0.4 steps) apart, whichever share of it each shows."""

STEP_TOLERANCE = 0.3
"""Without a common body the distance must be a whole number of steps within this share of one: neighbouring steps differ by less than a
third (``column.GAP_RATIO``)."""

MOST_STEPS = 2
"""Over more steps than this without a body between them the count is a guess."""

UNSEEN_PROBABILITY, UNSEEN_BY_A_CERTAIN_STACK = 0.005, 0.002
"""Probability of a shift that a stack does not list among its alternatives: they are listed from 0.01 on, so it is below that, and lower
where the stack is sure of its names."""

CERTAIN_PROBABILITY = 0.93
"""As for the names of one stack (``naming.CERTAIN_PROBABILITY``)."""

LEAST_STEP_MM = 5.0
"""Bodies whose middles are nearer than this along the body, or in the wrong order, are not two bodies of one column; even a crushed one
between crushed neighbours is farther away."""

_USUAL_STEP_MM = 34.0
"""Of T13 and L6, which the table of steps does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackLevel:
    """One body as one stack shows it. ``quality`` orders several views of the same body, more is better."""

    name: str
    center_lps_mm: PointLps
    complete: bool
    quality: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedStack:
    """The bodies of one stack, cranial to caudal, and how sure it is of their names.

    ``alternatives`` are shifts of all names (+1 = one level down) with their probabilities.
    """

    levels: tuple[StackLevel, ...]
    certain: bool
    alternatives: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedLevel:
    """A level of the whole column: its name, and which level of which stack it is."""

    name: str
    stack: int
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedNames:
    """The whole column, cranial to caudal.

    ``shifts`` says per stack by how many levels its names were moved, ``probability`` how probable the names are among the readings that
    the stacks allow, ``alternatives`` the other ones. ``left_out`` counts bodies that fit nowhere in the order.
    """

    levels: tuple[JoinedLevel, ...]
    certain: bool
    shifts: tuple[int, ...]
    probability: float
    alternatives: Mapping[int, float]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class _Tie:
    """How the places of a lower stack lie to those of the upper one, and whether that is beyond doubt."""

    offset: int
    sure: bool


def join_names(stacks: Sequence[NamedStack]) -> JoinedNames:
    """The levels of all stacks as one column; without any level an empty one.

    Parameters
    ----------
    stacks : in any order; the indices of the answer are those of this list.
    """
    shown = [index for index, stack in enumerate(stacks) if stack.levels]
    order = sorted(shown, key=lambda index: -float(np.mean([level.center_lps_mm[2] for level in stacks[index].levels])))
    if not order:
        return JoinedNames(levels=(), certain=False, shifts=(0,) * len(stacks), probability=0.0, alternatives={})
    columns = _columns(stacks)
    ties = [_tie(stacks[upper], stacks[lower], columns[upper], columns[lower]) for upper, lower in pairwise(order)]
    # Place of a stack's own rank in the ranks of the uppermost stack.
    offsets = dict(zip(order, np.cumsum([0, *(tie.offset for tie in ties)]).tolist(), strict=True))
    readings = _readings(stacks, offsets)
    best = max(readings, key=lambda shift: (readings[shift], -abs(shift)))
    shifts = {index: offsets[index] + best for index in order}
    anchor = max(order, key=lambda index: (shifts[index] == 0, stacks[index].certain, _probability(stacks[index], 0), index))
    names = columns[anchor] if shifts[anchor] == 0 else [name for name in LEVELS_IN_ORDER if name != "T13"]
    placed: dict[int | None, list[tuple[int, int]]] = defaultdict(list)
    for index in order:
        for number, level in enumerate(stacks[index].levels):
            placed[_place(level.name, shifts[index], columns[index], names)].append((index, number))
    beyond = len(placed.pop(None, []))
    levels, dropped = _in_order(stacks, {place: views for place, views in placed.items() if place is not None}, names)
    left_out = beyond + dropped
    named_by = [index for index in order if shifts[index] == 0 and stacks[index].certain]
    denied = [index for index in order if shifts[index] != 0 and stacks[index].certain]
    certain = bool(named_by) and not denied and all(tie.sure for tie in ties) and left_out == 0
    certain = certain and readings[best] >= CERTAIN_PROBABILITY
    return JoinedNames(
        levels=levels,
        certain=certain,
        shifts=tuple(shifts.get(index, 0) for index in range(len(stacks))),
        probability=readings[best],
        alternatives={shift - best: weight for shift, weight in readings.items() if shift != best and weight >= 0.01},
        left_out=left_out,
    )


def _columns(stacks: Sequence[NamedStack]) -> list[list[str]]:
    """The levels that each stack's names count along.

    T13 is one of them where the stack has one, or where another has and this one shows too little to contradict.
    """
    anywhere = any("T13" in _names(stack) for stack in stacks)
    columns = []
    for stack in stacks:
        ranks = [LEVELS_IN_ORDER.index(name) for name in _names(stack)]
        spans = bool(ranks) and min(ranks) <= LEVELS_IN_ORDER.index("T12") and max(ranks) >= LEVELS_IN_ORDER.index("L1")
        has_t13 = "T13" in _names(stack) or (anywhere and not spans)
        columns.append([name for name in LEVELS_IN_ORDER if name != "T13" or has_t13])
    return columns


def _names(stack: NamedStack) -> list[str]:
    return [level.name for level in stack.levels]


def _place(name: str, shift: int, own: Sequence[str], names: Sequence[str]) -> int | None:
    """Place of a name in the column that names the whole; None beyond its ends."""
    if shift == 0:
        return names.index(name) if name in names else None
    place = own.index(name) + shift
    return place if 0 <= place < len(names) else None


def _probability(stack: NamedStack, shift: int) -> float:
    unseen = UNSEEN_BY_A_CERTAIN_STACK if stack.certain else UNSEEN_PROBABILITY
    return max(1.0 - sum(stack.alternatives.values()) if shift == 0 else stack.alternatives.get(shift, 0.0), unseen)


def _readings(stacks: Sequence[NamedStack], offsets: Mapping[int, int]) -> dict[int, float]:
    """Probability of each shift of the uppermost stack's ranks, all stacks together."""
    shifts = {own - offset for index, offset in offsets.items() for own in (0, *stacks[index].alternatives)}
    weights = {
        shift: float(np.prod([_probability(stacks[index], shift + offset) for index, offset in offsets.items()])) for shift in shifts
    }
    total = sum(weights.values())
    return {shift: weight / total for shift, weight in weights.items()}


def _tie(upper: NamedStack, lower: NamedStack, above: Sequence[str], below: Sequence[str]) -> _Tie:
    votes: dict[int, float] = defaultdict(float)
    for i, j in _common_bodies(upper, lower):
        offset = above.index(upper.levels[i].name) - below.index(lower.levels[j].name)
        votes[offset] += 1.0 if upper.levels[i].complete and lower.levels[j].complete else 0.5
    if votes:
        best = max(votes, key=lambda offset: (votes[offset], -abs(offset)))
        return _Tie(best, sure=len(votes) == 1)
    last, first = upper.levels[-1], lower.levels[0]
    step_mm = 0.5 * (_step_mm(upper, len(upper.levels) - 1) + _step_mm(lower, 0))
    steps = float(np.linalg.norm(np.subtract(last.center_lps_mm, first.center_lps_mm))) / step_mm
    downwards = last.center_lps_mm[2] > first.center_lps_mm[2]
    count = max(round(steps), 1)
    sure = downwards and count <= MOST_STEPS and abs(steps - count) <= STEP_TOLERANCE
    return _Tie(above.index(last.name) + (count if downwards else -count) - below.index(first.name), sure=sure)


def _common_bodies(upper: NamedStack, lower: NamedStack) -> list[tuple[int, int]]:
    """Pairs of levels that are the same body, nearest first, each body once."""
    near = []
    for i, one in enumerate(upper.levels):
        for j, other in enumerate(lower.levels):
            distance = float(np.linalg.norm(np.subtract(one.center_lps_mm, other.center_lps_mm)))
            if _is_same((upper, lower), (0, i), (1, j)):
                near.append((distance, i, j))
    pairs: list[tuple[int, int]] = []
    for _, i, j in sorted(near):
        if all(i != known and j != partner for known, partner in pairs):
            pairs.append((i, j))
    return pairs


def _is_same(stacks: Sequence[NamedStack], one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two views are near enough to be of one body."""
    (a, i), (b, j) = one, other
    first, second = stacks[a].levels[i], stacks[b].levels[j]
    distance = float(np.linalg.norm(np.subtract(first.center_lps_mm, second.center_lps_mm)))
    share = SAME_BODY if first.complete and second.complete else SAME_CUT_BODY
    return distance <= share * min(_step_mm(stacks[a], i), _step_mm(stacks[b], j))


def _step_mm(stack: NamedStack, number: int) -> float:
    """Distance to the neighbours at a level: measured between whole bodies where there are such, else the usual one."""
    level = stack.levels[number]
    around = [
        float(np.linalg.norm(np.subtract(level.center_lps_mm, stack.levels[other].center_lps_mm)))
        for other in (number - 1, number + 1)
        if 0 <= other < len(stack.levels) and level.complete and stack.levels[other].complete
    ]
    usual = TYPICAL_STEP_MM.get(level.name, _USUAL_STEP_MM)
    # A body that was missed between two makes a double step.
    return float(np.clip(np.mean(around), 0.6 * usual, 1.5 * usual)) if around else usual


def _in_order(
    stacks: Sequence[NamedStack], placed: Mapping[int, list[tuple[int, int]]], names: Sequence[str]
) -> tuple[tuple[JoinedLevel, ...], int]:
    """The better view of each level, and of those only bodies that lie one below the other; how many bodies had to go."""
    best = {place: max(views, key=lambda view: (stacks[view[0]].levels[view[1]].quality, -view[0])) for place, views in placed.items()}
    kept: list[tuple[int, tuple[int, int]]] = []
    for place in sorted(best):
        view = best[place]
        while kept and not _is_below(stacks, kept[-1][1], view):
            if _quality(stacks, kept[-1][1]) >= _quality(stacks, view):
                break
            kept.pop()
        if not kept or _is_below(stacks, kept[-1][1], view):
            kept.append((place, view))
    levels = tuple(JoinedLevel(name=names[place], stack=stack, level=level) for place, (stack, level) in kept)
    # Two views under one name that lie too far apart are two bodies, and one of them is not in the list.
    elsewhere = sum(not _is_same(stacks, best[place], view) for place, views in placed.items() for view in views if view != best[place])
    return levels, len(best) - len(kept) + elsewhere


def _is_below(stacks: Sequence[NamedStack], upper: tuple[int, int], lower: tuple[int, int]) -> bool:
    (a, i), (b, j) = upper, lower
    return stacks[a].levels[i].center_lps_mm[2] - stacks[b].levels[j].center_lps_mm[2] >= LEAST_STEP_MM


def _quality(stacks: Sequence[NamedStack], view: tuple[int, int]) -> tuple[float, ...]:
    return stacks[view[0]].levels[view[1]].quality
