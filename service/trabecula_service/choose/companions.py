"""Which series go on where the chosen one ends, so that together they show one spine (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

from trabecula_service.choose.kernels import Sharpness

MOST_SHARED = 0.4
"""Share of the shorter series that both may show: stacks overlap by a vertebra or two, another reconstruction of the same region by all."""

LEAST_NEW_MM = 50.0
"""A series must add so much of the body to be worth an analysis: some two vertebrae."""

WIDEST_GAP_MM = 60.0
"""Farther apart nothing tells how the levels of the one follow those of the other: two lumbar steps are 70 mm."""

MOST_STEP_RATIO = 3.0
"""Slice distances that differ more are another kind of series (a thick survey beside thin slices)."""

MOST_STACKS = 4
"""Neck, chest, abdomen and pelvis; each is an analysis of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What a series shows: from ``low_mm`` to ``high_mm`` along LPS z, in a frame of reference, and of which kind it is."""

    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    low_mm: float
    high_mm: float
    slice_step_mm: float
    kernel_sharpness: Sharpness
    is_monoenergetic: bool

    @property
    def extent_mm(self) -> float:
        """Reach along the body."""
        return self.high_mm - self.low_mm


def companions(chosen: Region, others: Sequence[Region]) -> list[int]:
    """Indices of the series that complete the chosen one, in the order in which they were found.

    Parameters
    ----------
    others : the other series, the better ones first; of two that show the same region the first is taken.
    """
    together = [chosen]
    found: list[int] = []
    # A series may touch the chosen one only through another (neck, chest, lumbar spine), so the rest is looked at again.
    while len(together) < MOST_STACKS:
        index = next((i for i, other in enumerate(others) if i not in found and _completes(other, together)), None)
        if index is None:
            break
        found.append(index)
        together.append(others[index])
    return found


def _completes(other: Region, together: Sequence[Region]) -> bool:
    if any(not _is_of_one_kind(other, known) or _shared_mm(other, known) > MOST_SHARED * _shorter_mm(other, known) for known in together):
        return False
    is_near = any(_shared_mm(other, known) >= -WIDEST_GAP_MM for known in together)
    new_mm = other.extent_mm - sum(max(_shared_mm(other, known), 0.0) for known in together)
    return is_near and new_mm >= LEAST_NEW_MM


def _is_of_one_kind(one: Region, other: Region) -> bool:
    same_space = (
        bool(one.frame_of_reference_uid)
        and one.frame_of_reference_uid == other.frame_of_reference_uid
        and one.study_instance_uid == other.study_instance_uid
        and one.series_instance_uid != other.series_instance_uid
    )
    finer, coarser = sorted((one.slice_step_mm, other.slice_step_mm))
    alike = one.kernel_sharpness == other.kernel_sharpness and one.is_monoenergetic == other.is_monoenergetic
    return same_space and alike and coarser <= MOST_STEP_RATIO * finer


def _shared_mm(one: Region, other: Region) -> float:
    """Length that both show; negative is the gap between them."""
    return min(one.high_mm, other.high_mm) - max(one.low_mm, other.low_mm)


def _shorter_mm(one: Region, other: Region) -> float:
    return min(one.extent_mm, other.extent_mm)
