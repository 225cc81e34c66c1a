"""What a case adds to the text of a code, in the language of a document.

The measuring side says it in English sentences with numbers and names in them, and knows no language. A language file lists these sentences
under ``[details]`` as patterns: ``{n...}`` stands for a number, ``{t...}`` for words, which are looked up in turn. What no pattern knows (a
reader's own words, a kind of object by its name in the standard) stays as it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NUMBER = r"[-+]?\d+(?:\.\d+)?%?"
_JOINTS = (r"((?<=\.) (?=[A-Z\d]))", r"(; )", r"(, )")
"""Where several sentences or reasons were put together, the looser joint first."""
_BRACKETED = re.compile(r"\(((?:[^()]|\([^()]*\))+)\)(\.?)")


@dataclass(frozen=True, slots=True)
class Said:
    """A text in another language; ``known`` where no word of it was left as it was."""

    text: str
    known: bool


class Sentences:
    """The patterns of one language."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        # The pattern with most words of its own first, so that a general one does not take what a special one says better.
        ordered = sorted(patterns, key=lambda pattern: -len(re.sub(r"\{\w+\}", "", pattern)))
        self._patterns = [(_expression(pattern), patterns[pattern]) for pattern in ordered]

    def say(self, text: str) -> Said:
        """The text in this language."""
        whole = self._by_pattern(text)
        if whole is not None:
            return whole
        bracketed = _BRACKETED.fullmatch(text)
        if bracketed:
            inside = self.say(bracketed[1])
            return Said(f"({inside.text}){bracketed[2]}", inside.known)
        for joint in _JOINTS:
            parts = re.split(joint, text)
            if len(parts) > 1:
                # Every second part is the joint itself.
                said = [self.say(part) if number % 2 == 0 else Said(part, known=True) for number, part in enumerate(parts)]
                return Said("".join(part.text for part in said), known=all(part.known for part in said))
        return Said(text, known=re.search(r"[^\W\d_]", text) is None)

    def _by_pattern(self, text: str) -> Said | None:
        body = text.removesuffix(".")
        for expression, translation in self._patterns:
            found = expression.fullmatch(body)
            if found is None:
                continue
            values = {name: self.say(value) for name, value in found.groupdict().items()}
            said = translation.format(**{name: value.text for name, value in values.items()})
            if body[0].isupper():
                said = said[0].upper() + said[1:]
            return Said(said + text[len(body) :], known=all(value.known for value in values.values()))
        return None


def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", pattern)
    literal, names = parts[::2], parts[1::2]
    groups = [f"(?P<{name}>{_NUMBER if name.startswith('n') else '.+?'})" for name in names]
    expression = "".join(re.escape(text) + group for text, group in zip(literal, [*groups, ""], strict=True))
    return re.compile(expression, re.IGNORECASE)
