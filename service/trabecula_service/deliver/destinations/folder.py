"""A folder, for a viewer, an archive job or a person that picks documents up."""

import os

from trabecula_service.deliver.port import Accepted, Item, Unavailable
from trabecula_service.receive.object_store import sync_folder
from trabecula_service.settings.deliver import FolderDestination


class Folder:
    """Copies each document to ``<path>/<study>-v<version>/<document>``; whole files only."""

    def __init__(self, settings: FolderDestination) -> None:
        self._path = settings.path

    def deliver(self, item: Item) -> Accepted | Unavailable:
        """Copy one document, synced to the disk, under its final name only when it is complete."""
        if not self._path.is_dir():
            return Unavailable("the folder does not exist")
        try:
            folder = self._path / f"{item.study_id}-v{item.version_number}"
            folder.mkdir(exist_ok=True)
            temporary = folder / f".{item.document}.part"
            with temporary.open("wb") as file:
                file.write(item.path.read_bytes())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(folder / item.document)
            sync_folder(folder)
        except OSError as error:
            return Unavailable(error.strerror or type(error).__name__)
        return Accepted("written")
