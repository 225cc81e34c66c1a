"""The words of the documents, by language: one TOML file per language in ``languages/``."""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

from trabecula_morphometry.codes import CODE_TABLE, Code
from trabecula_service.render.details import Sentences
from trabecula_service.render.document_input import RenderError
from trabecula_service.render.languages import languages
from trabecula_service.result import Flag


@lru_cache
def table(language: str, section: str) -> Mapping[str, str]:
    """One section of a language file.

    Raises
    ------
    RenderError
        If there is no such language.
    """
    return _read(language)[section]


def phrase(language: str, key: str, **values: object) -> str:
    """A sentence with its values filled in."""
    return table(language, "sentence")[key].format(**values)


def term(language: str, section: str, key: str) -> str:
    """A word for a value of the result; a value that the language does not know is shown as it is, without underscores."""
    return table(language, section).get(key) or key.replace("_", " ")


def code_text(language: str, code: Code) -> str:
    """What a code means."""
    return _codes(language).get(code, [CODE_TABLE[code].text])[0]


def code_advice(language: str, code: Code) -> str:
    """What the reader should do about a code."""
    return _codes(language).get(code, ["", CODE_TABLE[code].advice])[1]


def flag_text(language: str, flag: Flag) -> str:
    """Text of a flag: that of its code, and behind it what the case adds."""
    detail = flag.text.removeprefix(CODE_TABLE[flag.code].text)
    if len(detail) == len(flag.text):
        return flag.text
    return f"{code_text(language, flag.code)} {in_language(language, detail.strip())}".rstrip()


def in_language(language: str, text: str) -> str:
    """A sentence of the measuring side in a language, as far as its file knows it."""
    return _details(language).say(text).text


@lru_cache
def _details(language: str) -> Sentences:
    # A detail may name another code's reason: why a further series was not measured.
    codes = {entry.text.removesuffix("."): code_text(language, code).removesuffix(".") for code, entry in CODE_TABLE.items()}
    return Sentences({**codes, **_read(language).get("details", {})})


def _codes(language: str) -> Mapping[str, list[str]]:
    return _read(language).get("codes", {})  # type: ignore[return-value]


@lru_cache
def _read(language: str) -> Mapping[str, Mapping[str, str]]:
    path = files("trabecula_service.render.languages") / f"{language}.toml"
    if language not in languages():
        raise RenderError("there is no such language", where=language, hint=f"one of {', '.join(languages())}")
    content: Mapping[str, Mapping[str, str]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return content
