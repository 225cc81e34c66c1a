"""Scoliosis and kernels of digital patients."""

from dataclasses import replace

import numpy as np
import pytest

from trabecula_morphometry.digital_patient import PatientOptions, make_digital_patient
from trabecula_morphometry.digital_patient.column import plan_column
from trabecula_morphometry.errors import SettingsError

SMALL = PatientOptions(spacing_xyz_mm=(1.5, 1.5, 5.0), field_of_view_mm=120.0, noise_sd_hu=0.0)


@pytest.mark.parametrize("cobb_deg", [10.0, 25.0])
def test_the_curve_has_its_cobb_angle(cobb_deg: float) -> None:
    plans, _ = plan_column(PatientOptions(scoliosis_deg=cobb_deg))
    leans = np.degrees([np.arctan2(plan.axes[2] @ [1, 0, 0], plan.axes[2] @ [0, 0, 1]) for plan in plans])
    assert leans.max() - leans.min() == pytest.approx(cobb_deg, rel=0.15)


def test_heights_do_not_change_with_the_curve() -> None:
    straight, bent = (plan_column(PatientOptions(scoliosis_deg=cobb_deg))[0] for cobb_deg in (0.0, 20.0))
    assert [plan.posterior_mm for plan in straight] == [plan.posterior_mm for plan in bent]
    assert all(np.allclose(plan.axes @ plan.axes.T, np.eye(3)) for plan in bent)


def test_kernels_change_edges_and_not_the_truth() -> None:
    edges = {}
    for kernel in ("smooth", "soft", "sharp"):
        patient = make_digital_patient(replace(SMALL, kernel=kernel))
        edges[kernel] = float(np.abs(np.diff(patient.volume.hu_zyx.astype(float), axis=2)).max())
        assert patient.truth.levels == make_digital_patient(SMALL).truth.levels if kernel == "sharp" else True
    assert edges["smooth"] < edges["soft"] < edges["sharp"]


def test_a_kernel_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingsError, match="no kernel"):
        PatientOptions(kernel="B70f")
    with pytest.raises(SettingsError, match="scoliosis"):
        PatientOptions(scoliosis_deg=90)
