"""``trabecula batch``: a folder of studies becomes one table."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trabecula_service.batch.store import Outcome

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_STOPPED = 130


def batch(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Studies in any order of folders: DICOM, zips, NIfTI.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results and tables; a second run goes on where the first stopped.")],
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Studies at a time; one per four cores if not given.")] = None,
    calibration: Annotated[Path | None, typer.Option("--calibration", help="TOML with calibration entries.")] = None,
    acquisition: Annotated[Path | None, typer.Option("--acquisition", help="TOML with facts that override every header.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file: [analysis], [calibration] and [work] are used.")] = None,
    keep: Annotated[str, typer.Option("--keep", help="Files of each study that stay: all, masks or results.")] = "all",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N studies that are still to do.")] = None,
    part: Annotated[str, typer.Option("--part", help="K/N: only this share of the studies, for several machines on one folder.")] = "1/1",
) -> None:
    """Analyse every study below FOLDER and write results.csv, results.parquet, studies.csv and summary.txt.

    Exit code 0: every study has an answer (a reason not to measure is one); 1: some failed and are tried again by the next run.
    """
    import os
    from datetime import UTC, datetime
    from threading import Event

    from trabecula_morphometry.errors import TrabeculaError
    from trabecula_service import __version__
    from trabecula_service.batch.cases import find_cases
    from trabecula_service.batch.run import ANALYSIS, BatchOptions, run_batch, still_to_do
    from trabecula_service.batch.store import BatchFolder, Keep
    from trabecula_service.batch.tables import write_tables
    from trabecula_service.calibrate.store import calibration_policy
    from trabecula_service.queue.analysis_process import AnalysisProcess
    from trabecula_service.settings.read import read_settings

    stopping = Event()
    try:
        share, settings = _part(part), read_settings(config)
        options = BatchOptions(
            backend=settings.analysis.choice(),
            calibration_policy=calibration_policy(settings),
            calibration_file=_existing(calibration or settings.work.calibration_file),
            acquisition_file=_existing(acquisition or settings.work.acquisition_file),
            voi_style=settings.analysis.voi,
            language=settings.work.language,
            keep=Keep(keep),
        )
        store = BatchFolder(out)
        with store.locked(part.replace("/", "-of-")):
            now = store.same_settings(options.settings(__version__, datetime.now(UTC).replace(microsecond=0)))
            with _counting() as tick:
                found = find_cases(folder, tick)
            todo = still_to_do(found.cases, store, share)[:limit]
            passed = f", {found.passed_over} other files passed over" if found.passed_over else ""
            typer.echo(f"{len(found.cases)} studies{passed}; {len(todo)} to do", err=True)
            count = min(workers or max(1, (os.cpu_count() or 1) // 4), max(len(todo), 1))
            # Each process would otherwise start a thread per core and they would stand in each other's way.
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
            work = settings.work
            analyses = [
                AnalysisProcess(
                    ANALYSIS,
                    time_limit_seconds=work.time_limit_seconds,
                    memory_limit_gib=work.memory_limit_gib,
                    output=store.output_file(number),
                )
                for number in range(count)
            ]
            try:
                with _progress(len(todo)) as report:
                    run_batch(
                        todo,
                        folder,
                        store,
                        options,
                        analyses,
                        created=datetime.fromisoformat(now),
                        report=report,
                        stopping=stopping,
                    )
            except KeyboardInterrupt:
                stopping.set()
            tables = write_tables(store)
            typer.echo(tables.summary)
            typer.echo(f"{', '.join(tables.files)} in {out}")
            failed = any(outcome.state == "failed" for outcome in store.outcomes())
    except TrabeculaError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(EXIT_INPUT) from error
    if stopping.is_set():
        typer.echo("stopped; the same command goes on", err=True)
        raise typer.Exit(EXIT_STOPPED)
    raise typer.Exit(EXIT_FAILED if failed else 0)


def _part(text: str) -> tuple[int, int]:
    first, _, count = text.partition("/")
    if not (first.isdigit() and count.isdigit() and 1 <= int(first) <= int(count)):
        raise typer.BadParameter(f"--part {text}: expected K/N with K from 1 to N, for example 2/8")
    return int(first), int(count)


def _existing(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise typer.BadParameter(f"no such file: {path}")
    return path


@contextmanager
def _counting() -> Iterator[Callable[[int], None]]:
    """The number of files looked at, on a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _count: None
        return
    with console.status("looking for studies") as status:
        yield lambda count: status.update(f"looking for studies: {count} files") if count % 500 == 0 else None


@contextmanager
def _progress(total: int) -> Iterator[Callable[["Outcome"], None]]:
    """A bar with the time left on a terminal; a line per study elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    done = iter(range(1, total + 1))
    if not console.is_terminal:
        yield lambda outcome: typer.echo(
            f"[{next(done)}/{total}] {outcome.case}: {outcome.state}: {outcome.message} ({outcome.seconds:.0f} s)", err=True
        )
        return
    columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total)

        def report(outcome: "Outcome") -> None:
            if outcome.state in ("failed", "unreadable"):
                bar.console.print(f"{outcome.case}: {outcome.state}: {outcome.message}", markup=False, highlight=False)
            bar.update(task, advance=1, description=outcome.case[:40])

        yield report
