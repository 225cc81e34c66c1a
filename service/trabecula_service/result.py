"""The result of one study version: the only thing that leaves the measuring side, and the schema of ``result.json``.

Every document (SR, SEG, PDF, capture, page) is a pure function of a ``Result`` and of the images it names. A value that was not
measured is ``None``, never a made-up number; the reason stands in ``excluded`` or ``flags``.
"""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from trabecula_morphometry.codes import CODE_TABLE, Code, Severity

SCHEMA = "trabecula.result/1"

PointLps = tuple[float, float, float]
Basis = Literal["calibrated", "simultaneous", "phantomless", "estimate", "none"]
Material = Literal["K2HPO4", "HA"]
Category = Literal["low", "intermediate", "normal"]
Phase = Literal["unenhanced", "arterial", "portal_venous", "delayed", "unknown"]
FractureType = Literal["wedge", "biconcave", "crush"]
VoiStyleName = Literal["trabecula", "comp2comp", "totalsegmentator"]
Grade = Annotated[int, Field(ge=0, le=3)]


class Part(BaseModel):
    """A frozen part of the result; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Software(Part):
    """What computed the result."""

    version: str
    backend: str
    weights_sha256: str


class SourceStack(Part):
    """One of several stacks of one spine that were measured one by one and joined."""

    series_instance_uid: str | None
    series_number: int | None = None
    acquisition_number: int | None = None
    file_count: int
    matrix: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    content_sha256: str | None = None


class Source(Part):
    """The images that were measured. Identifiers of the patient are not part of a result."""

    study_instance_uid: str | None
    series_instance_uid: str | None
    frame_of_reference_uid: str | None = None
    series_number: int | None = None
    acquisition_number: int | None = None
    format: Literal["dicom", "nifti"] = "dicom"
    file_count: int
    matrix: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    scanned_on: date | None = None
    """Day of the acquisition, where the header knows it."""
    content_sha256: str | None = None
    """Hash over the pixel data and positions of the slices used, in slice order."""
    stacks: list[SourceStack] = []
    """The stacks that were joined, the one that gives ``series_instance_uid`` and the acquisition first; empty where one stack was
    measured. ``matrix`` and ``spacing_mm`` above are then those of the grid that the masks lie on."""

    @property
    def slice_spacing_mm(self) -> float:
        """Distance of the slices, the largest of all stacks."""
        return max((stack.spacing_mm[2] for stack in self.stacks), default=self.spacing_mm[2])

    def slice_spacing_of_mm(self, level: "Level") -> float:
        """Distance of the slices that a level was measured in, the largest of the stacks of its series."""
        own = [stack.spacing_mm[2] for stack in self.stacks if stack.series_instance_uid == level.series_instance_uid]
        return max(own, default=self.slice_spacing_mm)


class Contrast(Part):
    """Intravenous contrast."""

    phase: Phase = "unknown"
    source: str = "none"
    """"image", "header", "user" or "none"."""
    confidence: float = 0.0


class Acquisition(Part):
    """How the images were made, as far as known."""

    manufacturer: str | None = None
    model: str | None = None
    device_serial: str | None = None
    kvp: float | None = None
    kernel: str | None = None
    slice_thickness_mm: float | None = None
    age_years: float | None = None
    sex: Literal["F", "M"] | None = None
    contrast: Contrast = Contrast()


class Alternative(Part):
    """Another reading of the level names: every level moved by ``shift`` (-1 = one level up)."""

    shift: int
    probability: float

    @property
    def chance(self) -> str:
        """The probability as whole percent, "< 1 %" below one."""
        return "< 1 %" if self.probability < 0.01 else f"{self.probability:.0%}".replace("%", " %")


class Numbering(Part):
    """How sure the level names are and from what they were counted."""

    certain: bool
    anchors: list[str] = []
    variants: list[str] = []
    alternatives: list[Alternative] = []


class Heights(Part):
    """One value per position on the mid-sagittal plane; millimetres unless said otherwise by the field's name."""

    anterior: float | None = None
    middle: float | None = None
    posterior: float | None = None


class HeightLoss(Heights):
    """Fractions of the expected height that are lost, 0.25 = 25 %; ``max`` is the largest."""

    max: float | None = None


class SixPoints(Part):
    """Outer edge of the bony endplates on the mid-sagittal plane, LPS millimetres."""

    anterior_superior: PointLps
    anterior_inferior: PointLps
    middle_superior: PointLps
    middle_inferior: PointLps
    posterior_superior: PointLps
    posterior_inferior: PointLps


class Genant(Part):
    """Semiquantitative grade (Loeffler 2020: 1 >= 20 %, 2 >= 25 %, 3 >= 40 % loss) with a probability per grade."""

    grade: Grade | None = None
    type: FractureType | None = None
    probability: tuple[float, float, float, float] | None = None


class TrabecularHu(Part):
    """Attenuation of the trabecular volume of interest, HU; ``style`` says whose rule placed it."""

    style: VoiStyleName = "trabecula"
    mean: float
    median: float
    sd: float
    volume_mm3: float
    center_lps_mm: PointLps | None = None


class LevelDensity(Part):
    """Volumetric bone mineral density of one level; basis and material are those of ``Result.density``."""

    value_mg_cm3: float
    interval95: tuple[float, float]


class Level(Part):
    """One vertebra."""

    name: str
    confidence: float
    center_lps_mm: PointLps
    complete: bool
    heights_mm: Heights | None = None
    heights_sd_mm: Heights | None = None
    points_lps_mm: SixPoints | None = None
    expected_mm: Heights | None = None
    height_loss: HeightLoss | None = None
    genant: Genant = Genant()
    hu: TrabecularHu | None = None
    density: LevelDensity | None = None
    excluded: list[Code] = []
    series_instance_uid: str | None = None
    """Series that this level was measured in, where several stacks were joined; else that of the source."""


class UncertaintyPart(Part):
    """One named part of a density's uncertainty, one sigma in mg/cm3 of the density's material."""

    name: str
    sd_mg_cm3: float


class Density(Part):
    """The mean density of the study, with everything it needs to be read rightly."""

    mean_mg_cm3: float | None = None
    interval95: tuple[float, float] | None = None
    levels: list[str] = []
    basis: Basis = "none"
    material: Material | None = None
    calibration_id: str | None = None
    category: Category | None = None
    category_source: str | None = None
    contrast_correction_mg_cm3: float | None = None
    explanation: str = ""
    """How the calibration entry was matched, for people."""
    calibration_from: date | None = None
    """Day from which the calibration entry is valid: its age at the scan is part of the report."""
    uncertainty: list[UncertaintyPart] = []


class PriorDensity(Part):
    """Mean density of an earlier study of the same patient, as it was reported; what has changed since is worked out by the documents."""

    scanned_on: date
    mean_mg_cm3: float
    interval95: tuple[float, float]
    basis: Basis
    material: Material
    manufacturer: str | None = None
    model: str | None = None
    device_serial: str | None = None
    kvp: float | None = None
    kernel: str | None = None
    phase: Phase = "unknown"
    voi_style: VoiStyleName = "trabecula"


class Fractures(Part):
    """Summary of the grades."""

    max_grade: Grade | None = None
    levels: list[str] = []
    spinal_deformity_index: int | None = None
    spinal_deformity_index_complete: bool = False
    headline: bool = False


class Flag(Part):
    """A code that the reader should see, with its text."""

    code: Code
    level: str | None = None
    severity: Severity
    text: str


class Signature(Part):
    """Who verified this version, and what was changed. Absent: nobody has looked at it yet."""

    verdict: Literal["accepted", "amended", "rejected"]
    reader: str
    organization: str
    at: datetime
    reason: str = ""
    base_version: int
    """The version that the reader looked at."""

    changes: list[str] = []
    """What was changed, in sentences."""

    predecessor_sop_instance_uid: str | None = None
    predecessor_series_instance_uid: str | None = None
    """The structured report that this version's takes the place of."""


def flag(code: Code, detail: str = "", level: str | None = None) -> Flag:
    """A flag with the text of the code table, and what this case adds to it."""
    entry = CODE_TABLE[code]
    return Flag(code=code, level=level, severity=entry.severity, text=f"{entry.text} {detail}".strip())


class Result(Part):
    """The whole answer for one study version."""

    schema_: Literal["trabecula.result/1"] = Field(default="trabecula.result/1", alias="schema")
    status: Literal["complete", "partial", "not_evaluable"]
    software: Software
    source: Source
    acquisition: Acquisition = Acquisition()
    numbering: Numbering = Numbering(certain=False)
    levels: list[Level] = []
    density: Density = Density()
    priors: list[PriorDensity] = []
    """Earlier densities, the oldest first."""
    fractures: Fractures = Fractures()
    flags: list[Flag] = []
    timing_s: dict[str, float] = {}
    signature: Signature | None = None

    def to_json(self) -> str:
        """The text of ``result.json``."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """Read a stored ``result.json``."""
        return cls.model_validate_json(text)
