"""Encryption of the listener, as the settings ask for it."""

from trabecula_service.security.tls import ServerTls
from trabecula_service.settings.receive import ReceiveSettings


def listener_tls(settings: ReceiveSettings) -> ServerTls | None:
    """What the settings ask for; None for connections without TLS."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerTls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca, section="receive")
