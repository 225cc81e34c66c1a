"""Which of two series is preferred, and what is said of the other."""

from dataclasses import replace

import pytest

from trabecula_morphometry.errors import InputError
from trabecula_service.choose.kernels import kernel_sharpness
from trabecula_service.choose.rules import SeriesFacts, default_rules, parse_rules, points, reasons_against

GOOD = SeriesFacts(
    slice_count=150,
    extent_mm=300.0,
    slice_step_mm=2.0,
    is_axial=True,
    is_original=True,
    is_lossy=False,
    is_even=True,
    is_monoenergetic=False,
    kernel="B30f",
    contrast_given=False,
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"extent_mm": 120.0}, "covers less of the body (120 mm)"),
        ({"slice_step_mm": 5.0}, "slices further apart (5 mm)"),
        ({"kernel": "B70f"}, "sharper or unknown kernel"),
        ({"is_axial": False}, "not axial"),
        ({"is_lossy": True}, "compressed with loss"),
        ({"is_original": False}, "derived images"),
        ({"is_even": False}, "uneven or missing slices"),
        ({"is_monoenergetic": True}, "virtual monoenergetic"),
        ({"contrast_given": True}, "contrast agent given"),
        ({"slice_count": 20}, "fewer slices"),
        ({}, "equal by the rules"),
    ],
)
def test_each_shortcoming_costs_points_and_is_named(change: dict[str, object], reason: str) -> None:
    other = replace(GOOD, **change)  # type: ignore[arg-type]
    assert points(other) <= points(GOOD)
    assert reasons_against(other, GOOD) == [reason]


def test_the_best_series_earns_all_points() -> None:
    assert points(GOOD) == default_rules().most_points == 145


def test_thin_bone_kernel_loses_to_5_mm_soft_but_wins_over_8_mm() -> None:
    thin_bone = replace(GOOD, slice_step_mm=1.0, kernel="BONE")
    assert points(thin_bone) < points(replace(GOOD, slice_step_mm=5.0))
    assert points(thin_bone) > points(replace(GOOD, slice_step_mm=8.0))


SOFT = ("STANDARD", "SOFT", "B30f", "Br38f", "I31f", "FC08", "B")
SHARP = ("BONE", "BONEPLUS", "LUNG", "B70f", "Br64d", "FC30", "YA")
UNKNOWN = ("", "59 .10.AB50", "whatever")


@pytest.mark.parametrize(
    ("kernel", "sharpness"),
    [(kernel, group) for group, kernels in (("soft", SOFT), ("sharp", SHARP), ("unknown", UNKNOWN)) for kernel in kernels],
)
def test_kernel_groups(kernel: str, sharpness: str) -> None:
    assert kernel_sharpness(kernel) == sharpness


ONE_RULE = '[[rule]]\nname = "thin"\nfact = "slice_step_mm"\npoints = 7\nup_to = [[1.0, 1.0], [2.0, 0.5]]\nsaid = "thick"\n'


@pytest.mark.parametrize(("step_mm", "earned"), [(0.6, 7.0), (1.0, 7.0), (1.5, 3.5), (2.004, 3.5), (3.0, 0.0)])
def test_a_sites_own_rules_take_the_place_of_ours(step_mm: float, earned: float) -> None:
    rules = parse_rules(ONE_RULE, "site.toml")
    series = replace(GOOD, slice_step_mm=step_mm)
    assert points(series, rules) == earned
    assert rules.most_points == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rule = [", "not valid TOML"),
        ("", "rule: Field required"),
        (ONE_RULE.replace("slice_step_mm", "patient_name"), "rule.1.fact"),
        (ONE_RULE.replace("points = 7", "points = -1"), "rule.1.points"),
        (ONE_RULE.replace("points", "ponits"), "rule.1.p"),
        (ONE_RULE.replace("up_to", "full_at = 3\nup_to"), "one of full_at, up_to and values"),
        (ONE_RULE.replace("slice_step_mm", "is_axial"), "a word takes values"),
        (ONE_RULE.replace("[1.0, 1.0], [2.0, 0.5]", "[2.0, 0.5], [1.0, 1.0]"), "must grow"),
        (ONE_RULE + ONE_RULE, "same name"),
    ],
)
def test_a_wrong_rule_is_named(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_rules(text, "site.toml")
