"""Which vertebrae were found under their right name, and how far off their centres are, as VerSe counts it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Point = tuple[float, float, float]

HIT_MM = 20.0
"""A vertebra farther off than this is not identified (VerSe'19 and '20, Tasks: "less than 20 mm")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """One vertebra of the reference.

    ``distance_mm`` is the distance of the predicted centre of the same label, None where that label was not predicted; ``hit`` says
    whether it counts as identified.
    """

    distance_mm: float | None
    hit: bool


def identify(reference_mm: Mapping[int, Point], predicted_mm: Mapping[int, Point]) -> dict[int, Identification]:
    """Judge every vertebra of the reference.

    Parameters
    ----------
    reference_mm, predicted_mm : centre by label, LPS millimetres.

    Returns
    -------
    identifications : by label of the reference; a label that was not predicted is a miss.

    Notes
    -----
    VerSe's ``get_hits`` (anjany/verse, utils/eval_utilities.py): among the labels of both lists, the true centre nearest to the predicted
    centre of label v must be that of v, and closer than 20 mm. Predicted labels that the reference lacks neither help nor harm here; they
    are counted apart (precision).
    """
    common = sorted(reference_mm.keys() & predicted_mm.keys())
    found: dict[int, Identification] = {label: Identification(distance_mm=None, hit=False) for label in reference_mm}
    if common:
        true = np.array([reference_mm[label] for label in common])
        for place, label in enumerate(common):
            distances = np.linalg.norm(true - np.array(predicted_mm[label]), axis=1)
            own = float(distances[place])
            found[label] = Identification(distance_mm=own, hit=own < HIT_MM and int(np.argmin(distances)) == place)
    return found
