"""What reading an input gives: one CT volume with the facts that the later stages need."""

from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from trabecula_morphometry.codes import CODE_TABLE, Code
from trabecula_morphometry.errors import InputError
from trabecula_morphometry.volume import Volume
from trabecula_service.result import Acquisition, Flag, Source


class NotEvaluableError(InputError):
    """Readable, but nothing to measure (exit code 3): not CT, one slice, a localizer, values that are no HU.

    ``image`` is given where the images were read before they were refused; the report can then name the patient and the study.
    """

    def __init__(
        self,
        code: Code,
        *,
        where: str = "",
        detail: str = "",
        source: Source | None = None,
        acquisition: Acquisition | None = None,
        image: "CtImage | None" = None,
    ) -> None:
        entry = CODE_TABLE[code]
        self.code, self.detail, self.source, self.acquisition, self.image = code, detail, source, acquisition, image
        super().__init__(f"{code}: {entry.text} {detail}".strip(), where=where, hint=entry.advice)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CtImage:
    """One acquisition of one series, ready to be measured.

    ``headers`` holds one data set per slice of the input (without pixel data), in slice order, empty for NIfTI. For an even
    series ``headers[k]`` belongs to ``volume`` slice k; where missing slices were interpolated there are fewer headers than slices.
    """

    volume: Volume
    source: Source
    acquisition: Acquisition
    flags: tuple[Flag, ...] = ()
    headers: tuple[Dataset, ...] = field(default=(), repr=False)
    even_slices: bool = True
    slice_gaps_mm: tuple[float, ...] = ()
    """Steps that are larger than the others, where slices are missing."""
    padding_share: float = 0.0
    scanned_step_mm: float | None = None
    """Usual distance between the planes that were scanned (DICOM); larger than the grid's where slices were interpolated."""
    interpolated_slices: tuple[int, ...] = ()
    """Slices k of ``volume`` that were not scanned: interpolated between neighbours, or left as air in a wide gap."""
    stacks: tuple["CtImage", ...] = ()
    """The images that this one was joined from; then ``headers`` are theirs one after the other. Empty for one series."""
