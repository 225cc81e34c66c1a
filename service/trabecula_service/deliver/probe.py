"""Whether a destination answers: asked by a person who connects it. Nothing about a patient is sent."""

import os
import socket
import ssl

import httpx2
from pynetdicom import AE

from trabecula_service.deliver.port import Accepted, Refused, Unavailable
from trabecula_service.requestor import associate
from trabecula_service.settings.deliver import CStoreDestination, DestinationSettings, FolderDestination, MllpDestination

_VERIFICATION = "1.2.840.10008.1.1"
_LONGEST_SECONDS = 10.0
"""A person waits for the answer, so the destination's own, longer patience does not count here."""


def probe(settings: DestinationSettings) -> Accepted | Unavailable | Refused:
    """C-ECHO, a look into the folder, or a connection, as the kind of destination allows."""
    if isinstance(settings, CStoreDestination):
        return _echo(settings)
    if isinstance(settings, FolderDestination):
        return _folder(settings)
    if isinstance(settings, MllpDestination):
        return _connect(settings)
    return _get(str(settings.url), str(settings.ca_file) if settings.ca_file else None)


def _echo(settings: CStoreDestination) -> Accepted | Unavailable | Refused:
    ae = AE(ae_title=settings.calling_ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = min(settings.timeout_seconds, _LONGEST_SECONDS)
    ae.add_requested_context(_VERIFICATION)
    association = associate(ae, settings.host, settings.port, ae_title=settings.ae_title)
    if association.is_rejected:
        return Refused("the PACS rejects the association; are our AE title and address known to it?")
    if not association.is_established:
        answers = association.acceptor.implementation_class_uid is not None
        return Refused("the PACS answers, but takes no C-ECHO") if answers else Unavailable("the PACS does not answer")
    try:
        status = association.send_c_echo().get("Status")
    except (RuntimeError, ValueError, OSError) as error:
        return Unavailable(f"the association broke ({type(error).__name__})")
    finally:
        if association.is_established:
            association.release()
    return Accepted("C-ECHO answered") if status == 0 else Refused(f"C-ECHO ended with status {status}")


def _folder(settings: FolderDestination) -> Accepted | Unavailable:
    if not settings.path.is_dir():
        return Unavailable("the folder is not there")
    if not os.access(settings.path, os.W_OK | os.X_OK):
        return Unavailable("the folder cannot be written")
    return Accepted("the folder can be written")


def _connect(settings: MllpDestination) -> Accepted | Unavailable:
    try:
        with socket.create_connection((settings.host, settings.port), timeout=min(settings.timeout_seconds, _LONGEST_SECONDS)) as raw:
            if settings.tls:
                context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
                context.wrap_socket(raw, server_hostname=settings.host).close()
    except (OSError, ssl.SSLError) as error:
        return Unavailable(f"no connection ({error.strerror or type(error).__name__})")
    return Accepted("the port takes connections; no message was sent")


def _get(url: str, ca_file: str | None) -> Accepted | Unavailable:
    try:
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca_file) if ca_file else True
        with httpx2.Client(verify=verify, timeout=_LONGEST_SECONDS, follow_redirects=False, trust_env=False) as client:
            status = client.get(url).status_code
    except (httpx2.TransportError, OSError, ssl.SSLError) as error:
        return Unavailable(f"no connection ({type(error).__name__})")
    return Accepted(f"the server answers (HTTP {status} to GET)") if status < 500 else Unavailable(f"the server is unwell (HTTP {status})")
