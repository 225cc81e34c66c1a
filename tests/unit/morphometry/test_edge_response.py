"""The outer face of a blurred endplate, on profiles whose face is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from trabecula_morphometry.edge_response import PlateModel, expected_sigma_mm, fit_edge_response

STEP_MM = 0.05
WIDE_MM = np.arange(-9.0, 9.0 + STEP_MM / 2, STEP_MM)


def profile(*, plate_mm: float, plate_hu: float, sigma_mm: float, gap_mm: float = 8.0, inner_hu: float = 120.0) -> np.ndarray:
    """A painted endplate whose outer face lies at 0, blurred: body, plate, disc of 80 HU, and the next vertebra."""
    sharp = np.select(
        [-plate_mm >= WIDE_MM, WIDE_MM <= 0, gap_mm >= WIDE_MM, gap_mm + plate_mm >= WIDE_MM],
        [inner_hu, plate_hu, 80.0, plate_hu],
        inner_hu,
    )
    return ndimage.gaussian_filter1d(sharp.astype(float), sigma_mm / STEP_MM, mode="nearest")


def face_found_mm(hu: np.ndarray, sigma_mm: float) -> tuple[float, float]:
    """Place of the steepest fall near the face, and of the face that the fit says."""
    near = np.abs(WIDE_MM) < 3
    steepest = float(WIDE_MM[near][np.gradient(hu)[near].argmin()])
    inside = np.abs(WIDE_MM - steepest) <= 5.0
    coarse = inside.nonzero()[0][::5]
    found = fit_edge_response(WIDE_MM[coarse] - steepest, hu[coarse], sigma_mm=sigma_mm)
    return steepest, steepest - found.outside_mm


@pytest.mark.parametrize("sigma_mm", [0.6, 0.9, 1.3])
@pytest.mark.parametrize("plate_mm", [0.6, 0.75, 1.0])
def test_the_face_is_found_where_the_steepest_fall_is_outside(plate_mm: float, sigma_mm: float) -> None:
    steepest, face = face_found_mm(profile(plate_mm=plate_mm, plate_hu=1500, sigma_mm=sigma_mm), sigma_mm)
    assert abs(face) < 0.3
    assert abs(face) < steepest


def test_the_blur_need_not_be_known_well() -> None:
    hu = profile(plate_mm=0.9, plate_hu=1200, sigma_mm=1.0)
    assert abs(face_found_mm(hu, 0.8)[1]) < 0.25
    assert abs(face_found_mm(hu, 1.25)[1]) < 0.25


def test_a_plain_step_keeps_its_place() -> None:
    _, face = face_found_mm(profile(plate_mm=0.0, plate_hu=300, inner_hu=300, sigma_mm=0.9), 0.9)
    assert abs(face) < 0.5


def test_the_next_vertebra_does_not_pull_the_face() -> None:
    far = face_found_mm(profile(plate_mm=0.9, plate_hu=1200, sigma_mm=1.2, gap_mm=12.0), 1.2)[1]
    near = face_found_mm(profile(plate_mm=0.9, plate_hu=1200, sigma_mm=1.2, gap_mm=4.5), 1.2)[1]
    assert near == pytest.approx(far, abs=0.2)


def test_the_model_runs_from_body_to_disc_to_next_body() -> None:
    model = PlateModel(face_mm=0.0, sigma_mm=0.5, plate_hu=900, inner_hu=150, outer_hu=80, gap_mm=6.0)
    assert model.hu_at(np.array([-8.0, 3.0, 15.0])) == pytest.approx([150, 80, 150], abs=1)


def test_the_slopes_of_the_model_are_its_derivatives() -> None:
    model = PlateModel(face_mm=0.3, sigma_mm=0.9, plate_hu=900, inner_hu=150, outer_hu=80, gap_mm=6.0)
    places, step = np.linspace(-5, 8, 40), 1e-5
    nudged = [
        replace(model, face_mm=0.3 + step),
        replace(model, sigma_mm=0.9 * np.exp(step)),
        replace(model, gap_mm=6.0 * np.exp(step)),
        replace(model, plate_hu=900 + step),
        replace(model, inner_hu=150 + step),
        replace(model, outer_hu=80 + step),
    ]
    found = model.slopes_at(places)
    for column, other in enumerate(nudged):
        assert found[:, column] == pytest.approx((other.hu_at(places) - model.hu_at(places)) / step, rel=1e-3, abs=2e-2)


def test_oblique_endplates_are_blurred_less_by_thick_slices() -> None:
    assert expected_sigma_mm(5.0, 0.7, 0.4) < expected_sigma_mm(5.0, 1.0, 0.4)
    assert expected_sigma_mm(1.0, 1.0, 0.4) < expected_sigma_mm(3.0, 1.0, 0.4)
