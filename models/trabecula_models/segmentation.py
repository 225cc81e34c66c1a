"""What the networks give to the measuring side: bodies and posterior elements with names, and how sure the names are."""

from dataclasses import dataclass, field

from trabecula_morphometry.volume import LabelVolume


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundVertebra:
    """One vertebra that the networks found and named."""

    name: str
    label: int
    confidence: float
    center_lps_mm: tuple[float, float, float]
    complete: bool
    """Whether the whole body lies in the field of view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameAlternative:
    """Another reading of the names: every level moved by ``shift`` levels downwards."""

    shift: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NameDecision:
    """How the names were decided."""

    certain: bool
    anchors: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    alternatives: tuple[NameAlternative, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SpineSegmentation:
    """Everything found in one volume.

    ``bodies`` and ``posterior`` lie on one analysis grid (LPS-parallel, equal spacing), labels are VerSe numbers; ``bodies`` also holds
    the sacrum (26) and foreign material (40).
    """

    vertebrae: tuple[FoundVertebra, ...]
    numbering: NameDecision
    bodies: LabelVolume
    posterior: LabelVolume
    weights_sha256: str
    backend: str
    timing_s: dict[str, float] = field(default_factory=dict)
