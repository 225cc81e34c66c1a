"""Places on the small charts beside the table of levels, in the units of their SVG viewBox."""

from dataclasses import dataclass

LOSS_WIDTH, LOSS_TOP = 120.0, 0.60
"""Height losses from 0 to 60 %; more is drawn as 60 %."""

DENSITY_WIDTH, DENSITY_TOP_MG_CM3 = 150.0, 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LossBar:
    """A bar of the largest height loss."""

    width: float
    ticks: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityBar:
    """A density with its interval over the three bands."""

    value: float
    low: float
    high: float


LOSS_TICKS = tuple(round(LOSS_WIDTH * limit / LOSS_TOP, 1) for limit in (0.20, 0.25, 0.40))
DENSITY_TICKS = tuple(round(DENSITY_WIDTH * limit / DENSITY_TOP_MG_CM3, 1) for limit in (80.0, 120.0))


def loss_bar(loss: float) -> LossBar:
    """The bar of one level; a negative loss (higher than expected) is drawn as none."""
    return LossBar(width=round(LOSS_WIDTH * min(max(loss, 0.0), LOSS_TOP) / LOSS_TOP, 1), ticks=LOSS_TICKS)


def density_bar(value_mg_cm3: float, interval95: tuple[float, float]) -> DensityBar:
    """The bar of one level, cut at both ends of the chart."""

    def place(density: float) -> float:
        return round(DENSITY_WIDTH * min(max(density, 0.0), DENSITY_TOP_MG_CM3) / DENSITY_TOP_MG_CM3, 1)

    return DensityBar(value=place(value_mg_cm3), low=place(interval95[0]), high=place(interval95[1]))
