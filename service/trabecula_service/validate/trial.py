"""One trial: make the patient, write its CT as DICOM, analyse it with the installed product, put the truth beside the result."""

import tempfile
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.backends.choice import BackendChoice
from trabecula_morphometry.digital_patient import LevelTruth, make_digital_patient
from trabecula_morphometry.errors import TrabeculaError
from trabecula_morphometry.volume import Volume
from trabecula_service.demo.calibration import write_calibration
from trabecula_service.demo.ct_series import DemoScanner, write_ct_series
from trabecula_service.pipeline.analyze import analyze_input
from trabecula_service.pipeline.request import AnalyzeRequest
from trabecula_service.result import Heights, Level, Result
from trabecula_service.validate.plan import Trial

SAME_BODY_MM = 12.0
"""A measured centre this near to the true one is the same vertebra, whatever its name."""

PADDING_HU = -1024

_MADE = datetime(2026, 1, 15, 12, tzinfo=UTC)
_KERNEL_NAMES = {"smooth": "SMOOTH", "soft": "SOFT", "sharp": "BONE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelRow:
    """Truth and result of one vertebra of one trial; None where the product gave no number. The columns of ``levels.csv``."""

    trial: str
    person: str
    against: str
    slice_spacing_mm: float
    kernel: str
    noise_hu: float
    tilt_deg: float
    size: float
    scoliosis_deg: float
    level: str
    called: str | None
    center_error_mm: float | None
    true_anterior_mm: float
    true_middle_mm: float
    true_posterior_mm: float
    anterior_mm: float | None
    middle_mm: float | None
    posterior_mm: float | None
    sd_mm: float | None
    true_loss: float
    loss: float | None
    true_grade: int
    grade: int | None
    true_type: str | None
    type: str | None
    true_hu: float
    hu: float | None
    true_density_mg_cm3: float
    density_mg_cm3: float | None
    density_low_mg_cm3: float | None
    density_high_mg_cm3: float | None
    excluded: str

    def height_errors_mm(self) -> list[float]:
        """Measured minus true, for the heights that were measured."""
        pairs = (
            (self.anterior_mm, self.true_anterior_mm),
            (self.middle_mm, self.true_middle_mm),
            (self.posterior_mm, self.true_posterior_mm),
        )
        return [measured - true for measured, true in pairs if measured is not None]


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(LevelRow))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOutcome:
    """Rows of one trial and the seconds of its analysis."""

    rows: tuple[LevelRow, ...]
    seconds: float


def run_trial(trial: Trial, backend: BackendChoice) -> TrialOutcome:
    """Scan and analyse one digital patient.

    Raises
    ------
    TrabeculaError
        If the product cannot read what the kit wrote.
    """
    patient = make_digital_patient(trial.options)
    turn = rotation(trial.tilt_deg)
    volume = turned(patient.volume, turn) if any(trial.tilt_deg) else patient.volume
    scanner = DemoScanner(kernel=_KERNEL_NAMES[trial.options.kernel])
    with tempfile.TemporaryDirectory(prefix="trabecula-validate-") as work:
        write_ct_series(volume, trial.options, Path(work, "ct"), made=_MADE, scanner=scanner)
        calibration = write_calibration(
            Path(work, "calibration.toml"), patient.truth.line, tube_voltage_kvp=trial.options.tube_voltage_kvp, today=_MADE.date()
        )
        outcome = analyze_input(
            AnalyzeRequest(input=Path(work, "ct"), out=Path(work, "out"), created=_MADE, calibration_file=calibration, backend=backend)
        )
    if outcome.result is None:
        raise TrabeculaError(f"the analysis gave no result: {outcome.message}", where=trial.name, hint="run `trabecula demo` first")
    rows = tuple(_row(trial, truth, turn @ np.array(truth.center_lps_mm), outcome.result) for truth in patient.truth.levels)
    return TrialOutcome(rows=rows, seconds=round(sum(outcome.result.timing_s.values()), 1))


def rotation(tilt_deg: tuple[float, float, float]) -> NDArray[np.float64]:
    """Rotation matrix of turns about the left (x), posterior (y) and superior (z) axis, in this order."""
    (a, b, c) = np.radians(tilt_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, dtype=np.float64)


def turned(volume: Volume, turn: NDArray[np.float64]) -> Volume:
    """The patient turned about the origin (the middle of L3) under the same slices; what no slice had shown before is padding."""
    to_lps, to_voxel = volume.grid.voxel_to_lps, np.linalg.inv(volume.grid.voxel_to_lps)
    back = np.eye(4)
    back[:3, :3] = turn.T
    source = to_voxel @ back @ to_lps
    hu = ndimage.affine_transform(
        volume.hu_zyx, source[:3, :3][::-1, ::-1], source[:3, 3][::-1], order=3, mode="constant", cval=PADDING_HU, output=np.float32
    )
    return replace(volume, hu_zyx=np.clip(np.rint(hu), PADDING_HU, None).astype(np.int16))


def _row(trial: Trial, truth: LevelTruth, center_lps_mm: NDArray[np.float64], result: Result) -> LevelRow:
    found, distance = _nearest(center_lps_mm, result)
    options = trial.options
    heights = found.heights_mm if found and found.heights_mm else Heights()
    density = found.density if found else None
    return LevelRow(
        trial=trial.name,
        person=trial.person,
        against=" ".join(trial.against),
        slice_spacing_mm=options.spacing_xyz_mm[2],
        kernel=options.kernel,
        noise_hu=options.noise_sd_hu,
        tilt_deg=max(abs(angle) for angle in trial.tilt_deg),
        size=options.size,
        scoliosis_deg=options.scoliosis_deg,
        level=truth.name,
        called=found.name if found else None,
        center_error_mm=distance,
        true_anterior_mm=round(truth.heights_mm.anterior, 3),
        true_middle_mm=round(truth.heights_mm.middle, 3),
        true_posterior_mm=round(truth.heights_mm.posterior, 3),
        anterior_mm=heights.anterior,
        middle_mm=heights.middle,
        posterior_mm=heights.posterior,
        sd_mm=found.heights_sd_mm.middle if found and found.heights_sd_mm else None,
        true_loss=round(max(truth.height_loss.anterior, truth.height_loss.middle, truth.height_loss.posterior), 4),
        loss=found.height_loss.max if found and found.height_loss else None,
        true_grade=truth.genant_grade,
        grade=found.genant.grade if found else None,
        true_type=truth.fracture_shape,
        type=found.genant.type if found else None,
        true_hu=round(truth.trabecular_hu, 2),
        hu=found.hu.mean if found and found.hu else None,
        true_density_mg_cm3=truth.density_k2hpo4_mg_cm3,
        density_mg_cm3=density.value_mg_cm3 if density else None,
        density_low_mg_cm3=density.interval95[0] if density else None,
        density_high_mg_cm3=density.interval95[1] if density else None,
        excluded=" ".join(found.excluded) if found else "not found",
    )


def _nearest(center_lps_mm: NDArray[np.float64], result: Result) -> tuple[Level | None, float | None]:
    """The measured level at a true centre, and how far apart the two centres are."""
    distances = [float(np.linalg.norm(np.array(level.center_lps_mm) - center_lps_mm)) for level in result.levels]
    if not distances or min(distances) > SAME_BODY_MM:
        return None, None
    best = int(np.argmin(distances))
    return result.levels[best], round(distances[best], 2)
