"""``trabecula evaluate``: scores against reference masks, centres and grades of VerSe, CTSpine1K or any pair of folders."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trabecula_models.evaluation.dataset_layouts import DatasetCase
    from trabecula_models.evaluation.evaluate_cases import Evaluation, Predict
    from trabecula_models.evaluation.prediction_folders import Part

evaluate = typer.Typer(help="Compare predictions with references: Dice, HD95, id-rate, centres, grades.", no_args_is_help=True)

Dataset = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set, searched with all its subfolders.")]
PredictionOption = Annotated[
    Path | None,
    typer.Option("--prediction", help="Label volumes or out-folders of `trabecula analyze`; without it the images are analysed."),
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for the CSV files and tables.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N cases.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Keep the results of an earlier run under --out.")]
OnlyOption = Annotated[bool, typer.Option("--only-predicted", help="Leave out cases without a prediction, which else count as missed.")]
FactsOption = Annotated[Path | None, typer.Option("--acquisition", help="TOML with facts about all images, as for `trabecula analyze`.")]
CalibrationOption = Annotated[Path | None, typer.Option("--calibration", help="TOML with calibration entries, for the densities.")]
DEFAULT_OUT = Path("evaluation")


@evaluate.command()
def pairs(
    prediction: Annotated[Path, typer.Option("--prediction", help="Label volumes or out-folders of `trabecula analyze`.")],
    reference: Annotated[Path, typer.Option("--reference", help="Label volumes in VerSe numbers.")],
    out: OutOption = DEFAULT_OUT,
    bodies: Annotated[bool, typer.Option("--bodies", help="The references hold vertebral bodies only.")] = False,
    only_predicted: OnlyOption = False,
) -> None:
    """Compare two folders of masks, found by name."""
    from trabecula_models.evaluation.dataset_layouts import find_reference_masks
    from trabecula_models.evaluation.prediction_folders import Part
    from trabecula_service.evaluate.predictors import from_folder

    with _refusals():
        cases = find_reference_masks(reference)
        part = Part.BODY if bodies else Part.VERTEBRA
        _report(out, _run(cases, from_folder(prediction, cases, part, only_predicted=only_predicted)), f"{len(cases)} reference masks")


@evaluate.command()
def verse(
    dataset: Dataset,
    prediction: PredictionOption = None,
    out: OutOption = DEFAULT_OUT,
    grades: Annotated[bool, typer.Option("--grades", help="Compare Genant grades with the spreadsheet of the data set.")] = False,
    spreadsheet: Annotated[
        Path | None, typer.Option("--spreadsheet", help="CSV or XLSX of grades, if not in the data set's folder.")
    ] = None,
    limit: LimitOption = None,
    resume: ResumeOption = False,
    only_predicted: OnlyOption = False,
    acquisition: FactsOption = None,
    calibration: CalibrationOption = None,
) -> None:
    """VerSe'19 or VerSe'20, as challenge files or as subject folders."""
    from trabecula_models.evaluation.dataset_layouts import find_table, find_verse_cases
    from trabecula_models.evaluation.prediction_folders import Part
    from trabecula_models.evaluation.verse_grades import read_verse_grades
    from trabecula_morphometry.errors import InputError
    from trabecula_service.evaluate.report import write_grade_report

    with _refusals():
        cases = find_verse_cases(dataset)[:limit]
        rows = None
        if grades or spreadsheet is not None:
            table = spreadsheet or find_table(dataset)
            if table is None:
                raise InputError("no spreadsheet of grades found", where=dataset.name, hint="name it with --spreadsheet")
            rows = read_verse_grades(table)
        predict = _predictor(cases, prediction, out, Part.VERTEBRA, resume, only_predicted, acquisition, calibration)
        evaluation = _run(cases, predict)
        _report(out, evaluation, f"VerSe, {len(cases)} cases")
        if rows is not None:
            typer.echo(f"\n{write_grade_report(out, evaluation, rows)}")


@evaluate.command()
def ctspine1k(
    dataset: Dataset,
    prediction: PredictionOption = None,
    out: OutOption = DEFAULT_OUT,
    split: Annotated[Path | None, typer.Option("--split", help="data_split.txt of the data set: one column per set.")] = None,
    sets: Annotated[str, typer.Option("--sets", help="Which sets of the split, separated by commas.")] = "test_public,test_private",
    limit: LimitOption = None,
    resume: ResumeOption = False,
    only_predicted: OnlyOption = False,
    acquisition: FactsOption = None,
) -> None:
    """CTSpine1K: volumes and _seg labels in folders by source."""
    from trabecula_models.evaluation.dataset_layouts import find_ctspine1k_cases, read_split
    from trabecula_models.evaluation.prediction_folders import Part
    from trabecula_morphometry.errors import InputError

    with _refusals():
        chosen = None
        if split is not None:
            known = read_split(split)
            wanted = [name.strip() for name in sets.split(",")]
            if unknown := [name for name in wanted if name not in known]:
                raise InputError("the split has no such set", where=", ".join(unknown), hint=f"it has {', '.join(known)}")
            chosen = {name: known[name] for name in wanted}
        cases = find_ctspine1k_cases(dataset, chosen)[:limit]
        predict = _predictor(cases, prediction, out, Part.VERTEBRA, resume, only_predicted, acquisition, None)
        _report(out, _run(cases, predict), f"CTSpine1K, {len(cases)} cases")


def _predictor(
    cases: "list[DatasetCase]",
    prediction: Path | None,
    out: Path,
    part: "Part",
    resume: bool,
    only_predicted: bool,
    acquisition: Path | None,
    calibration: Path | None,
) -> "Predict":
    from datetime import UTC, datetime

    from trabecula_service.evaluate.predictors import ProductRun, from_folder, from_product

    if prediction is not None:
        return from_folder(prediction, cases, part, only_predicted=only_predicted)
    run = ProductRun(
        results=out / "results",
        created=datetime.now(UTC).replace(microsecond=0),
        resume=resume,
        acquisition_file=acquisition,
        calibration_file=calibration,
    )
    return from_product(run, part)


def _run(cases: "list[DatasetCase]", predict: "Predict") -> "Evaluation":
    from trabecula_models.evaluation.evaluate_cases import evaluate_cases
    from trabecula_morphometry.errors import InputError

    number: Callable[[], int] = iter(range(1, len(cases) + 1)).__next__
    evaluation = evaluate_cases(cases, predict, lambda line: typer.echo(f"[{number()}/{len(cases)}] {line}", err=True))
    if not evaluation.scores:
        raise InputError(
            "no case could be compared", where="; ".join(why for _, why in evaluation.left_out[:1]), hint="see the lines above"
        )
    return evaluation


def _report(out: Path, evaluation: "Evaluation", title: str) -> None:
    from trabecula_service.evaluate.report import write_report

    typer.echo(write_report(out, evaluation, title))
    typer.echo(f"CSV files and tables in {out}")


@contextmanager
def _refusals() -> Iterator[None]:
    """What is wrong with the input, on one line of standard error, exit code 2."""
    from trabecula_morphometry.errors import TrabeculaError

    try:
        yield
    except TrabeculaError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(2) from error
