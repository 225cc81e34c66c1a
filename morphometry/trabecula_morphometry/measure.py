"""The whole column at once: frames, heights, grades and trabecular HU of every level, with the reason where there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.codes import Code
from trabecula_morphometry.deformity import LevelShape, deformed_levels
from trabecula_morphometry.endplate_surface import endplates_are_sound
from trabecula_morphometry.expected import INTACT_LOSS, ExpectedHeights, LevelHeights, expected_heights
from trabecula_morphometry.frame import BodyShape, VertebraFrame, chain_tangents, fit_body, posterior_directions
from trabecula_morphometry.genant import FractureSummary, GenantGrade, HeightLoss, certain_enough, genant_grade, height_loss, summarise
from trabecula_morphometry.heights import MeasuredHeights, measure_heights
from trabecula_morphometry.levels import GRADED_LEVELS, level_position
from trabecula_morphometry.norms import NORMS
from trabecula_morphometry.plausibility import Implausible, check_attenuation, check_geometry
from trabecula_morphometry.vertebra import PointLps, ThreeHeights, VertebraInput, point_lps
from trabecula_morphometry.voi import FOREIGN_MM3, SCLEROTIC_HU, TrabecularVoi, VoiStyle, depth_below_surface, foreign_content, measure_voi
from trabecula_morphometry.volume import LabelVolume, Volume

ADULT_YEARS = 18.0
OUTLIER_LEVELS_AWAY = 3
PADDING_HU, MOST_PADDED_SHARE = -1000.0, 0.2
"""Slices without measurement hold -1024; a body that borders on them with a fifth of an endplate is cut."""

MOST_EXCESS, EXCESS_SIGMAS = 0.25, 3.0
"""A height above the expected one by a quarter and by three standard deviations is a wrong outline (levels differ by 5 %, people's wedging
by 5 %): an outline that runs over the disc hides a fracture, so the heights are not given."""

MOST_POSTERIOR_ALONE = 0.15
"""A posterior loss this much larger than the anterior and the middle one is no fracture's shape (Genant 1993: crush lowers all three)."""

FEWEST_SLICES_PER_BODY = 4.0
"""Slices through an intact body of usual height (its posterior one) below which thick slices give no grade: in 5 mm slices that is T1 to
T6, where nearly all grades of 2 and more were false (ADR 0038)."""

FIELD_MARGIN_MM = 1.5
"""A body that ends this near to the end of the image may go on beyond it: masks err by 1-2 mm there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSettings:
    """Limits that a site may set; the defaults are decision 14 of the design."""

    heights_spacing_mm: float = 3.0
    """Up to here heights and grades as they are."""

    heights_spacing_limit_mm: float = 5.0
    """Up to here heights with a flag, and a grade only where its probability allows; above none."""

    voi_spacing_mm: float = 5.0
    voi_spacing_limit_mm: float = 10.0
    """Up to here HU with a flag; above none."""

    thick_slice_probability: float = 0.85
    """Needed probability of the side of the headline (grade 0-1 or 2-3) for a grade from thick slices."""

    voi_style: VoiStyle = VoiStyle.TRABECULA
    """Where HU are taken; the density of a style other than the default has no calibration of its own."""

    outlier_hu: float = 45.0
    outlier_share: float = 0.40
    """A level is an outlier where it differs from the median of the others by more than both (neighbours differ by about 15 HU)."""


DEFAULT_SETTINGS = MeasureSettings()
_TOLERANCE_MM = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFlag:
    """Something the reader should know, for the column or for one level."""

    code: Code
    level: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LevelMeasurement:
    """One level. None: not measured, the reason stands in ``excluded``."""

    name: str
    label: int
    center_lps_mm: PointLps
    complete: bool
    frame: VertebraFrame | None = None
    depth_mm: float | None = None
    width_mm: float | None = None
    heights: MeasuredHeights | None = None
    expected_mm: ThreeHeights | None = None
    references: tuple[str, ...] = ()
    loss: HeightLoss | None = None
    genant: GenantGrade | None = None
    voi: TrabecularVoi | None = None
    excluded: tuple[Code, ...] = ()

    def usable_for_density(self) -> bool:
        """Whether the level may enter the mean density: measured, and nothing wrong with its bone."""
        return self.voi is not None and not SPOILS_DENSITY.intersection(self.excluded)


SPOILS_DENSITY = frozenset(
    {
        *(Code.FRACTURED, Code.METAL, Code.CEMENT, Code.SCLEROTIC, Code.OUTLIER, Code.CUT_BY_FIELD, Code.VOI_TOO_SMALL),
        Code.READER_EXCLUDED,
    }
)
"""With any of these a level does not enter the mean density."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ColumnMeasurement:
    """All levels, cranial to caudal. ``implausible`` set: the input is no human spine in HU, and nothing was measured."""

    levels: tuple[LevelMeasurement, ...]
    fractures: FractureSummary
    flags: tuple[ColumnFlag, ...] = ()
    implausible: Implausible | None = None
    shapes: dict[str, BodyShape] = field(default_factory=dict, repr=False)


def measure_column(
    volume: Volume,
    bodies: LabelVolume,
    posterior: LabelVolume | None,
    vertebrae: Sequence[VertebraInput],
    *,
    slice_spacing_mm: float,
    age_years: float | None = None,
    sex: str | None = None,
    hu_clipped_at: float | None = None,
    settings: MeasureSettings = DEFAULT_SETTINGS,
) -> ColumnMeasurement:
    """Measure every named level of one CT.

    Parameters
    ----------
    volume : the original CT, any orientation.
    bodies, posterior : labels of bodies and posterior elements on an LPS-parallel grid; ``posterior`` may be missing.
    vertebrae : names, labels and rough centres, in any order.
    slice_spacing_mm : distance of the acquired slices (the largest regular one where the volume was regridded).
    age_years, sex : None where unknown; nothing is graded under 18.
    hu_clipped_at : highest HU that the file can hold, where it clips bone.
    """
    chain = sorted(vertebrae, key=lambda vertebra: level_position(vertebra.name))
    tangents = chain_tangents(chain)
    backs = posterior_directions(chain, tangents, posterior)
    shapes = {
        v.name: shape for v, up, back in zip(chain, tangents, backs, strict=True) if (shape := fit_body(bodies, v, up, back)) is not None
    }
    whole = {v.name: shapes[v.name] for v in chain if v.complete and v.name in shapes and _inside(volume, shapes[v.name])}
    bare = tuple(_bare(vertebra, shapes.get(vertebra.name), vertebra.name in whole) for vertebra in chain)
    implausible = check_attenuation(volume, list(shapes.values())) or check_geometry(whole)
    if implausible is not None:
        nothing = tuple(replace(level, excluded=(*level.excluded, implausible.code)) for level in bare)
        return ColumnMeasurement(levels=nothing, fractures=summarise({}, ()), implausible=implausible, shapes=shapes)
    levels = [_measure_level(volume, level, whole.get(level.name), slice_spacing_mm, hu_clipped_at, settings) for level in bare]
    flags = _spacing_flags(slice_spacing_mm, settings)
    levels, deformities = _grade(levels, slice_spacing_mm, age_years, sex, settings)
    levels = _mark_outliers(levels, settings)
    summary = summarise({level.name: level.genant.grade if level.genant else None for level in levels}, [level.name for level in levels])
    return ColumnMeasurement(levels=tuple(levels), fractures=summary, flags=(*flags, *deformities), shapes=shapes)


def _inside(volume: Volume, shape: BodyShape) -> bool:
    """Whether the whole body, by its extent, lies in the image with a little to spare, and is not cut by padding inside the grid."""
    reach_back, reach_side = 0.5 * shape.depth_mm, 0.4 * shape.width_mm
    top, bottom = float(np.nanmax(shape.top_mm)), float(np.nanmin(shape.bottom_mm))
    corners = np.array(
        [[up, back, side] for up in (top, bottom) for back in (-reach_back, reach_back) for side in (-reach_side, reach_side)]
    )
    # The faces of the image lie half a voxel outside the outermost voxel centres.
    if not volume.grid.contains(shape.frame.to_lps(corners), margin_mm=FIELD_MARGIN_MM).all():
        return False
    return max(_padded_share(volume, shape, shape.top_mm, 1.0), _padded_share(volume, shape, shape.bottom_mm, -1.0)) < MOST_PADDED_SHARE


def _padded_share(volume: Volume, shape: BodyShape, surface_mm: NDArray[np.float64], outward: float) -> float:
    """Share of the places just beyond an endplate that hold no measurement; discs hold gas at times, but never all over."""
    back, left = np.meshgrid(shape.posterior_mm[::3], shape.left_mm[::3], indexing="ij")
    over = (np.abs(back) < 0.45 * shape.depth_mm) & (np.abs(left) < 0.35 * shape.width_mm) & np.isfinite(surface_mm[::3, ::3])
    up = surface_mm[::3, ::3][over] + outward * FIELD_MARGIN_MM
    hu = volume.sample(shape.frame.to_lps(np.stack([up, back[over], left[over]], axis=-1)))
    return float(np.mean(hu <= PADDING_HU)) if hu.size else 0.0


def _bare(vertebra: VertebraInput, shape: BodyShape | None, complete: bool) -> LevelMeasurement:
    excluded = () if complete else (Code.CUT_BY_FIELD,)
    return LevelMeasurement(
        name=vertebra.name,
        label=vertebra.label,
        center_lps_mm=vertebra.center_lps_mm if shape is None or not complete else point_lps(shape.frame.origin_lps_mm),
        complete=complete,
        frame=shape.frame if shape else None,
        depth_mm=shape.depth_mm if shape else None,
        width_mm=shape.width_mm if shape else None,
        excluded=excluded,
    )


def _measure_level(
    volume: Volume,
    level: LevelMeasurement,
    shape: BodyShape | None,
    slice_spacing_mm: float,
    hu_clipped_at: float | None,
    settings: MeasureSettings,
) -> LevelMeasurement:
    """Heights and HU of one whole body, without comparison to others."""
    if shape is None:
        return level
    excluded = list(level.excluded)
    heights = None
    if slice_spacing_mm <= settings.heights_spacing_limit_mm + _TOLERANCE_MM:
        if endplates_are_sound(shape):
            heights = measure_heights(volume, shape, slice_spacing_mm=slice_spacing_mm)
        if heights is None:
            excluded.append(Code.LOW_QUALITY)
    else:
        excluded.append(Code.SLICES_TOO_THICK)
    voi = None
    if slice_spacing_mm <= settings.voi_spacing_limit_mm + _TOLERANCE_MM:
        depth_mm = depth_below_surface(shape)
        voi = measure_voi(volume, shape, settings.voi_style, depth_mm)
        if voi is None:
            excluded.append(Code.VOI_TOO_SMALL)
        excluded += _bone_codes(volume, shape, voi, hu_clipped_at, depth_mm)
    return replace(
        level,
        heights=heights,
        center_lps_mm=heights.center_lps_mm if heights else level.center_lps_mm,
        voi=voi,
        excluded=tuple(excluded),
    )


def _bone_codes(
    volume: Volume, shape: BodyShape, voi: TrabecularVoi | None, hu_clipped_at: float | None, depth_mm: NDArray[np.float64]
) -> list[Code]:
    foreign = foreign_content(volume, shape, hu_clipped_at, depth_mm)
    if foreign.metal_mm3 >= FOREIGN_MM3:
        return [Code.METAL]
    if foreign.cement_mm3 >= FOREIGN_MM3:
        return [Code.CEMENT]
    return [Code.SCLEROTIC] if voi is not None and voi.mean_hu > SCLEROTIC_HU else []


def _spacing_flags(slice_spacing_mm: float, settings: MeasureSettings) -> tuple[ColumnFlag, ...]:
    if slice_spacing_mm > settings.voi_spacing_limit_mm + _TOLERANCE_MM:
        detail = f"{slice_spacing_mm:.1f} mm apart: neither heights nor HU were measured."
    elif slice_spacing_mm > settings.heights_spacing_limit_mm + _TOLERANCE_MM:
        detail = f"{slice_spacing_mm:.1f} mm apart: heights were not measured, HU are less certain."
    elif slice_spacing_mm > settings.heights_spacing_mm + _TOLERANCE_MM:
        detail = f"{slice_spacing_mm:.1f} mm apart: heights are coarse, grades are given only where they are probable."
    else:
        return ()
    return (ColumnFlag(code=Code.SLICES_TOO_THICK, detail=detail),)


def _grade(
    levels: list[LevelMeasurement], slice_spacing_mm: float, age_years: float | None, sex: str | None, settings: MeasureSettings
) -> tuple[list[LevelMeasurement], list[ColumnFlag]]:
    """Expected heights, loss and grade of all levels; deformities that only look like fractures."""
    compared = _compared(levels, sex)
    if any(_outline_is_wrong(level) for level in compared):
        levels = [
            replace(level, heights=None, excluded=(*level.excluded, Code.LOW_QUALITY)) if _outline_is_wrong(own) else level
            for level, own in zip(levels, compared, strict=True)
        ]
        compared = _compared(levels, sex)
    if any(_is_collapsed_off_centre(level) for level in compared):
        levels = [
            replace(level, heights=level.heights.with_lowest_middle()) if level.heights and _is_collapsed_off_centre(own) else level
            for level, own in zip(levels, compared, strict=True)
        ]
        compared = _compared(levels, sex)
    adult = age_years is None or age_years >= ADULT_YEARS
    patterns = deformed_levels(
        [LevelShape(name=c.name, wedge_angle_deg=c.heights.wedge_angle_deg, loss=c.loss) for c in compared if c.heights]
    )
    graded: list[LevelMeasurement] = []
    flags: list[ColumnFlag] = []
    for level in compared:
        if level.name not in GRADED_LEVELS or not adult or not level.complete:
            graded.append(replace(level, expected_mm=None, loss=None, excluded=(*level.excluded, Code.LEVEL_NOT_GRADED)))
            continue
        if level.loss is None:
            reason = () if level.heights is None else (Code.NO_REFERENCE_HEIGHT,)
            graded.append(replace(level, excluded=(*level.excluded, *reason)))
            continue
        grade = genant_grade(level.loss)
        if level.name in patterns:
            flags.append(ColumnFlag(code=Code.DEFORMITY_NOT_FRACTURE, level=level.name, detail=patterns[level.name].capitalize() + "."))
            graded.append(replace(level, excluded=(*level.excluded, Code.DEFORMITY_NOT_FRACTURE)))
        elif not slices_allow(level.name, grade, slice_spacing_mm, settings):
            graded.append(replace(level, excluded=(*level.excluded, Code.SLICES_TOO_THICK)))
        else:
            fractured = (Code.FRACTURED,) if grade.grade >= 1 else ()
            graded.append(replace(level, genant=grade, excluded=(*level.excluded, *fractured)))
    return graded, flags


def slices_allow(name: str, grade: GenantGrade, slice_spacing_mm: float, settings: MeasureSettings = DEFAULT_SETTINGS) -> bool:
    """Whether slices so far apart allow this grade: thin ones any, thick ones where enough show such a body and it is sure."""
    if slice_spacing_mm <= settings.heights_spacing_mm + _TOLERANCE_MM:
        return True
    enough = slice_spacing_mm * FEWEST_SLICES_PER_BODY <= NORMS[name].posterior_mm
    return enough and certain_enough(grade, settings.thick_slice_probability)


def _compared(levels: Sequence[LevelMeasurement], sex: str | None) -> list[LevelMeasurement]:
    """The levels with expected heights and losses."""
    measured = [_level_heights(level) for level in levels if level.heights is not None and level.name in NORMS]
    expected = expected_heights(measured, sex)
    return [_compare(level, expected.get(level.name)) for level in levels]


def _outline_is_wrong(level: LevelMeasurement) -> bool:
    """Whether the heights cannot be those of a body, fractured or not, so that the outline they came from must be wrong.

    Bodies lose height, they do not gain it; and a fracture that lowers the posterior wall lowers the rest too (Genant's crush), so a
    posterior height that is low alone is a notch in the outline.
    """
    if level.loss is None or level.heights is None:
        return False
    loss = level.loss.positions
    if loss.posterior - max(loss.anterior, loss.middle) > MOST_POSTERIOR_ALONE:
        return True
    excess = -float(level.loss.positions.as_array().min())
    return excess > max(MOST_EXCESS, EXCESS_SIGMAS * level.loss.max_sd)


def _is_collapsed_off_centre(level: LevelMeasurement) -> bool:
    """Whether a body is no longer intact and lowest away from mid depth: Genant's grade is that of the most collapsed place."""
    collapsed = level.loss is not None and level.loss.max >= INTACT_LOSS
    return collapsed and level.heights is not None and level.heights.lowest_middle is not None


def _level_heights(level: LevelMeasurement) -> LevelHeights:
    if level.heights is None:
        return LevelHeights(name=level.name, heights_mm=(np.nan,) * 3, sd_mm=(np.nan,) * 3)
    values, sd = level.heights.heights_mm, level.heights.heights_sd_mm
    return LevelHeights(
        name=level.name, heights_mm=(values.anterior, values.middle, values.posterior), sd_mm=(sd.anterior, sd.middle, sd.posterior)
    )


def _compare(level: LevelMeasurement, expected: ExpectedHeights | None) -> LevelMeasurement:
    if level.heights is None or expected is None:
        return level
    loss = height_loss(
        level.heights.heights_mm.as_array(), level.heights.heights_sd_mm.as_array(), expected.heights_mm, expected.relative_sd
    )
    return replace(level, expected_mm=ThreeHeights.from_array(expected.heights_mm), references=expected.references, loss=loss)


def _mark_outliers(levels: list[LevelMeasurement], settings: MeasureSettings) -> list[LevelMeasurement]:
    usable = {level.name: level.voi.mean_hu for level in levels if level.voi is not None and level.usable_for_density()}
    found = outlier_levels(usable, settings)
    return [replace(level, excluded=(*level.excluded, Code.OUTLIER)) if level.name in found else level for level in levels]


def outlier_levels(mean_hu: Mapping[str, float], settings: MeasureSettings = DEFAULT_SETTINGS) -> set[str]:
    """Levels whose HU do not fit those up to three levels away (two needed to say so; HU rise slowly towards the head).

    ``mean_hu`` holds the levels that may enter the mean density.
    """
    found = set()
    for name, hu in mean_hu.items():
        rank = level_position(name)
        others = [other for level, other in mean_hu.items() if level != name and abs(level_position(level) - rank) <= OUTLIER_LEVELS_AWAY]
        if len(others) >= 2:
            middle = float(np.median(others))
            if abs(hu - middle) > max(settings.outlier_hu, settings.outlier_share * abs(middle)):
                found.add(name)
    return found
