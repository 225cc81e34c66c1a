"""Which of two series is preferred, and what is said of the other."""

from dataclasses import replace

import pytest

from trabecula_service.choose.kernels import kernel_sharpness
from trabecula_service.choose.rules import RULES, SeriesFacts, points, reasons_against

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
    assert points(GOOD) == sum(rule.weight for rule in RULES)


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
