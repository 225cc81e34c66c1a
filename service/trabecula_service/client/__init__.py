"""The REST interface from Python: ``from trabecula_service.client import TrabeculaClient``."""

from trabecula_service.client.client import ClientError, TrabeculaClient

__all__ = ["ClientError", "TrabeculaClient"]
