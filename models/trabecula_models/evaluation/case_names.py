"""Case names out of file names: what is left when the words that say the kind of file are taken away."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_NIFTI = (".nii.gz", ".nii")
_KIND = re.compile(r"(?:[_-](?:seg-(?:vert|subreg|vb)|iso-ctd|ctd-iso|seg|msk|mask|ctd|ct|0000))$", re.IGNORECASE)
"""File kinds at the end of a name: VerSe'19 ``_seg _ctd``, VerSe'20 ``_seg-vert_msk _seg-subreg_ctd _seg-vb_ctd _iso-ctd``, CTSpine1K
``_ct _seg``, nnU-Net ``_0000``."""

_ENTITY = re.compile(r"-(?:dir-[a-z]+|ct-(?:ax|sag|cor|iso))(?=-|$)")
_IMAGE_SERIES = re.compile(r"(?:verse|trab)(\d+)", re.IGNORECASE)


def without_extension(path: Path) -> str:
    """File name without .nii, .nii.gz, .json."""
    name = path.name
    for ending in (*_NIFTI, ".json"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def is_nifti(path: Path) -> bool:
    """Whether a file name is one of a NIfTI file."""
    return path.name.lower().endswith(_NIFTI)


def case_name(path: Path) -> str:
    """The case's name: ``sub-verse012_seg-vert_msk.nii.gz`` and ``sub-verse012_ct.nii.gz`` both give ``sub-verse012``."""
    name = without_extension(path)
    while (shorter := _KIND.sub("", name)) != name:
        name = shorter
    return name


def series_number(name: str) -> int | None:
    """Number of VerSe's image series, as its spreadsheets count: the last ``verseNNN`` of the name (``trabNNNN`` of our own exports).

    A column cut into stacks names the patient first (``sub-verse400_split-verse090``, ``verse400_verse090``).
    """
    found = _IMAGE_SERIES.findall(name)
    return int(found[-1]) if found else None


def match_by_name(wanted: Iterable[str], offered: Mapping[str, T]) -> dict[str, T]:
    """Find each wanted case among the offered ones.

    First by the whole name (case, ``_`` against ``-`` and a leading ``sub-`` do not matter), then, where that leaves exactly one, without
    the words for the image's orientation (``_dir-ax``, ``_CT-iso``).

    Returns
    -------
    found : by wanted name; a case that is not offered, or not beyond doubt, is left out.
    """
    strict = _unique({name: _folded(name) for name in offered})
    loose = _unique({name: _ENTITY.sub("", _folded(name)) for name in offered})
    wanted = list(wanted)
    loose_wanted = _unique({name: _ENTITY.sub("", _folded(name)) for name in wanted})
    found = {}
    for name in wanted:
        folded = _folded(name)
        key = strict.get(folded)
        if key is None and loose_wanted.get(_ENTITY.sub("", folded)) == name:
            key = loose.get(_ENTITY.sub("", folded))
        if key is not None:
            found[name] = offered[key]
    return found


def _folded(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("sub-")


def _unique(folded_of: Mapping[str, str]) -> dict[str, str]:
    """Names by their folded form, without forms that several names share."""
    seen: dict[str, list[str]] = {}
    for name, folded in folded_of.items():
        seen.setdefault(folded, []).append(name)
    return {folded: names[0] for folded, names in seen.items() if len(names) == 1}
