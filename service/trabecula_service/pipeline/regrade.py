"""What follows from the levels of a result once they are changed or joined: expected heights, losses, grades, the mean density (pure)."""

import math
from collections.abc import Collection, Sequence

import numpy as np

from trabecula_calibration.chosen_levels import LevelReading, mean_of_chosen
from trabecula_calibration.contrast import Phase
from trabecula_calibration.density import CATEGORY_SOURCE, Basis, LevelHu
from trabecula_calibration.physics import Material
from trabecula_morphometry.codes import Code
from trabecula_morphometry.deformity import LevelShape, deformed_levels
from trabecula_morphometry.expected import ExpectedHeights, LevelHeights, expected_heights
from trabecula_morphometry.genant import HeightLoss as LossOfHeight
from trabecula_morphometry.genant import genant_grade, height_loss
from trabecula_morphometry.levels import GRADED_LEVELS
from trabecula_morphometry.measure import ADULT_YEARS, SPOILS_DENSITY, slices_allow
from trabecula_morphometry.norms import NORMS
from trabecula_service.result import Acquisition, Density, Genant, HeightLoss, Heights, Level, LevelDensity, SixPoints, Source, TrabecularHu

PLACES = ("anterior", "middle", "posterior")
_RECOMPUTED = frozenset({Code.FRACTURED, Code.NO_REFERENCE_HEIGHT, Code.DEFORMITY_NOT_FRACTURE, Code.LEVEL_NOT_GRADED})


def graded_levels(
    levels: Sequence[Level],
    acquisition: Acquisition,
    source: Source,
    *,
    left_out: Collection[str] = (),
    no_witness: Collection[str] = (),
    sure: Collection[str] = (),
) -> tuple[list[Level], dict[str, str]]:
    """Expected heights, losses and grades of all levels anew from their heights, and the deformities by name.

    Parameters
    ----------
    levels : with their heights; grades and losses that they carry are replaced.
    acquisition : age and sex of the patient.
    source : how far apart the slices of each level lie; of thick ones only probable grades are given.
    left_out : levels that a person left out: a missing reference is no news of them.
    no_witness : levels whose heights say nothing about their neighbours.
    sure : levels whose points a person set: their grade is given from thick slices too.
    """
    adult = acquisition.age_years is None or acquisition.age_years >= ADULT_YEARS
    witnesses = [level for level in levels if level.heights_mm is not None and level.name in NORMS and level.name not in no_witness]
    expected = expected_heights([_level_heights(level) for level in witnesses], acquisition.sex)
    losses = {level.name: _loss(level, expected.get(level.name)) for level in witnesses}
    shapes = [
        LevelShape(name=level.name, wedge_angle_deg=_wedge_angle_deg(level.points_lps_mm, level.heights_mm), loss=losses[level.name])
        for level in witnesses
        if level.points_lps_mm is not None and level.heights_mm is not None
    ]
    patterns = deformed_levels(shapes)
    graded = []
    for level in levels:
        codes = [code for code in level.excluded if code not in _RECOMPUTED]
        given = expected.get(level.name)
        loss = losses.get(level.name)
        genant, expected_mm, height_losses = Genant(), None, None
        if level.name not in GRADED_LEVELS or not adult or not level.complete:
            codes.append(Code.LEVEL_NOT_GRADED)
        elif level.heights_mm is not None and loss is None:
            codes += [] if level.name in left_out else [Code.NO_REFERENCE_HEIGHT]
        elif loss is not None and given is not None:
            expected_mm = _heights(given.heights_mm.tolist(), 2)
            values = _heights(loss.positions.as_array().tolist(), 4)
            height_losses = HeightLoss(**values.model_dump(), max=round(loss.max, 4))
            grade = genant_grade(loss)
            unsure = level.name not in sure and not slices_allow(level.name, grade, source.slice_spacing_of_mm(level))
            if level.name in patterns:
                codes.append(Code.DEFORMITY_NOT_FRACTURE)
            elif not unsure:
                codes = [code for code in codes if code is not Code.SLICES_TOO_THICK]
                p0, p1, p2, p3 = (round(float(p), 4) for p in grade.probability)
                genant = Genant(grade=grade.grade, type=grade.type.value if grade.type else None, probability=(p0, p1, p2, p3))
                codes += [Code.FRACTURED] if grade.grade >= 1 else []
            elif Code.SLICES_TOO_THICK not in codes:
                codes.append(Code.SLICES_TOO_THICK)
        graded.append(
            level.model_copy(update={"expected_mm": expected_mm, "height_loss": height_losses, "genant": genant, "excluded": codes})
        )
    return graded, patterns


def _level_heights(level: Level) -> LevelHeights:
    return LevelHeights(name=level.name, heights_mm=_three(level.heights_mm), sd_mm=_three(level.heights_sd_mm))


def _three(heights: Heights | None) -> tuple[float, float, float]:
    values = [getattr(heights, place, None) for place in PLACES]
    first, second, third = (math.nan if value is None else float(value) for value in values)
    return first, second, third


def _loss(level: Level, expected: ExpectedHeights | None) -> LossOfHeight | None:
    if expected is None:
        return None
    own = _level_heights(level)
    return height_loss(np.array(own.heights_mm), np.array(own.sd_mm), expected.heights_mm, expected.relative_sd)


def _wedge_angle_deg(points: SixPoints, heights: Heights) -> float:
    upper = math.dist(points.anterior_superior, points.posterior_superior)
    lower = math.dist(points.anterior_inferior, points.posterior_inferior)
    return math.degrees(math.atan2((heights.posterior or 0.0) - (heights.anterior or 0.0), 0.5 * (upper + lower)))


def _heights(values: Sequence[float], digits: int) -> Heights:
    anterior, middle, posterior = (round(float(value), digits) for value in values)
    return Heights(anterior=anterior, middle=middle, posterior=posterior)


def density_over(old: Density, levels: Sequence[Level], acquisition: Acquisition, *, barred: bool) -> Density:
    """The mean over the levels that are usable, on the line that ``old`` was measured with; an empty one where too few are.

    ``barred`` says whether its calibration allows no category.
    """
    if old.material is None or old.basis == "none":
        return Density()
    readings = [_reading(level, level.hu, level.density) for level in levels if level.hu is not None and level.density is not None]
    chosen = mean_of_chosen(
        readings,
        material=Material(old.material),
        basis=Basis(old.basis),
        phase=Phase(acquisition.contrast.phase),
        age_years=acquisition.age_years,
        barred=barred,
    )
    if chosen.mean is None:
        # Without a mean there is no density at study level; what the levels carry stays with them.
        return Density()
    low, high = chosen.mean.interval95
    return old.model_copy(
        update={
            "mean_mg_cm3": round(chosen.mean.value_mg_cm3, 1),
            "interval95": (round(low, 1), round(high, 1)),
            "levels": list(chosen.levels_used),
            "category": chosen.category.value if chosen.category else None,
            "category_source": CATEGORY_SOURCE if chosen.category else None,
            "uncertainty": [],
        }
    )


def _reading(level: Level, hu: TrabecularHu, density: LevelDensity) -> LevelReading:
    usable = SPOILS_DENSITY.isdisjoint(level.excluded)
    own = LevelHu(name=level.name, mean_hu=hu.mean, sd_hu=hu.sd, volume_mm3=hu.volume_mm3, usable=usable)
    return LevelReading(hu=own, value_mg_cm3=density.value_mg_cm3, interval95=density.interval95)
