"""The REST interface: what programs ask the service."""
