"""The uncertainty budget of a density: named parts, joined as the root of the sum of their squares."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One source of uncertainty, one sigma in mg/cm3."""

    name: str
    sd_mg_cm3: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The parts that count."""

    parts: tuple[Part, ...]

    @property
    def sd_mg_cm3(self) -> float:
        """One sigma of the whole."""
        return float(sum(part.sd_mg_cm3**2 for part in self.parts) ** 0.5)


def combined(*parts: Part) -> Budget:
    """A budget of the parts that are not zero."""
    return Budget(parts=tuple(part for part in parts if part.sd_mg_cm3 > 0.0))
