"""The words of the documents: one TOML file per language, all with the keys of ``en.toml``."""

from importlib.resources import files

DEFAULT_LANGUAGE = "en"


def languages() -> list[str]:
    """Languages that the documents can be written in."""
    return sorted(entry.name.removesuffix(".toml") for entry in files(__name__).iterdir() if entry.name.endswith(".toml"))
