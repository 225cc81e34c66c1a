"""The analysis: how it is run, and what finds the vertebrae."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from trabecula_models.backends.choice import BackendChoice, BackendName
from trabecula_models.forward import Compute, Engine, Precision
from trabecula_morphometry.voi import VoiStyle
from trabecula_service.render.languages import DEFAULT_LANGUAGE, languages
from trabecula_service.settings.section import Seconds, Section


def _language(text: str) -> str:
    if text not in languages():
        raise ValueError(f"one of {', '.join(languages())}")
    return text


Language = Annotated[str, AfterValidator(_language)]


class WorkSettings(Section):
    """The analysis."""

    time_limit_seconds: Seconds = 900.0
    """One analysis may take so long, seconds; then its process is ended and the attempt counts as failed."""
    memory_limit_gib: Annotated[float, Field(ge=1)] = 24.0
    """Address space of the analysis process, GiB. Generous, because a network library maps far more than it uses; it stops a run-away,
    not a large study."""
    max_attempts: Annotated[int, Field(ge=1)] = 3
    """Attempts before a study is failed with its reason and waits for a person. An input that is refused is not tried again."""
    retry_seconds: Seconds = 10.0
    """Wait before the second attempt, seconds; it doubles with each one."""
    lease_seconds: Seconds = 60.0
    """A worker that gives no sign of life for so long loses its job to another, seconds."""
    poll_seconds: Seconds = 0.5
    """How often the worker and the settling look into the ledger, seconds."""
    series_rules_file: Path | None = None
    """TOML with the rules that rate the series of a study (see `docs/series-choice.md`); those of the package by default."""
    join_stacks: bool = True
    """Whether a spine that lies in several series of one study (neck, chest, lumbar spine) is measured in each and joined into one result.
    Each series more takes as long as the first."""
    acquisition_file: Path | None = None
    """TOML with facts that override the header of every study (see `trabecula analyze --acquisition`); none by default."""
    calibration_file: Path | None = None
    """TOML with calibration entries (see `trabecula analyze --calibration`); none by default."""
    language: Language = DEFAULT_LANGUAGE
    """Language of the sentences in report, overview, HL7 and FHIR: "en" or "de". Codes and names of measurements stay English."""


class AnalysisSettings(Section):
    """What finds and outlines the vertebrae. Another backend than the built-in one needs its own package and model."""

    backend: BackendName = BackendName.BUILTIN
    """"builtin", "totalsegmentator", "nnunet" (any nnU-Net v2 model folder) or "monai-bundle"."""
    model: Path | None = None
    """Folder of the model. "nnunet" and "monai-bundle" need it; for "builtin" the weights folder of a `trabecula train --finetune`."""
    labels: str | None = None
    """Which number of a foreign model's mask is which level: "verse", "ctspine1k", "totalsegmentator" or a TOML file like those in
    `models/trabecula_models/backends/label_maps`. By default the names that the model itself declares."""
    orientation: str | None = None
    """Where the array axes x, y, z of the images grow to that an nnU-Net was trained on, for example "LPS" or "RAS". By default what
    the model's reader says, else "LPS". nnU-Net does not turn images: a wrong value gives an empty or a mirrored mask."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """"auto" (a GPU where torch sees one), "cpu", "cuda" or "cuda:0"."""
    engine: Engine = Engine.AUTO
    """What computes the built-in networks: "torch", "openvino", or "auto": on a CPU OpenVINO where it is installed, else torch. The
    labels are the same."""
    precision: Precision = Precision.AUTO
    """"auto": half precision under torch where the machine has units for it (a GPU; a CPU with AMX or AVX512-BF16). "float32": never, so
    that machines of different make give the same outlines to the last voxel."""
    voi: VoiStyle = VoiStyle.TRABECULA
    """Where the HU of a level are taken: "trabecula" (front of the body, clear of cortex and vein), or, to compare with cut-offs published
    for them, "comp2comp" or "totalsegmentator"; a density from these has no category."""

    @model_validator(mode="after")
    def _model_is_named(self) -> Self:
        if self.backend in (BackendName.NNUNET, BackendName.MONAI_BUNDLE) and self.model is None:
            raise ValueError(f'the backend "{self.backend.value}" needs the folder of its model: model = "..."')
        return self

    def choice(self) -> BackendChoice:
        """The same as the models' own type."""
        return BackendChoice(
            name=self.backend,
            model=self.model,
            labels=self.labels,
            orientation=self.orientation,
            compute=Compute(device=self.device, engine=self.engine, precision=self.precision),
        )
