"""Errors of loading and running networks."""

from trabecula_morphometry.errors import TrabeculaError


class ModelError(TrabeculaError):
    """A network cannot be loaded or run."""


class WeightsChangedError(ModelError):
    """The weights on disk are not the ones the metadata names."""
