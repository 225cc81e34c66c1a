"""Rates the series and acquisitions of an input by declared rules and says why one was preferred (pure but for the rules' own file)."""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trabecula_morphometry.errors import InputError
from trabecula_service.choose.kernels import Sharpness, kernel_sharpness

_LIMIT_TOLERANCE = 0.01
"""Slices of 5 mm are written as 4.998 or 5.002."""

Fact = Literal[
    "extent_mm",
    "slice_step_mm",
    "slice_count",
    "kernel_sharpness",
    "is_axial",
    "is_original",
    "is_lossy",
    "is_even",
    "is_monoenergetic",
    "contrast_given",
]
_NUMBERS = frozenset({"extent_mm", "slice_step_mm", "slice_count"})
Share = Annotated[float, Field(ge=0, le=1)]


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

    @property
    def kernel_sharpness(self) -> Sharpness:
        """Group of the kernel."""
        return kernel_sharpness(self.kernel or "")


def _word(value: object) -> str:
    return value if isinstance(value, str) else {True: "yes", False: "no"}.get(value, "unknown")  # type: ignore[call-overload]


class Rule(BaseModel):
    """One criterion: which fact, how many points, which share of them a value earns, and what is said of a series that earns less."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=40)
    fact: Fact
    points: float = Field(gt=0, le=1000)
    said: str = Field(min_length=1, max_length=80)
    full_at: float | None = Field(default=None, gt=0)
    up_to: tuple[tuple[float, Share], ...] = ()
    values: dict[str, Share] = {}

    @model_validator(mode="after")
    def _one_way_to_a_share(self) -> Self:
        given = [self.full_at is not None, bool(self.up_to), bool(self.values)]
        if sum(given) != 1:
            raise ValueError(f'rule "{self.name}" needs one of full_at, up_to and values')
        if bool(self.values) == (self.fact in _NUMBERS):
            raise ValueError(f'rule "{self.name}": a number takes full_at or up_to, a word takes values')
        if list(self.up_to) != sorted(self.up_to):
            raise ValueError(f'rule "{self.name}": the limits of up_to must grow')
        return self

    def share(self, facts: SeriesFacts) -> float:
        """The share of the points, 0 to 1."""
        value = getattr(facts, self.fact)
        if self.values:
            return self.values.get(_word(value), 0.0)
        if self.full_at is not None:
            return min(max(float(value), 0.0) / self.full_at, 1.0)
        return next((share for limit, share in self.up_to if value <= limit + _LIMIT_TOLERANCE), 0.0)

    def earned(self, facts: SeriesFacts) -> float:
        """The points of a series."""
        return self.points * self.share(facts)

    def shortcoming(self, facts: SeriesFacts) -> str:
        """What is said of a series that earns less than another."""
        if self.fact not in _NUMBERS:
            return self.said
        value = float(getattr(facts, self.fact))
        number = f"{value:.0f}" if value >= 10 else f"{value:.2g}"
        return f"{self.said} ({number}{' mm' if self.fact.endswith('_mm') else ''})"


class ChoiceRules(BaseModel):
    """The rules in their order, as a TOML file holds them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [rule.name for rule in self.rule]
        if len(set(names)) < len(names):
            raise ValueError("two rules have the same name")
        return self

    @property
    def most_points(self) -> float:
        """What a series without shortcoming earns."""
        return sum(rule.points for rule in self.rule)


@lru_cache(maxsize=1)
def default_rules() -> ChoiceRules:
    """The rules of the package."""
    return parse_rules(files("trabecula_service.choose").joinpath("rules.toml").read_text(encoding="utf-8"), "rules.toml")


def read_rules(path: Path | None) -> ChoiceRules:
    """A site's rules, or those of the package where none are named.

    Raises
    ------
    InputError : the file is missing, no TOML, or holds what is no rule.
    """
    if path is None:
        return default_rules()
    try:
        return parse_rules(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the file of series rules cannot be read", where=path.name, hint="check its path") from error


def parse_rules(text: str, where: str) -> ChoiceRules:
    """Rules from TOML.

    Raises
    ------
    InputError : no TOML, or what is no rule; the message names the entry.
    """
    try:
        return ChoiceRules.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError("the series rules are not valid TOML", where=where, hint=str(error)) from error
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part + 1) if isinstance(part, int) else part for part in wrong["loc"]) or "file"
        raise InputError(f"the series rules are wrong at {place}: {wrong['msg']}", where=where, hint="see docs/series-choice.md") from error


def points(facts: SeriesFacts, rules: ChoiceRules | None = None) -> float:
    """Sum of all rules; more is better."""
    return sum(rule.earned(facts) for rule in (rules or default_rules()).rule)


def reasons_against(other: SeriesFacts, chosen: SeriesFacts, rules: ChoiceRules | None = None, *, most: int = 3) -> list[str]:
    """Why ``other`` was not preferred to ``chosen``: the heaviest shortcomings first."""
    lost = [(rule.earned(chosen) - rule.earned(other), rule.shortcoming(other)) for rule in (rules or default_rules()).rule]
    found = [text for weight, text in sorted(lost, key=lambda pair: -pair[0]) if weight > 0.05]
    if not found and other.slice_count < chosen.slice_count:
        return ["fewer slices"]
    return found[:most] or ["equal by the rules"]
