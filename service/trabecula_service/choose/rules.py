"""Rates the series and acquisitions of an input and says why one was preferred (pure).

Each rule gives a share of its points. The points are a judgement, written down here so that the same input always gives the same choice.
"""

from collections.abc import Callable
from dataclasses import dataclass

from trabecula_service.choose.kernels import kernel_sharpness


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """What the rules ask of a series (or of one acquisition of it).

    ``extent_mm`` is the reach from the lowest to the highest point along the body, ``slice_step_mm`` the usual distance between slices.
    ``contrast_given`` is None where the header does not say.
    """

    slice_count: int
    extent_mm: float
    slice_step_mm: float
    is_axial: bool
    is_original: bool
    is_lossy: bool
    is_even: bool
    is_monoenergetic: bool
    kernel: str | None
    contrast_given: bool | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One criterion: how much it weighs, which share of it a series earns, and what is said of a series that earns less."""

    weight: float
    share: Callable[[SeriesFacts], float]
    shortcoming: Callable[[SeriesFacts], str]


COVERAGE_ENOUGH_MM = 300.0
"""Thoracolumbar junction to sacrum and the lower chest; more adds little."""


def _spacing_share(facts: SeriesFacts) -> float:
    # The limits are those that decide what may be measured at all (design decision 14).
    return next((share for limit, share in ((3.0, 1.0), (5.0, 0.6), (10.0, 0.3)) if facts.slice_step_mm <= limit + 0.01), 0.0)


def _kernel_share(facts: SeriesFacts) -> float:
    return {"soft": 1.0, "unknown": 0.6, "sharp": 0.0}[kernel_sharpness(facts.kernel or "")]


RULES: tuple[Rule, ...] = (
    Rule(30, lambda f: min(f.extent_mm / COVERAGE_ENOUGH_MM, 1.0), lambda f: f"covers less of the body ({f.extent_mm:.0f} mm)"),
    Rule(30, _spacing_share, lambda f: f"slices further apart ({f.slice_step_mm:.2g} mm)"),
    Rule(20, _kernel_share, lambda f: "sharper or unknown kernel"),
    Rule(15, lambda f: float(f.is_axial), lambda f: "not axial"),
    Rule(15, lambda f: float(not f.is_lossy), lambda f: "compressed with loss"),
    Rule(10, lambda f: float(f.is_original), lambda f: "derived images"),
    Rule(10, lambda f: float(f.is_even), lambda f: "uneven or missing slices"),
    Rule(10, lambda f: float(not f.is_monoenergetic), lambda f: "virtual monoenergetic"),
    Rule(5, lambda f: {False: 1.0, None: 0.5, True: 0.0}[f.contrast_given], lambda f: "contrast agent given"),
)


def points(facts: SeriesFacts) -> float:
    """Sum of all rules, 0 to 145; more is better."""
    return sum(rule.weight * rule.share(facts) for rule in RULES)


def reasons_against(other: SeriesFacts, chosen: SeriesFacts, most: int = 3) -> list[str]:
    """Why ``other`` was not preferred to ``chosen``: the heaviest shortcomings first."""
    lost = [(rule.weight * (rule.share(chosen) - rule.share(other)), rule.shortcoming(other)) for rule in RULES]
    found = [text for weight, text in sorted(lost, key=lambda pair: -pair[0]) if weight > 0.05]
    if not found and other.slice_count < chosen.slice_count:
        return ["fewer slices"]
    return found[:most] or ["equal by the rules"]
