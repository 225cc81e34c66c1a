"""``trabecula export``: a data set in VerSe's layout, or de-identified DICOM, from a batch or from the service."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trabecula_service.ledger.database import Ledger


def export(
    out: Annotated[Path, typer.Option("--out", help="Folder for the data set.")],
    batch: Annotated[Path | None, typer.Option("--batch", help="Out-folder of `trabecula batch`; needs --images.")] = None,
    images: Annotated[Path | None, typer.Option("--images", help="The folder that the batch analysed.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file of the service whose studies are exported.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder of the service; replaces the settings' key `data`.")] = None,
    only_reviewed: Annotated[bool, typer.Option("--only-reviewed", help="Only what a reader accepted or amended.")] = False,
    key: Annotated[
        Path | None, typer.Option("--key", help="List that links subjects and studies; OUT.key.csv beside the folder if not given.")
    ] = None,
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="The measured DICOM series without the patient, with masks and result.")
    ] = False,
    uid_key: Annotated[
        Path | None,
        typer.Option("--uid-key", help="Secret that new UIDs are made with; OUT.uid-key beside the folder, made anew, if not given."),
    ] = None,
) -> None:
    """Write images, masks, centres, grades and densities as a data set, under numbers instead of names.

    With --deidentify the images are the DICOM series itself (PS3.15 Basic Profile, patient characteristics and device retained): all that
    calibration needs stays in the header. Otherwise the layout is VerSe's, and headers stay behind.

    Without --batch the studies come from the service of this machine, each in its latest version: after a review that is the reader's.
    """
    from trabecula_morphometry.errors import TrabeculaError
    from trabecula_service.calibrate.store import open_registry
    from trabecula_service.export.deidentified_set import export_deidentified
    from trabecula_service.export.deidentify import UidKey
    from trabecula_service.export.run import export_verse
    from trabecula_service.export.sources import from_batch, from_ledger
    from trabecula_service.ops.bucket import open_bucket
    from trabecula_service.settings.read import read_settings

    if (batch is None) != (images is None):
        raise typer.BadParameter("--batch and --images belong together")
    ledger: Ledger | None = None
    try:
        with ExitStack() as stack:
            if batch is not None and images is not None:
                studies = from_batch(batch, images)
            else:
                ledger, _ = stack.enter_context(open_registry(config, data))
                settings = read_settings(config, data=data)
                studies = from_ledger(ledger, settings.data.absolute(), open_bucket(settings.objects))
            list_file = key or out.with_name(f"{out.name}.key.csv")

            def tell(line: str) -> None:
                typer.echo(line, err=True)

            if deidentify:
                secret = UidKey.at(uid_key or out.with_name(f"{out.name}.uid-key"))
                done = export_deidentified(studies, out, list_file, secret, only_reviewed=only_reviewed, tell=tell)
            else:
                done = export_verse(studies, out, list_file, only_reviewed=only_reviewed, tell=tell)
            if ledger is not None:
                _note(ledger, f"{done.subjects} subjects as {'de-identified DICOM' if deidentify else 'a data set without headers'}")
    except TrabeculaError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(2) from error
    for study, why in done.left_out:
        typer.echo(f"left out: {study}: {why}", err=True)
    typer.echo(f"{done.subjects} subjects in {out}, {len(done.left_out)} studies left out; who is who: {list_file} (keep it apart)")


def _note(ledger: "Ledger", detail: str) -> None:
    import time

    from trabecula_service.security.audit import AuditEntry, append

    values = {"actor": "command line", "role": "admin", "via": "loopback", "address": "", "study_id": "", "outcome": "ok"}
    with ledger.write() as connection:
        append(connection, AuditEntry(at=time.time(), action="export", detail=detail, **values))
