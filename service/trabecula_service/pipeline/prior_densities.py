"""Earlier densities of the same patient join a result: of other studies, from earlier days, the latest few."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pydantic import ValidationError

from trabecula_morphometry.errors import InputError
from trabecula_service.result import PriorDensity, Result, VoiStyleName

MOST_PRIORS = 5
"""As many as fit beside the table of the report."""


def with_priors(result: Result, earlier: Sequence[Result], scanned_on: date | None) -> Result:
    """The result with its day and the densities before it; without a day nothing is earlier."""
    result = result.model_copy(update={"source": result.source.model_copy(update={"scanned_on": scanned_on})})
    if scanned_on is None:
        return result
    others = [entry for entry in earlier if entry.source.study_instance_uid != result.source.study_instance_uid]
    known = [prior for prior in map(prior_of, others) if prior is not None and prior.scanned_on < scanned_on]
    return result.model_copy(update={"priors": sorted(known, key=lambda prior: prior.scanned_on)[-MOST_PRIORS:]})


def prior_of(result: Result) -> PriorDensity | None:
    """What a later report says of a result; None where it has no density or no day."""
    density, acquisition, day = result.density, result.acquisition, result.source.scanned_on
    if day is None or density.mean_mg_cm3 is None or density.interval95 is None or density.material is None:
        return None
    return PriorDensity(
        scanned_on=day,
        mean_mg_cm3=density.mean_mg_cm3,
        interval95=density.interval95,
        basis=density.basis,
        material=density.material,
        manufacturer=acquisition.manufacturer,
        model=acquisition.model,
        device_serial=acquisition.device_serial,
        kvp=acquisition.kvp,
        kernel=acquisition.kernel,
        phase=acquisition.contrast.phase,
        voi_style=voi_style_of(result),
    )


def voi_style_of(result: Result) -> VoiStyleName:
    """Where the HU of a result were read."""
    return next((level.hu.style for level in result.levels if level.hu is not None), "trabecula")


def read_prior(path: Path) -> Result:
    """A ``result.json`` of an earlier analysis.

    Raises
    ------
    InputError : no result, or one whose density or day is not known.
    """
    try:
        result = Result.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise InputError("the earlier result cannot be read", where=path.name, hint="give a result.json of trabecula") from error
    if prior_of(result) is None:
        raise InputError("the earlier result has no mean density or no day", where=path.name, hint="leave it out")
    return result
