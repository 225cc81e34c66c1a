"""The score of one case: one row per vertebra that the reference or the prediction holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from statistics import fmean

import numpy as np

from trabecula_models.evaluation.identification import Identification, Point, identify
from trabecula_models.evaluation.overlap import Overlap, label_overlaps, mask_centers_mm, on_grid, share_on_vertebrae, spine_overlap
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import LabelVolume

TOUCHES_A_VERTEBRA = 0.1
"""An extra level with less than this share of its voxels on annotated vertebrae merely touches its neighbour."""

IS_A_VERTEBRA = 0.5
"""An extra level with at least this share on annotated vertebrae is one of them under a wrong name."""


class LevelStatus(Enum):
    """Who holds a level."""

    BOTH = "both"
    MISSED = "missed"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """What is true of a case: masks, and centres by label (LPS millimetres) where the dataset gives them."""

    masks: LabelVolume
    centers_mm: Mapping[int, Point] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedGrade:
    """Genant grade of one level, None where it was not graded, then with the codes that say why."""

    grade: int | None
    type: str | None = None
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What was predicted for a case; ``masks`` may lie on any grid and is None where nothing was predicted.

    ``centers_mm`` are the predictor's own centres of the bodies by label, None where it gave masks only; ``made_by`` names program and
    weights where they are known.
    """

    masks: LabelVolume | None
    centers_mm: Mapping[int, Point] | None = None
    numbering_certain: bool | None = None
    grades: Mapping[str, PredictedGrade] = field(default_factory=dict)
    density_mg_cm3: float | None = None
    density_basis: str = "none"
    made_by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelScore:
    """One vertebra of one case; ``overlap`` and ``identification`` are None where that comparison has no meaning.

    ``annotated_share`` is, for an extra level, the share of its voxels that lie on vertebrae of the reference.
    """

    level: str
    status: LevelStatus
    overlap: Overlap | None
    identification: Identification | None
    annotated_share: float | None = None

    @property
    def unannotated(self) -> bool:
        """An extra level that lies on no vertebra of the reference.

        VerSe leaves vertebrae unlabelled that are not wholly in view, so such a level may be right. The reference alone cannot tell.
        """
        return self.annotated_share is not None and self.annotated_share < TOUCHES_A_VERTEBRA

    @property
    def misnamed(self) -> bool:
        """The name sits on another vertebra, or 20 mm and more from its own; a missed level alone is no wrong name."""
        if self.annotated_share is not None:
            return self.annotated_share >= IS_A_VERTEBRA
        return self.identification is not None and self.identification.distance_mm is not None and not self.identification.hit

    @property
    def dice(self) -> float | None:
        """Dice of the level; None where only a centre, not a mask, says that the reference holds it."""
        if self.overlap is None or (self.status is not LevelStatus.EXTRA and self.overlap.reference_mm3 == 0):
            return None
        return self.overlap.dice

    @property
    def hd95_mm(self) -> float | None:
        """HD95 of the level; None where one side is empty."""
        return None if self.overlap is None else self.overlap.hd95_mm


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseScore:
    """One case. Means run over the vertebrae of the reference; a missed one has Dice 0 and no HD95.

    ``spine`` compares all vertebrae as one structure, ``spine_annotated`` the same without the predicted levels that are unannotated.
    """

    name: str
    group: str
    levels: tuple[LevelScore, ...]
    spine: Overlap
    spine_annotated: Overlap
    centers_from: str
    numbering_certain: bool | None = None
    made_by: str = ""
    note: str = ""

    @property
    def of_reference(self) -> tuple[LevelScore, ...]:
        """The vertebrae that the reference holds."""
        return tuple(level for level in self.levels if level.status is not LevelStatus.EXTRA)

    def count(self, status: LevelStatus) -> int:
        """Number of levels with a status."""
        return sum(level.status is status for level in self.levels)

    @property
    def hits(self) -> int:
        """Vertebrae identified."""
        return sum(level.identification is not None and level.identification.hit for level in self.levels)

    @property
    def judged(self) -> int:
        """Vertebrae that the reference gives a centre, so that they can be identified."""
        return sum(level.identification is not None for level in self.levels)

    @property
    def all_right(self) -> bool:
        """Every vertebra of the reference identified."""
        return self.hits == self.judged

    @property
    def misnamed(self) -> bool:
        """Some level is misnamed."""
        return any(level.misnamed for level in self.levels)

    @property
    def distances_mm(self) -> tuple[float, ...]:
        """Distances of the centres of the labels in both lists."""
        found = (level.identification for level in self.levels if level.identification is not None)
        return tuple(one.distance_mm for one in found if one.distance_mm is not None)

    @property
    def dice_mean(self) -> float | None:
        """Mean Dice over the vertebrae of the reference."""
        return mean_or_none([level.dice for level in self.of_reference if level.dice is not None])

    @property
    def dice_mean_strict(self) -> float | None:
        """The same with every extra level counted as Dice 0."""
        return mean_or_none([level.dice for level in self.levels if level.dice is not None])

    @property
    def hd95_mean_mm(self) -> float | None:
        """Mean HD95 over the vertebrae that both hold."""
        return mean_or_none([level.hd95_mm for level in self.of_reference if level.hd95_mm is not None])


def mean_or_none(values: list[float]) -> float | None:
    """Mean of a list, None for an empty one."""
    return fmean(values) if values else None


def score_case(name: str, reference: Reference, prediction: Prediction, group: str = "") -> CaseScore:
    """Score one prediction on the reference's grid.

    Masks on another grid are sampled at the reference's voxels (nearest label). Centres are compared like with like: the dataset's own
    with the predictor's own, else centres of mass of the masks on both sides.
    """
    grid = reference.masks.grid
    empty = LabelVolume(labels_zyx=reference.masks.labels_zyx * 0, grid=grid)
    masks = empty if prediction.masks is None else on_grid(prediction.masks, grid)
    overlaps = label_overlaps(reference.masks, masks)
    true_mm: Mapping[int, Point]
    found_mm: Mapping[int, Point]
    if reference.centers_mm is not None and (prediction.centers_mm is not None or prediction.masks is None):
        true_mm, found_mm, centers_from = reference.centers_mm, prediction.centers_mm or {}, "given"
    else:
        true_mm, found_mm, centers_from = mask_centers_mm(reference.masks), mask_centers_mm(masks), "masks"
    identified = identify(true_mm, found_mm)
    in_reference = {label for label, overlap in overlaps.items() if overlap.reference_mm3 > 0} | set(true_mm)
    in_prediction = {label for label, overlap in overlaps.items() if overlap.predicted_mm3 > 0} | set(found_mm)
    annotated_share = {label: share_on_vertebrae(reference.masks, masks, label) for label in in_prediction - in_reference}
    levels = tuple(
        LevelScore(
            level=level,
            status=_status(label in in_reference, label in in_prediction),
            overlap=overlaps.get(label),
            identification=identified.get(label),
            annotated_share=annotated_share.get(label),
        )
        for level, label in LABEL_OF_LEVEL.items()
        if label in in_reference | in_prediction
    )
    spine = spine_overlap(reference.masks, masks)
    unannotated = {LABEL_OF_LEVEL[level.level] for level in levels if level.unannotated}
    return CaseScore(
        name=name,
        group=group,
        levels=levels,
        spine=spine,
        spine_annotated=spine_overlap(reference.masks, _without(masks, unannotated)) if unannotated else spine,
        centers_from=centers_from,
        numbering_certain=prediction.numbering_certain,
        made_by=prediction.made_by,
        note="; ".join(part for part in (reference.note, prediction.note) if part),
    )


def _without(masks: LabelVolume, labels: set[int]) -> LabelVolume:
    keep = np.ones(256, dtype=np.uint8)
    keep[list(labels)] = 0
    return LabelVolume(labels_zyx=masks.labels_zyx * keep[masks.labels_zyx], grid=masks.grid)


def _status(in_reference: bool, in_prediction: bool) -> LevelStatus:
    if in_reference and in_prediction:
        return LevelStatus.BOTH
    return LevelStatus.MISSED if in_reference else LevelStatus.EXTRA
