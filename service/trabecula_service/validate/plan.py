"""Which digital patients are scanned in which ways: one made-up person per entry of ``PEOPLE``, one trial per scan."""

from dataclasses import dataclass, replace

from trabecula_morphometry.digital_patient import PatientOptions, VertebralFracture
from trabecula_morphometry.digital_patient.options import DEFAULT_DENSITY_K2HPO4_MG_CM3, FractureShape, Sex

QUICK_SPACINGS_MM = (1.5, 2.5)
SPACINGS_MM = (1.0, 1.5, 3.0, 5.0)
TILT_DEG = 20.0
TURNED_SPACING_MM = 1.0
"""Turned patients are resampled; with slices about as far apart as pixels that blurs all directions alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One scan of one person.

    ``tilt_deg`` turns the patient in the scanner about the left, posterior and superior axis, in this order. ``against`` names the scans
    of the same person that this one should agree with, the first that was made counts.
    """

    name: str
    person: str
    options: PatientOptions
    tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    against: tuple[str, ...] = ()


def _fracture(level: str, shape: FractureShape, anterior: float, middle: float, posterior: float) -> VertebralFracture:
    return VertebralFracture(level=level, shape=shape, anterior_loss=anterior, middle_loss=middle, posterior_loss=posterior)


def _person(
    seed: int,
    sex: Sex,
    size: float,
    density_share: float,
    *fractures: VertebralFracture,
    scoliosis_deg: float = 0.0,
    lordosis_deg: float = 56.0,
) -> PatientOptions:
    return PatientOptions(
        seed=seed,
        sex=sex,
        size=size,
        age_years=55 + seed,
        density_k2hpo4_mg_cm3={level: value * density_share for level, value in DEFAULT_DENSITY_K2HPO4_MG_CM3.items()},
        fractures=fractures,
        scoliosis_deg=scoliosis_deg,
        lordosis_deg=lordosis_deg,
        spacing_xyz_mm=(0.8, 0.8, 1.5),
        field_of_view_mm=264.0,
    )


PEOPLE: dict[str, PatientOptions] = {
    "two-fractures": _person(1, "F", 1.0, 0.9, _fracture("T12", "wedge", 0.31, 0.17, 0.02), _fracture("L2", "biconcave", 0.14, 0.34, 0.08)),
    "tall-man": _person(2, "M", 1.08, 1.25),
    "osteoporotic": _person(3, "F", 0.94, 0.55, _fracture("L1", "wedge", 0.46, 0.30, 0.05), _fracture("L4", "biconcave", 0.15, 0.33, 0.10)),
    "scoliosis": _person(4, "F", 1.0, 0.8, _fracture("L3", "wedge", 0.32, 0.16, 0.01), scoliosis_deg=20.0),
    "crushed": _person(5, "M", 1.0, 0.7, _fracture("T11", "crush", 0.30, 0.31, 0.32), _fracture("L3", "wedge", 0.22, 0.12, 0.01)),
    "neighbours": _person(6, "F", 0.97, 0.65, _fracture("T12", "wedge", 0.34, 0.20, 0.03), _fracture("L1", "biconcave", 0.20, 0.43, 0.10)),
    "small-woman": _person(7, "F", 0.88, 1.0, lordosis_deg=42.0),
    "severe": _person(
        8, "M", 1.04, 0.5, _fracture("T10", "wedge", 0.33, 0.18, 0.02), _fracture("L2", "crush", 0.44, 0.46, 0.45), lordosis_deg=64.0
    ),
}
"""Eight people with eleven fractures: ten moderate or severe ones and a mild one."""

_BASE = ("two-fractures", "tall-man")


def quick_plan() -> tuple[Trial, ...]:
    """Four scans for a first look, under three minutes on two cores."""
    first = [_scan("two-fractures", spacing_mm) for spacing_mm in QUICK_SPACINGS_MM]
    first[1] = replace(first[1], against=("two-fractures-1.5mm",))
    return (*first, _scan("osteoporotic", 1.5), _scan("scoliosis", 3.0))


def full_plan() -> tuple[Trial, ...]:
    """All people at all slice spacings, and two of them with other kernels, noise, spacing and posture."""
    grid = [_scan(person, spacing_mm) for spacing_mm in SPACINGS_MM for person in PEOPLE]
    return (*grid, *(trial for person in _BASE for trial in _variants(person)))


def _scan(person: str, spacing_mm: float) -> Trial:
    options = replace(PEOPLE[person], spacing_xyz_mm=(0.8, 0.8, spacing_mm))
    return Trial(name=f"{person}-{spacing_mm:g}mm", person=person, options=options)


def _variants(person: str) -> list[Trial]:
    """The person scanned otherwise: slices, kernels, noise, and turned about each axis."""
    base, thin = _scan(person, 1.5), _scan(person, TURNED_SPACING_MM)
    scans = [replace(_scan(person, 2.5), against=(thin.name, base.name))]
    changed = {
        "smooth": replace(base.options, kernel="smooth"),
        "sharp": replace(base.options, kernel="sharp"),
        "low-noise": replace(base.options, noise_sd_hu=6.0),
        "high-noise": replace(base.options, noise_sd_hu=40.0),
    }
    scans += [replace(base, name=f"{person}-{name}", options=options, against=(base.name,)) for name, options in changed.items()]
    for axis, name in enumerate(("nod", "lean", "turn")):
        tilt = (TILT_DEG if axis == 0 else 0.0, TILT_DEG if axis == 1 else 0.0, TILT_DEG if axis == 2 else 0.0)
        scans.append(replace(thin, name=f"{person}-{name}", tilt_deg=tilt, against=(thin.name,)))
    return scans
