"""Where predictions come from: a folder of them, or the product itself run over the images."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trabecula_models.evaluation.case_names import match_by_name
from trabecula_models.evaluation.case_score import Prediction
from trabecula_models.evaluation.dataset_layouts import DatasetCase
from trabecula_models.evaluation.evaluate_cases import Predict
from trabecula_models.evaluation.prediction_folders import RESULT_FILE, Part, find_predictions, read_product_folder
from trabecula_morphometry.errors import InputError
from trabecula_service.pipeline.analyze import analyze_input
from trabecula_service.pipeline.request import EXIT_UNREADABLE, AnalyzeRequest


def from_folder(root: Path, cases: list[DatasetCase], part: Part, *, only_predicted: bool) -> Predict:
    """Predictions found by name under a folder; a case without one counts as all missed, or not at all if ``only_predicted``.

    Raises
    ------
    InputError : no prediction, or none that belongs to a case.
    """
    if not root.is_dir():
        raise InputError("the folder of predictions is missing", where=root.name, hint="check the path after --prediction")
    found = match_by_name([case.name for case in cases], find_predictions(root))
    if not found:
        raise InputError("no prediction has the name of a case", where=root.name, hint=f"a case is named {cases[0].name}")

    def predict(case: DatasetCase) -> Prediction | None:
        files = found.get(case.name)
        if files is None:
            return None if only_predicted else Prediction(masks=None, note="no prediction")
        return files.read(part)

    return predict


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRun:
    """How the product is run over the images.

    ``results`` gets one out-folder per case; with ``resume`` a case whose result lies there already is not analysed again.
    """

    results: Path
    created: datetime
    resume: bool = False
    acquisition_file: Path | None = None
    calibration_file: Path | None = None


def from_product(run: ProductRun, part: Part) -> Predict:
    """Analyse the image of each case; an image that cannot be read or evaluated counts as all missed, with the reason in its note."""

    def predict(case: DatasetCase) -> Prediction | None:
        out = run.results / case.name
        if case.image is None:
            return Prediction(masks=None, note="no image")
        if not (run.resume and (out / RESULT_FILE).is_file()):
            request = AnalyzeRequest(
                input=case.image,
                out=out,
                created=run.created,
                acquisition_file=run.acquisition_file,
                calibration_file=run.calibration_file,
            )
            outcome = analyze_input(request)
            if outcome.exit_code == EXIT_UNREADABLE:
                return Prediction(masks=None, note=f"unreadable: {outcome.message}")
        return read_product_folder(out, part)

    return predict
