"""Errors of the reader's part."""

from trabecula_morphometry.errors import TrabeculaError


class ReviewError(TrabeculaError):
    """A change that cannot be made, or a verdict on a version that has been replaced meanwhile."""
