"""Which backend a site wants: plain values, so that settings and requests can carry them without loading a network."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from trabecula_models.forward import Compute


class BackendName(StrEnum):
    """The backends there are."""

    BUILTIN = "builtin"
    TOTALSEGMENTATOR = "totalsegmentator"
    NNUNET = "nnunet"
    MONAI_BUNDLE = "monai-bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChoice:
    """A backend and what it needs.

    Parameters
    ----------
    name : the backend.
    model : folder of the model; needed by "nnunet" and "monai-bundle" only.
    labels : which number of the model is which level: a map that comes with the package ("verse", "ctspine1k", "totalsegmentator",
        "totalsegmentator-bodies") or the path of a TOML file like those; None: by the names that the model itself declares.
    orientation : where the array axes x, y, z of the images grow to that an nnU-Net was trained on, as three of L/R, P/A, S/I.
        None: by the reader the model declares, else "LPS", the order of DICOM. nnU-Net does not turn images.
    compute : device, engine and precision; foreign models use the device only.
    """

    name: BackendName = BackendName.BUILTIN
    model: Path | None = None
    labels: str | None = None
    orientation: str | None = None
    compute: Compute = field(default_factory=Compute)
