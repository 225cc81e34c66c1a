"""Kinds of destination: one line per kind."""

from collections.abc import Callable, Mapping
from typing import Any

from trabecula_service.deliver.commitment import Committer, StorageCommitter
from trabecula_service.deliver.destinations.c_store import CStore
from trabecula_service.deliver.destinations.fhir import Fhir
from trabecula_service.deliver.destinations.folder import Folder
from trabecula_service.deliver.destinations.mllp import Mllp
from trabecula_service.deliver.destinations.stow_rs import StowRs
from trabecula_service.deliver.destinations.webhook import Webhook
from trabecula_service.deliver.port import Destination
from trabecula_service.settings.deliver import CStoreDestination, DestinationSettings

_KINDS: Mapping[str, Callable[[Any], Destination]] = {
    "c-store": CStore,
    "folder": Folder,
    "mllp": Mllp,
    "fhir": Fhir,
    "stow-rs": StowRs,
    "webhook": Webhook,
}


def build_destination(settings: DestinationSettings) -> Destination:
    """The destination that the settings describe."""
    return _KINDS[settings.kind](settings)


def build_committer(settings: DestinationSettings) -> Committer | None:
    """What asks the destination whether it keeps what it took; None where the settings do not want that."""
    return StorageCommitter(settings) if isinstance(settings, CStoreDestination) and settings.commitment else None
