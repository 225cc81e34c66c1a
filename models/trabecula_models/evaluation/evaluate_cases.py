"""From cases to scores, one case in memory at a time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from trabecula_models.evaluation.case_score import CaseScore, Prediction, score_case
from trabecula_models.evaluation.dataset_layouts import DatasetCase
from trabecula_morphometry.errors import InputError

Predict = Callable[[DatasetCase], Prediction | None]
"""Gives the prediction of a case, None where there is none and the case shall not count."""

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Scores of the cases in their order, what was predicted for each (without its masks), and the cases left out with the reason."""

    scores: list[CaseScore] = field(default_factory=list)
    predictions: dict[str, Prediction] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    @property
    def groups(self) -> list[str]:
        """The sets of the cases, in the order of their first case."""
        return list(dict.fromkeys(score.group for score in self.scores))


def evaluate_cases(cases: Iterable[DatasetCase], predict: Predict, tell: Told) -> Evaluation:
    """Score every case.

    A reference that cannot be read is left out by name and the others go on; a prediction that cannot be read is an error of the caller.

    Raises
    ------
    InputError : a prediction cannot be read.
    """
    done = Evaluation()
    for case in cases:
        try:
            reference = case.read_reference()
        except InputError as error:
            done.left_out.append((case.name, str(error)))
            tell(f"{case.name}: left out, {error}")
            continue
        prediction = predict(case)
        if prediction is None:
            done.left_out.append((case.name, "no prediction"))
            tell(f"{case.name}: left out, no prediction")
            continue
        score = score_case(case.name, reference, prediction, case.group)
        done.scores.append(score)
        done.predictions[case.name] = replace(prediction, masks=None)
        tell(_line(score))
    return done


def _line(score: CaseScore) -> str:
    dice = "-" if score.dice_mean is None else f"{score.dice_mean:.3f}"
    return f"{score.name}: {score.hits} of {len(score.of_reference)} identified, DSC {dice}" + (f", {score.note}" if score.note else "")
