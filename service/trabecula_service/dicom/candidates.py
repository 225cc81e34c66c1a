"""One acquisition of one series that may be measured: its rating, and why it cannot be measured where that is known beforehand."""

from dataclasses import dataclass

import numpy as np

from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import GeometryError
from trabecula_service.choose.companions import Region
from trabecula_service.choose.kinds import Refusal, is_monoenergetic
from trabecula_service.choose.rules import ChoiceRules, SeriesFacts, points
from trabecula_service.dicom import header as tags
from trabecula_service.dicom.acquisition import contrast_given
from trabecula_service.dicom.assemble import is_lossy
from trabecula_service.dicom.geometry import SliceFrame, along_normal_mm, is_even
from trabecula_service.dicom.stacks import Stack

FEWEST_SLICES = 3
SHORTEST_REACH_MM = 20.0
"""Less of the body than this holds no whole vertebral body (they are 18 to 35 mm high)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """One acquisition of one series that may be measured, not decoded yet.

    ``points`` rates it by ``choose.rules``; ``refusal`` says why it cannot be measured, where that is known before decoding.
    """

    stack: Stack
    facts: SeriesFacts | None
    points: float
    refusal: Refusal | None = None

    @property
    def series_instance_uid(self) -> str:
        """Series of the candidate; empty where the images have none."""
        return self.stack.slices[0].series_instance_uid

    @property
    def series_number(self) -> int | None:
        """Number of the series, as far as the header has one."""
        return tags.integer(self.stack.slices[0].header, "SeriesNumber")

    @property
    def region(self) -> Region | None:
        """What it shows of the patient, for finding the series that go on where it ends; None without a place in space."""
        if self.facts is None or self.stack.frame is None:
            return None
        header = self.stack.slices[0].header
        low_mm, high_mm = _reach_mm(self.stack, self.stack.frame, self.facts)
        return Region(
            study_instance_uid=tags.text(header, "StudyInstanceUID"),
            series_instance_uid=self.series_instance_uid,
            frame_of_reference_uid=tags.text(header, "FrameOfReferenceUID"),
            low_mm=low_mm,
            high_mm=high_mm,
            slice_step_mm=self.facts.slice_step_mm,
            kernel_sharpness=self.facts.kernel_sharpness,
            is_monoenergetic=self.facts.is_monoenergetic,
        )

    @property
    def acquisition_number(self) -> int | None:
        """Acquisition, as ``--acquisition-number`` names it."""
        return self.stack.acquisition_number


def candidate_of(stack: Stack, rules: ChoiceRules | None = None) -> Candidate:
    """Rate a stack, and refuse it where it is too small or has no place in space."""
    if stack.frame is None:
        return Candidate(stack=stack, facts=None, points=0.0, refusal=Refusal(Code.GEOMETRY_IMPLAUSIBLE, stack.unplaced))
    facts = _facts(stack)
    refusal = None
    if len(stack.slices) < FEWEST_SLICES:
        refusal = Refusal(Code.TOO_FEW_SLICES, f"{len(stack.slices)} slice{'s' if len(stack.slices) > 1 else ''}.")
    elif facts.extent_mm < SHORTEST_REACH_MM:
        refusal = Refusal(Code.TOO_FEW_SLICES, f"{len(stack.slices)} slices cover {facts.extent_mm:.0f} mm of the body.")
    return Candidate(stack=stack, facts=facts, points=points(facts, rules), refusal=refusal)


def apartness(one: Candidate, other: Candidate) -> tuple[bool, bool]:
    """How little speaks for two acquisitions having been made together, for sorting: contrast in one only, then another number."""
    given = {candidate.facts.contrast_given for candidate in (one, other) if candidate.facts is not None}
    return given >= {True, False}, one.acquisition_number is None or one.acquisition_number != other.acquisition_number


def _reach_mm(stack: Stack, frame: SliceFrame, facts: SeriesFacts) -> tuple[float, float]:
    """LPS z of the lowest and highest point: of axial slices that of the planes' middles, as a tilted edge reaches further."""
    across, down = frame.row * (frame.columns - 1) * frame.column_spacing_mm, frame.column * (frame.rows - 1) * frame.row_spacing_mm
    z = stack.positions_lps_mm()[:, 2]
    if facts.is_axial:
        middles = z + (across[2] + down[2]) / 2
        return float(middles.min() - facts.slice_step_mm / 2), float(middles.max() + facts.slice_step_mm / 2)
    corners = np.concatenate([z, z + across[2], z + down[2], z + across[2] + down[2]])
    return float(corners.min()), float(corners.max())


def _facts(stack: Stack) -> SeriesFacts:
    """What the rules ask; ``stack.frame`` must be there."""
    if stack.frame is None:
        raise GeometryError("slices without a place have no extent", hint="check stack.frame first")
    positions, frame = stack.positions_lps_mm(), stack.frame
    edges = np.array([frame.row * (frame.columns - 1) * frame.column_spacing_mm, frame.column * (frame.rows - 1) * frame.row_spacing_mm])
    corners_z = np.concatenate([positions[:, 2], *(positions[:, 2] + shift[2] for shift in (edges[0], edges[1], edges[0] + edges[1]))])
    distances = np.sort(along_normal_mm(positions, frame))
    is_axial = abs(frame.normal[2]) > np.cos(np.radians(45.0))
    step = float(np.median(np.diff(distances))) if len(distances) > 1 else 0.0
    # Of axial slices the reach is that of their planes: a tilted plane's edges are not covered over the whole width.
    reach = distances[-1] - distances[0] + step if is_axial else corners_z.max() - corners_z.min()
    header = stack.slices[len(stack.slices) // 2].header
    image_type = [value.upper() for value in tags.texts(header, "ImageType")]
    kernels = tags.texts(header, "ConvolutionKernel")
    return SeriesFacts(
        slice_count=len(stack.slices),
        extent_mm=float(reach),
        slice_step_mm=step,
        is_axial=is_axial,
        is_original="DERIVED" not in image_type[:1] and "SECONDARY" not in image_type[1:2],
        is_lossy=is_lossy(header),
        is_even=len(distances) < FEWEST_SLICES or is_even(distances),
        is_monoenergetic=is_monoenergetic(header),
        kernel=kernels[0] if kernels else None,
        contrast_given=contrast_given(header),
    )
