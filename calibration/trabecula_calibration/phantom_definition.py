"""Calibration phantoms as data: what inserts a phantom has, where they lie, and how their values become a line.

The package brings the phantoms in ``phantoms/*.toml``, each with its citation; a site adds its own with the values of its certificate.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

from trabecula_calibration.physics import Material
from trabecula_morphometry.errors import TrabeculaError

MIN_INSERTS = 2


class PhantomError(TrabeculaError):
    """A phantom definition is malformed, or a phantom is not known."""


class Arithmetic(StrEnum):
    """How the certificate's values of an insert become an attenuation."""

    DIRECT = "direct"
    """HU rises linearly with the density of the base material in water-equivalent plastic."""

    WATER_AND_K2HPO4 = "water-and-k2hpo4"
    """Mindways: each plastic is described by an equivalent mass of water and of K2HPO4 (QCT PRO User Guide v5.0, as in Ogo)."""


class Geometry(StrEnum):
    """How far the places of the inserts can be trusted."""

    CERTIFIED = "certified"
    """Measured or from a drawing: an insert elsewhere is a reason to refuse."""

    APPROXIMATE = "approximate"
    """Order and proportions only: distances and diameters are scaled to what is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """One insert; ``center_mm`` is (across, down, along) in the phantom's frame, ``half_length_mm`` None means the whole length."""

    name: str
    center_mm: tuple[float, float, float]
    radius_mm: float
    density_mg_cm3: float
    water_mg_cm3: float | None = None
    half_length_mm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomDefinition:
    """A phantom; ``body_mm`` (width, height) and ``length_mm`` are its outer size, used to draw digital scans."""

    name: str
    title: str
    material: Material
    arithmetic: Arithmetic
    geometry: Geometry
    inserts: tuple[Insert, ...]
    length_mm: float
    body_mm: tuple[float, float]
    citation: str

    @property
    def stacked(self) -> bool:
        """Whether the inserts lie one behind the other (as in the European Spine Phantom) rather than side by side."""
        return any(insert.half_length_mm is not None for insert in self.inserts)


_KEYS = {"title", "material", "arithmetic", "geometry", "length_mm", "body_mm", "citation", "insert"}
_INSERT_KEYS = {"name", "center_mm", "radius_mm", "density", "water", "half_length_mm"}


def parse_phantom(toml_text: str, *, name: str) -> PhantomDefinition:
    """A definition from TOML; the files in ``phantoms/`` are the pattern.

    Raises
    ------
    PhantomError : no TOML, unknown or missing keys, values of the wrong type, inserts that overlap or cannot give a line.
    """
    try:
        table = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise PhantomError("the phantom file is not TOML", where=name, hint=str(error)) from error
    _check_keys(table, _KEYS, _KEYS, name)
    try:
        arithmetic = Arithmetic(table["arithmetic"])
        inserts = tuple(_parse_insert(insert, arithmetic, name) for insert in table["insert"])
        definition = PhantomDefinition(
            name=name,
            title=_text(table["title"]),
            material=Material(table["material"]),
            arithmetic=arithmetic,
            geometry=Geometry(table["geometry"]),
            inserts=inserts,
            length_mm=_positive(table["length_mm"]),
            body_mm=(_positive(table["body_mm"][0]), _positive(table["body_mm"][1])),
            citation=_text(table["citation"]),
        )
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise PhantomError("a value of the phantom file has the wrong type or is not known", where=name, hint=str(error)) from error
    _check_inserts(definition)
    return definition


def _parse_insert(table: object, arithmetic: Arithmetic, where: str) -> Insert:
    if not isinstance(table, Mapping):
        raise PhantomError("an insert is not a table", where=where, hint="start each insert with [[insert]]")
    needed = {"name", "center_mm", "radius_mm", "density"} | ({"water"} if arithmetic is Arithmetic.WATER_AND_K2HPO4 else set())
    _check_keys(table, _INSERT_KEYS, needed, f"{where}, insert {table.get('name', '?')}")
    across, down, along = (_number(value) for value in table["center_mm"])
    return Insert(
        name=_text(table["name"]),
        center_mm=(across, down, along),
        radius_mm=_positive(table["radius_mm"]),
        density_mg_cm3=_number(table["density"]),
        water_mg_cm3=_number(table["water"]) if "water" in table else None,
        half_length_mm=_positive(table["half_length_mm"]) if "half_length_mm" in table else None,
    )


def _check_keys(table: Mapping[str, object], known: set[str], needed: set[str], where: str) -> None:
    unknown, missing = sorted(set(table) - known), sorted(needed - set(table))
    if unknown or missing:
        what = f"unknown keys {', '.join(unknown)}" if unknown else f"missing keys {', '.join(missing)}"
        raise PhantomError(what, where=where, hint=f"known keys: {', '.join(sorted(known))}")


def _check_inserts(definition: PhantomDefinition) -> None:
    names = [insert.name for insert in definition.inserts]
    densities = [insert.density_mg_cm3 for insert in definition.inserts]
    if len(names) < MIN_INSERTS or len(set(names)) != len(names) or max(densities) - min(densities) < 50.0:
        raise PhantomError(
            "the inserts cannot give a line", where=definition.name, hint="give two or more named inserts at least 50 mg/cm3 apart"
        )
    if definition.stacked and any(insert.half_length_mm is None for insert in definition.inserts):
        raise PhantomError("only some inserts have a half_length_mm", where=definition.name, hint="give it to all inserts or to none")
    for number, first in enumerate(definition.inserts):
        for second in definition.inserts[number + 1 :]:
            apart = sum((a - b) ** 2 for a, b in zip(first.center_mm, second.center_mm, strict=True)) ** 0.5
            if apart < (first.radius_mm + second.radius_mm) * (0.5 if definition.stacked else 1.0):
                raise PhantomError(
                    f"inserts {first.name} and {second.name} overlap", where=definition.name, hint="check center_mm and radius_mm"
                )


def phantom_names() -> tuple[str, ...]:
    """Names of the phantoms that the package brings."""
    folder = resources.files("trabecula_calibration") / "phantoms"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def phantom_named(name: str) -> PhantomDefinition:
    """One of the package's phantoms.

    Raises
    ------
    PhantomError : no phantom of this name.
    """
    if name not in phantom_names():
        raise PhantomError("no phantom of this name", where=name, hint=f"choose one of {', '.join(phantom_names())}, or give a TOML file")
    text = (resources.files("trabecula_calibration") / "phantoms" / f"{name}.toml").read_text(encoding="utf-8")
    return parse_phantom(text, name=name)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} should be a text")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
        raise ValueError(f"{value!r} should be a number")
    return float(value)


def _positive(value: object) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError(f"{value!r} should be above zero")
    return number
