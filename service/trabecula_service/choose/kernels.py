"""How sharp a reconstruction kernel is, from its name (pure).

Names are the makers' own: GE words; Siemens letter, number, letter (B30f, Br38f, I70f), number = sharpness; Philips letters and words;
Canon/Toshiba FC numbers. A name that is not known is "unknown", never guessed. The group only helps to
prefer one of two series; it decides nothing about a measurement.
"""

import re
from typing import Literal

Sharpness = Literal["soft", "sharp", "unknown"]

_SOFT_WORDS = {"SOFT", "STANDARD", "STND", "STD", "DETAIL", "CHST", "SMOOTH", "A", "B", "C", "BODY", "ABDOMEN"}
_SHARP_WORDS = {"BONE", "BONEPLUS", "BONE+", "EDGE", "EDGE1", "LUNG", "ULTRA", "SHARP", "D", "E", "L", "YA", "YB", "YC", "YD", "YE"}
_SIEMENS = re.compile(r"^[BHIJDTUSQ][A-Z]?(\d{2})[A-Z]?$")
_CANON = re.compile(r"^FC(\d{2})")
_SIEMENS_SHARP_FROM = 50
"""B50 and up are "sharp" in Siemens' own grading (B10 very smooth to B90 ultra sharp)."""

_CANON_SOFT = range(1, 30)
_CANON_SHARP = range(30, 90)


def kernel_sharpness(kernel: str) -> Sharpness:
    """Group of a kernel by its first value, e.g. "soft" for B30f, STANDARD, FC08; "sharp" for B70f, BONE, FC30."""
    name = kernel.strip().upper()
    if name in _SOFT_WORDS:
        return "soft"
    if name in _SHARP_WORDS:
        return "sharp"
    siemens = _SIEMENS.match(name)
    if siemens:
        return "sharp" if int(siemens[1]) >= _SIEMENS_SHARP_FROM else "soft"
    canon = _CANON.match(name)
    if canon:
        return "soft" if int(canon[1]) in _CANON_SOFT else "sharp" if int(canon[1]) in _CANON_SHARP else "unknown"
    return "unknown"
