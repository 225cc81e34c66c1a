"""Why a demonstration ended without a result."""

from trabecula_morphometry.errors import TrabeculaError


class DemoError(TrabeculaError):
    """The way from the images to the reports broke somewhere."""
