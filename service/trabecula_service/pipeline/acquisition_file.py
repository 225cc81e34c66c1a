"""Facts that a user gives because the image cannot say them: ``--acquisition FILE.toml``."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trabecula_morphometry.errors import InputError
from trabecula_service.result import Acquisition, Contrast, Phase


class AcquisitionFacts(BaseModel):
    """Every key is optional; what is given replaces the header's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kvp: float | None = Field(default=None, ge=40, le=200)
    manufacturer: str | None = None
    model: str | None = None
    device_serial: str | None = None
    kernel: str | None = None
    contrast_phase: Phase | None = None
    age_years: float | None = Field(default=None, ge=0, le=130)
    sex: Literal["F", "M"] | None = None


def read_acquisition_file(path: Path) -> AcquisitionFacts:
    """Read the facts.

    Raises
    ------
    InputError : the file is missing, no TOML, or holds unknown keys or impossible values.
    """
    try:
        return AcquisitionFacts.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError("the acquisition file cannot be read", where=path.name, hint="check its path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("the acquisition file is not valid TOML", where=path.name, hint="write lines like: kvp = 120") from error
    except ValidationError as error:
        keys = ", ".join(str(entry["loc"][0]) + " (" + entry["msg"] + ")" for entry in error.errors())
        allowed = ", ".join(AcquisitionFacts.model_fields)
        raise InputError(
            f"the acquisition file has unknown keys or impossible values: {keys}", where=path.name, hint=f"allowed: {allowed}"
        ) from error


def override(acquisition: Acquisition, facts: AcquisitionFacts) -> tuple[Acquisition, list[str]]:
    """The acquisition with the given facts in place of the header's, and the names of the facts given."""
    given = facts.model_dump(exclude_none=True)
    changes = {key: value for key, value in given.items() if key != "contrast_phase"}
    if facts.contrast_phase is not None:
        changes["contrast"] = Contrast(phase=facts.contrast_phase, source="user", confidence=1.0)
    return acquisition.model_copy(update=changes), sorted(given)
