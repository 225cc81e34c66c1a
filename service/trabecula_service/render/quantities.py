"""The numbers and coded answers of a result as one flat list, so that every structured document says the same under the same codes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from highdicom.sr import CodedConcept

from trabecula_service.render import dicom_codes as concepts
from trabecula_service.render.trend import latest_change
from trabecula_service.result import Heights, Level, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One number: ``name`` and ``unit`` (UCUM) are coded, ``level`` is None for the study; a density carries its basis and material."""

    name: CodedConcept
    value: float
    unit: CodedConcept
    level: str | None = None
    basis: CodedConcept | None = None
    material: CodedConcept | None = None

    @property
    def text(self) -> str:
        """The value as documents write it: at most four decimals, which is far below any uncertainty here."""
        return f"{round(self.value, 4):g}" if abs(self.value) < 1e5 else f"{self.value:.0f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One coded answer."""

    name: CodedConcept
    value: CodedConcept
    level: str | None = None


Item: TypeAlias = Quantity | Answer

HU_MEAN = concepts.own_code("HU_MEAN", "Trabecular attenuation, mean")
HU_SD = concepts.own_code("HU_SD", "Trabecular attenuation, standard deviation")
HU_MEDIAN = concepts.own_code("HU_MEDIAN", "Trabecular attenuation, median")
VOI_VOLUME = concepts.own_code("VOI_VOLUME", "Volume of the trabecular volume of interest")


def study_items(result: Result) -> Iterator[Item]:
    """What the result says of the whole study."""
    density, fractures = result.density, result.fractures
    yield Answer(name=concepts.STATUS, value=concepts.STATUSES[result.status])
    yield Answer(name=concepts.CONTRAST_PHASE, value=concepts.contrast_phase_code(result.acquisition.contrast.phase))
    if density.mean_mg_cm3 is not None and density.interval95 is not None:
        names = (concepts.MEAN_DENSITY, concepts.MEAN_DENSITY_LOW, concepts.MEAN_DENSITY_HIGH)
        for name, value in zip(names, (density.mean_mg_cm3, *density.interval95), strict=True):
            yield _density(result, name, value, None)
        yield from trend_items(result)
    if density.category is not None:
        yield Answer(name=concepts.CATEGORY, value=concepts.CATEGORIES[density.category])
    if fractures.spinal_deformity_index is not None:
        yield Quantity(name=concepts.DEFORMITY_INDEX, value=fractures.spinal_deformity_index, unit=concepts.NO_UNIT)
    if fractures.max_grade is not None:
        yield Answer(name=concepts.MAX_GRADE, value=concepts.GRADES[fractures.max_grade])
    if result.levels:
        certainty = concepts.NUMBERING_CERTAIN if result.numbering.certain else concepts.NUMBERING_UNCERTAIN
        yield Answer(name=concepts.NUMBERING, value=certainty)


def trend_items(result: Result) -> Iterator[Item]:
    """The change since the latest earlier density of the same patient that can be compared; nothing where there is none."""
    found = latest_change(result)
    if found is None:
        return
    prior, change = found
    yield _density(result, concepts.EARLIER_DENSITY, prior.mean_mg_cm3, None)
    if result.source.scanned_on is not None:
        yield Quantity(name=concepts.EARLIER_DAYS, value=(result.source.scanned_on - prior.scanned_on).days, unit=concepts.DAY)
    yield _density(result, concepts.DENSITY_CHANGE, change.change_mg_cm3, None)
    yield _density(result, concepts.LEAST_CHANGE, change.least_significant_mg_cm3, None)
    direction = "decrease" if change.change_mg_cm3 < 0 else "increase"
    yield Answer(name=concepts.CHANGE_VERDICT, value=concepts.CHANGE_VERDICTS[direction if change.significant else "none"])


def density_items(result: Result, level: Level) -> Iterator[Item]:
    """Density and attenuation of one level."""
    if level.density is not None:
        low, high = level.density.interval95
        yield _density(result, concepts.DENSITY, level.density.value_mg_cm3, level.name)
        yield _density(result, concepts.DENSITY_LOW, low, level.name)
        yield _density(result, concepts.DENSITY_HIGH, high, level.name)
    if level.hu is not None:
        for name, value in ((HU_MEAN, level.hu.mean), (HU_SD, level.hu.sd), (HU_MEDIAN, level.hu.median)):
            yield Quantity(name=name, value=value, unit=concepts.HOUNSFIELD, level=level.name)
        yield Quantity(name=VOI_VOLUME, value=level.hu.volume_mm3, unit=concepts.CUBIC_MILLIMETRE, level=level.name)


def height_items(level: Level) -> Iterator[Item]:
    """Heights, losses and grade of one level."""
    yield from _places(level, level.heights_mm, concepts.HEIGHT, concepts.MILLIMETRE)
    yield from _places(level, level.heights_sd_mm, concepts.HEIGHT_SD, concepts.MILLIMETRE)
    yield from _places(level, level.expected_mm, concepts.HEIGHT_EXPECTED, concepts.MILLIMETRE)
    yield from _places(level, level.height_loss, concepts.HEIGHT_LOSS, concepts.PERCENT, factor=100.0)
    if level.height_loss is not None and level.height_loss.max is not None:
        loss_percent = level.height_loss.max * 100.0
        yield Quantity(name=concepts.HEIGHT_LOSS["max"], value=loss_percent, unit=concepts.PERCENT, level=level.name)
    if level.genant.grade is not None:
        yield Answer(name=concepts.GRADE, value=concepts.GRADES[level.genant.grade], level=level.name)
    if level.genant.type is not None:
        yield Answer(name=concepts.SHAPE, value=concepts.SHAPES[level.genant.type], level=level.name)
    for name, probability in zip(concepts.GRADE_PROBABILITY, level.genant.probability or (), strict=False):
        yield Quantity(name=name, value=probability, unit=concepts.NO_UNIT, level=level.name)


def level_items(result: Result, level: Level) -> Iterator[Item]:
    """Everything about one level, with the reasons for what is missing."""
    yield Quantity(name=concepts.CONFIDENCE, value=level.confidence, unit=concepts.NO_UNIT, level=level.name)
    yield Answer(name=concepts.FIELD_OF_VIEW, value=concepts.FIELD_OF_VIEW_VALUES[level.complete], level=level.name)
    yield from density_items(result, level)
    yield from height_items(level)
    for code in level.excluded:
        yield Answer(name=concepts.EXCLUSION, value=concepts.reason_code(code), level=level.name)


def _density(result: Result, name: CodedConcept, value: float, level: str | None) -> Quantity:
    material = concepts.MATERIALS[result.density.material] if result.density.material else None
    basis = concepts.BASES[result.density.basis]
    return Quantity(name=name, value=value, unit=concepts.MG_CM3, level=level, basis=basis, material=material)


def _places(
    level: Level, heights: Heights | None, names: dict[str, CodedConcept], unit: CodedConcept, factor: float = 1.0
) -> Iterator[Quantity]:
    if heights is None:
        return
    for place in concepts.PLACES:
        value = getattr(heights, place)
        if value is not None:
            yield Quantity(name=names[place], value=value * factor, unit=unit, level=level.name)
