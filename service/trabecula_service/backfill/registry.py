"""The kinds of archive that a backfill can ask."""

from pathlib import Path

from trabecula_morphometry.errors import SettingsError
from trabecula_service.backfill.dicomweb_archive import DicomwebArchive
from trabecula_service.backfill.dimse_archive import DimseArchive
from trabecula_service.backfill.port import Archive
from trabecula_service.settings.model import Settings


def build_archive(settings: Settings, folder: Path) -> Archive:
    """The archive that the settings name.

    Raises
    ------
    SettingsError
        They name none.
    """
    chosen, receive = settings.backfill, settings.receive
    match chosen.source:
        case "c-move":
            return DimseArchive(chosen, destination=receive.ae_title)
        case "dicomweb":
            return DicomwebArchive(chosen, listener=(chosen.listener_host, receive.port, receive.ae_title), folder=folder)
        case "none":
            hint = 'source = "c-move" with host, port and ae_title, or source = "dicomweb" with url'
            raise SettingsError("no archive is named", where="backfill.source", hint=hint)
