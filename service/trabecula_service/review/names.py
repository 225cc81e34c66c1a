"""Moving the names of a whole column up or down."""

from collections.abc import Sequence

from trabecula_morphometry.levels import LEVELS_IN_ORDER
from trabecula_service.review.errors import ReviewError


def renamed(names: Sequence[str], shift: int) -> dict[str, str]:
    """New name of each level; ``shift`` +1 moves every name one level down (T12 becomes L1).

    T13 is stepped over: somebody who has one is not renamed by a shift but by a person who looks at the ribs.

    Raises
    ------
    ReviewError : a name would run off the column, or the column has a T13.
    """
    if shift == 0:
        return {name: name for name in names}
    if "T13" in names:
        raise ReviewError("the names of a column with T13 cannot be moved as a whole", hint="reject the reading and say why")
    order = [name for name in LEVELS_IN_ORDER if name != "T13"]
    places = {name: order.index(name) + shift for name in names}
    if any(not 0 <= place < len(order) for place in places.values()):
        raise ReviewError("the names cannot be moved that far", where=f"{names[0]} to {names[-1]}", hint="move them the other way")
    return {name: order[place] for name, place in places.items()}
