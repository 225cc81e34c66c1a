"""``trabecula calibrate``: from a phantom scan to an entry of the registry, and its control in time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trabecula_calibration.phantom_scan import PhantomReading
    from trabecula_calibration.registry import Registry
    from trabecula_service.calibrate.phantom_series import PhantomSeries

EXIT_REFUSED = 3

calibrate = typer.Typer(help="Calibration: fit phantom scans, keep the registry, watch the drift.", no_args_is_help=True)

Config = Annotated[Path | None, typer.Option("--config", help="Settings file of the service; names the data folder.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the service; replaces the settings' key `data`.")]
By = Annotated[str, typer.Option("--by", help="Who enters it.")]
PhantomName = Annotated[str, typer.Option("--phantom", help="Name of a phantom (`calibrate phantoms`), or a TOML file of your own.")]
Acquisition = Annotated[Path | None, typer.Option("--acquisition", help="TOML with facts that override the header.")]


@calibrate.command()
def phantoms() -> None:
    """Phantoms that are known, with their inserts and where the values come from."""
    from trabecula_calibration.phantom_definition import phantom_named, phantom_names

    for name in phantom_names():
        phantom = phantom_named(name)
        densities = ", ".join(f"{insert.density_mg_cm3:g}" for insert in phantom.inserts)
        typer.echo(f"{name}: {phantom.title}; {densities} mg/cm3 {phantom.material.value}\n    {phantom.citation}")


@calibrate.command()
def fit(
    series: Annotated[Path, typer.Argument(metavar="SERIES", help="DICOM folder, zip or NIfTI file of the phantom scan.")],
    phantom: PhantomName,
    out: Annotated[Path | None, typer.Option("--out", help="Write the entry to this TOML file.")] = None,
    add_it: Annotated[bool, typer.Option("--add", help="Enter it into the registry of the service.")] = False,
    picture: Annotated[Path | None, typer.Option("--picture", help="Write a PNG of what was found.")] = None,
    entry_id: Annotated[str | None, typer.Option("--id", help="Name of the entry; made from scanner, kVp and day if not given.")] = None,
    serial: Annotated[str | None, typer.Option("--phantom-serial", help="Serial number of the phantom.")] = None,
    supersedes: Annotated[str | None, typer.Option("--supersedes", help="Entry that this one corrects.")] = None,
    simultaneous: Annotated[bool, typer.Option("--simultaneous", help="The phantom lay under a patient; for this series alone.")] = False,
    valid_days: Annotated[int, typer.Option("--valid-days", min=1, help="How long the entry is valid.")] = 180,
    acquisition: Acquisition = None,
    by: By = "",
    config: Config = None,
    data: Data = None,
) -> None:
    """Find a phantom in a scan, measure its inserts, fit the line; a bad fit is refused with its reasons (exit code 3)."""
    from trabecula_calibration.registry import registry_toml
    from trabecula_service.calibrate.phantom_series import entry_of
    from trabecula_service.calibrate.store import keep_phantom_picture

    with _readable_errors():
        scan, reading = _read(series, phantom, acquisition)
        if picture is not None:
            picture.write_bytes(_picture(scan, reading))
        _print_reading(reading, scan)
        if reading.reasons:
            _refuse(reading.reasons)
        entry = entry_of(
            scan,
            reading,
            by=by,
            today=_today(),
            entry_id=entry_id,
            phantom_serial=serial,
            valid_days=valid_days,
            simultaneous=simultaneous,
            supersedes=supersedes,
        )
        typer.echo(f"accepted: {entry.id}, valid {entry.valid_from} to {entry.valid_to}")
        if out is not None:
            out.write_text(registry_toml([entry]), encoding="utf-8")
        if add_it:
            _add_to_registry(registry_toml([entry]), by, config, data)
            keep_phantom_picture(config, data, entry.id, _picture(scan, reading))


@calibrate.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML with entries (and checks).")],
    by: By = "",
    config: Config = None,
    data: Data = None,
) -> None:
    """Add the entries and checks of a file. Nothing is ever changed: a correction is a new entry that supersedes the old one."""
    with _readable_errors():
        _add_to_registry(_text_of(file), by, config, data)


@calibrate.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML written by `calibrate export`.")],
    by: By = "",
    config: Config = None,
    data: Data = None,
) -> None:
    """Take over a registry from another installation; what is here already is passed over."""
    add(file, by, config, data)


@calibrate.command()
def export(
    out: Annotated[Path | None, typer.Option("--out", help="File to write; standard output if not given.")] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Write all entries and checks as TOML."""
    from trabecula_calibration.registry import registry_toml

    with _readable_errors():
        registry = _registry(config, data)
        text = registry_toml(registry.entries, registry.checks, registry.changes)
        if out is None:
            typer.echo(text, nl=False)
        else:
            out.write_text(text, encoding="utf-8")


@calibrate.command(name="list")
def list_(config: Config = None, data: Data = None) -> None:
    """All entries with their dates, lines and drift."""
    with _readable_errors():
        registry = _registry(config, data)
        superseded = {entry.supersedes for entry in registry.entries}
        for entry in registry.entries:
            state = "superseded" if entry.id in superseded else registry.drift_of(entry.id, _today()).status.value
            typer.echo(
                f"{entry.id}: {entry.manufacturer} {entry.model or ''} {entry.device_serial or ''} "
                f"{entry.kvp:g} kVp {entry.kernel_family or 'any kernel'}; "
                f"{entry.slope_mg_cm3_per_hu:.4f} x HU {entry.intercept_mg_cm3:+.2f} mg/cm3 {entry.material.value}; "
                f"{entry.valid_from} to {entry.valid_to or 'open'}; {state}; {entry.content_sha256[:12]}"
            )
        if not registry.entries:
            typer.echo("no entries yet: see `trabecula calibrate fit`")


@calibrate.command()
def check(
    series: Annotated[
        Path | None, typer.Argument(metavar="SERIES", help="QA scan of the phantom; without one, only say how things stand.")
    ] = None,
    phantom: Annotated[str | None, typer.Option("--phantom", help="Phantom of the QA scan.")] = None,
    entry_id: Annotated[str | None, typer.Option("--entry", help="Entry to check; found by the scanner if not given.")] = None,
    charts: Annotated[Path | None, typer.Option("--charts", help="Write a chart per entry into this folder.")] = None,
    image_format: Annotated[str, typer.Option("--format", help="svg or png.")] = "svg",
    acquisition: Acquisition = None,
    by: By = "",
    config: Config = None,
    data: Data = None,
) -> None:
    """Record a QA scan, and say of every entry whether it drifts (exit code 3 if one is blocked)."""
    with _readable_errors():
        if series is not None:
            if phantom is None:
                raise typer.BadParameter("a QA scan needs --phantom")
            _record_check(series, phantom, entry_id, acquisition, by, config, data)
        registry = _registry(config, data)
        blocked = _print_states(registry)
        if charts is not None:
            _write_charts(charts, registry, image_format)
    if blocked:
        raise typer.Exit(EXIT_REFUSED)


@calibrate.command()
def changed(
    manufacturer: Annotated[str, typer.Option("--manufacturer", help="As in the entries of the scanner.")],
    serial: Annotated[str, typer.Option("--serial", help="Serial number of the scanner, as in its entries.")],
    what: Annotated[str, typer.Option("--what", help="New tube, new detector, software upgrade ...")],
    on: Annotated[str | None, typer.Option("--on", help="Day of the change, as 2026-01-31; today if not given.")] = None,
    by: By = "",
    config: Config = None,
    data: Data = None,
) -> None:
    """Note a change of a scanner: its entries from before count as expired from that day on, until a new phantom scan is fitted."""
    from trabecula_calibration.changes import ScannerChange
    from trabecula_service.calibrate.store import open_registry
    from trabecula_service.ledger.calibrations import add_changes, load_registry

    with _readable_errors():
        try:
            day = date.fromisoformat(on) if on else _today()
        except ValueError as error:
            raise typer.BadParameter(f"--on {on}: expected a day like 2026-01-31") from error
        change = ScannerChange(manufacturer=manufacturer, device_serial=serial, on=day, what=what, by=by)
        with open_registry(config, data) as (ledger, rules), ledger.write() as connection:
            add_changes(connection, (change,), by=by, now=_now().timestamp())
            registry = load_registry(connection, rules)
        ended = [entry.id for entry in registry.in_force() if registry.changed_since(entry, day) == change]
        typer.echo(f"noted; expired from {day} on: {', '.join(ended) or 'no entry'}. Scan the phantom and fit a new entry.")


@calibrate.command()
def practice(
    out: Annotated[Path, typer.Option("--out", help="Folder for the DICOM series.")],
    phantom: PhantomName,
    kvp: Annotated[int, typer.Option("--kvp", help="80, 100, 120 or 140.")] = 120,
    angle_deg: Annotated[float, typer.Option("--angle", help="Turn of the phantom, degrees.")] = 4.0,
    tilt: Annotated[float, typer.Option("--tilt", help="Millimetres sideways per millimetre of length.")] = 0.04,
    noise_hu: Annotated[float, typer.Option("--noise", help="SD of the noise in a 1 mm slice, HU.")] = 20.0,
    drift_hu: Annotated[float, typer.Option("--drift", help="HU that the scanner has moved.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the noise.")] = 1,
) -> None:
    """Write a digital phantom scan of known line as DICOM, to practise fit and check without a phantom."""
    from trabecula_service.calibrate.practice import write_practice_series

    with _readable_errors():
        line = write_practice_series(
            out, phantom, kvp=kvp, angle_deg=angle_deg, tilt=tilt, noise_hu=noise_hu, drift_hu=drift_hu, seed=seed, made=_now()
        )
        typer.echo(f"true line: {line[0]:.4f} x HU {line[1]:+.2f}; series in {out}")


def _read(series: Path, phantom: str, acquisition: Path | None) -> "tuple[PhantomSeries, PhantomReading]":
    from trabecula_calibration.phantom_scan import PhantomNotSeen
    from trabecula_service.calibrate.phantom_series import find_definition, read_phantom_series

    scan = read_phantom_series(series, find_definition(phantom), acquisition_file=acquisition)
    if isinstance(scan.reading, PhantomNotSeen):
        _refuse(scan.reading.reasons)
        raise typer.Exit(EXIT_REFUSED)
    return scan, scan.reading


def _refuse(reasons: tuple[str, ...]) -> None:
    for reason in reasons:
        typer.echo(f"refused: {reason}", err=True)
    raise typer.Exit(EXIT_REFUSED)


def _print_reading(reading: "PhantomReading", scan: "PhantomSeries") -> None:
    line, material = reading.line, reading.definition.material.value
    typer.echo(
        f"{reading.definition.title} at {scan.acquisition.kvp:g} kVp: tilt {reading.pose.tilt_deg:.1f} deg, "
        f"turn {reading.pose.angle_deg:.1f} deg, {reading.length_mm[1] - reading.length_mm[0]:.0f} mm read, noise {reading.noise_hu:.0f} HU"
    )
    typer.echo(f"{'insert':10} {'HU':>8} {'SE':>6} {f'mg/cm3 {material}':>14} {'residual':>9} {'off place mm':>13}")
    for insert in reading.definition.inserts:
        read = reading.inserts[insert.name]
        off = f"{reading.misplaced_mm[insert.name]:.1f}" if insert.name in reading.misplaced_mm else "-"
        typer.echo(
            f"{insert.name:10} {read.mean_hu:8.1f} {read.standard_error_hu:6.2f} {insert.density_mg_cm3:14.2f} "
            f"{line.residuals_mg_cm3[insert.name]:+9.2f} {off:>13}"
        )
    typer.echo(
        f"density = {line.slope_mg_cm3_per_hu:.4f} x HU {line.intercept_mg_cm3:+.2f} mg/cm3 {material}; r2 {line.r2:.5f}, "
        f"residual SD {line.residual_sd_mg_cm3:.2f}"
    )


def _picture(scan: "PhantomSeries", reading: "PhantomReading") -> bytes:
    from trabecula_service.calibrate.pictures import phantom_picture

    return phantom_picture(scan.volume, reading, scan.acquisition.kvp or 0.0)


def _add_to_registry(text: str, by: str, config: Path | None, data: Path | None) -> None:
    from trabecula_calibration.registry import parse_registry
    from trabecula_service.calibrate.store import open_registry
    from trabecula_service.ledger.calibrations import add_changes, add_checks, add_entries

    given = parse_registry(text)
    with open_registry(config, data) as (ledger, _), ledger.write() as connection:
        added = add_entries(connection, given.entries, by=by, now=_now().timestamp())
        checks = add_checks(connection, given.checks, by=by, now=_now().timestamp())
        changes = add_changes(connection, given.changes, by=by, now=_now().timestamp())
    typer.echo(
        f"{len(added)} entries, {checks} checks and {changes} changes added, {len(given.entries) - len(added)} entries were there already"
    )


def _record_check(
    series: Path, phantom: str, entry_id: str | None, acquisition: Path | None, by: str, config: Path | None, data: Path | None
) -> None:
    from trabecula_calibration.drift import QaCheck, qa_reading
    from trabecula_calibration.entries import CalibrationEntryError
    from trabecula_service.calibrate.phantom_series import entry_for_check
    from trabecula_service.calibrate.store import open_registry
    from trabecula_service.ledger.calibrations import add_checks, load_registry

    scan, reading = _read(series, phantom, acquisition)
    day = scan.scanned_on or _today()
    with open_registry(config, data) as (ledger, rules), ledger.write() as connection:
        entry = entry_for_check(load_registry(connection, rules), scan, reading, entry_id, day)
        if entry.material is not reading.line.material:
            raise CalibrationEntryError(
                "the phantom is of another base material than the entry", where=entry.id, hint="use its own phantom"
            )
        value = round(qa_reading(entry, reading.line.slope_mg_cm3_per_hu, reading.line.intercept_mg_cm3), 2)
        add_checks(connection, (QaCheck(entry_id=entry.id, on=day, reading_mg_cm3=value, by=by),), by=by, now=_now().timestamp())
    typer.echo(f"{entry.id} on {day}: reads {value:.2f} of 120 mg/cm3 {entry.material.value}")


def _registry(config: Path | None, data: Path | None) -> "Registry":
    from trabecula_service.calibrate.store import open_registry
    from trabecula_service.ledger.calibrations import load_registry

    with open_registry(config, data) as (ledger, rules), ledger.read() as connection:
        return load_registry(connection, rules)


def _print_states(registry: "Registry") -> bool:
    from trabecula_calibration.drift import DriftStatus

    blocked = False
    for entry in registry.in_force():
        state = registry.drift_of(entry.id, _today())
        blocked = blocked or state.status is DriftStatus.BLOCK
        age = (_today() - registry.last_evidence(entry, _today())).days
        late = f"; no phantom scan for {age} days" if age > registry.rules.max_days_without_check else ""
        why = f" ({'; '.join(state.reasons)})" if state.reasons else ""
        if (change := registry.changed_since(entry, _today())) is not None:
            late += f"; expired: {change.what} on {change.on}"
        typer.echo(f"{entry.id}: {state.status.value}{why}, {len(state.points)} checks{late}")
    return blocked


def _write_charts(folder: Path, registry: "Registry", image_format: str) -> None:
    from trabecula_service.calibrate.pictures import drift_chart

    folder.mkdir(parents=True, exist_ok=True)
    for entry in registry.in_force():
        chart = drift_chart(entry, registry.drift_of(entry.id, _today()), registry.rules, image_format=image_format)
        safe = "".join(character if character.isalnum() or character in "-_." else "_" for character in entry.id)
        (folder / f"{safe}.{image_format}").write_bytes(chart)


def _text_of(file: Path) -> str:
    from trabecula_morphometry.errors import InputError

    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the file cannot be read", where=file.name, hint="check its path") from error


def _now() -> datetime:
    return datetime.now().astimezone().replace(microsecond=0)


def _today() -> date:
    return _now().date()


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Errors of ours on one line, exit code 2."""
    from trabecula_morphometry.errors import TrabeculaError

    try:
        yield
    except TrabeculaError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(2) from error
