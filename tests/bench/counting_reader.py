"""The names that a reader would give who sees every body, rib and sacrum of a scan without error: what no id-rate can exceed.

The reader knows a thoracic vertebra from a lumbar one by its form, a short rib from a long one, the first rib by its bend, and a last
lumbar vertebra that is joined to the sacrum. With that, several columns can still look alike: T13 with a short rib above five lumbar
vertebrae is, without the first rib in view, the picture of a T12 with a short rib. The reader then says what is more common in people.

What a vertebra that the field cuts is like may be seen or not: its rib can lie in the lost half. So there are two readers, one who knows
it all the same, and one who sees no more than that a vertebra is there; what can be had lies between them.
"""

from collections.abc import Collection, Mapping, Sequence

from trabecula_models.synthesis.variants import Variant

CERVICAL, FIRST_RIB, RIB, SHORT_RIB, THORACIC = "cervical", "first rib", "rib", "short rib", "thoracic"
LUMBAR, JOINED, SACRUM = "lumbar", "joined", "sacrum"
UNSEEN = "unseen"

_THORACIC_LEVELS = tuple(f"T{number}" for number in range(1, 13))
_LUMBAR_LEVELS = tuple(f"L{number}" for number in range(1, 6))

Column = tuple[tuple[str, str], ...]
"""Names and looks, cranial to caudal; the sacrum is last."""


def _column(names: Sequence[str], different: Mapping[str, str]) -> Column:
    usual = {name: RIB if name in _THORACIC_LEVELS else LUMBAR for name in names} | {"C7": CERVICAL, "T1": FIRST_RIB}
    return (*((name, (usual | dict(different))[name]) for name in names), (SACRUM, SACRUM))


_USUAL = ("C7", *_THORACIC_LEVELS, *_LUMBAR_LEVELS)
COLUMNS: dict[str, Column] = {
    Variant.USUAL.value: _column(_USUAL, {}),
    Variant.SHORT_RIB.value: _column(_USUAL, {"T12": SHORT_RIB}),
    Variant.NO_RIB_12.value: _column(_USUAL, {"T12": THORACIC}),
    Variant.SACRALISED_L5.value: _column(_USUAL, {"L5": JOINED}),
    Variant.L6.value: _column((*_USUAL, "L6"), {}),
    Variant.FOUR_LUMBAR.value: _column(_USUAL[:-1], {}),
    Variant.T13.value: _column(("C7", *_THORACIC_LEVELS, "T13", *_LUMBAR_LEVELS), {"T13": SHORT_RIB}),
}
"""As `variants.vary` and `variants.rib_changes` draw them."""


def _pieces(column: Column, wanted: Sequence[str], key: int) -> list[list[str]]:
    """Names of all pieces of a column whose names (key 0) or looks (key 1) are the wanted ones."""
    pieces = [column[start : start + len(wanted)] for start in range(len(column) - len(wanted) + 1)]
    return [[name for name, _ in piece] for piece in pieces if all(_fits(one[key], look) for one, look in zip(piece, wanted, strict=True))]


def _fits(look: str, seen: str) -> bool:
    """Whether a vertebra with this look can be the one seen; of an unseen one it is known that it is no sacrum."""
    return look != SACRUM if seen == UNSEEN else look == seen


def names_by_counting(
    variant: str, in_view: Sequence[str], sacrum: bool, shares: Mapping[str, float], unseen: Collection[str] = ()
) -> dict[str, str]:
    """The reader's name of every level in view, by its true name.

    `in_view` holds the true names of the levels wholly or partly in the field, cranial to caudal without a gap; of `unseen` ones the reader
    knows only that they are there. `shares` says how common each variant is. Readings that are equally common are decided for the truth, so
    that the result bounds every program's.

    Raises:
        ValueError: when the levels are no piece of a column of that variant.
    """
    names = [*in_view, *([SACRUM] if sacrum else [])]
    if not _pieces(COLUMNS[variant], names, key=0):
        raise ValueError(f"{', '.join(names)}: no piece of a column of variant {variant}")
    looks = [UNSEEN if name in unseen else dict(COLUMNS[variant])[name] for name in names]
    readings = {other: _pieces(column, looks, key=1) for other, column in COLUMNS.items()}
    most = max(shares[other] for other, some in readings.items() if some)
    likeliest = [reading for other, some in readings.items() if shares[other] == most for reading in some]
    chosen = names if names in likeliest else likeliest[0]
    return {name: read for name, read in zip(names, chosen, strict=True) if name != SACRUM}
