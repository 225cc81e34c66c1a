"""The one root of all errors of Trabecula. An input that cannot be measured honestly is a result, not an error."""


class TrabeculaError(Exception):
    """Says what went wrong, where, and what to do about it; never holds patient data.

    Parameters
    ----------
    what : one sentence, lower case, no full stop.
    where : file, series UID or setting concerned; UIDs are allowed, names and birth dates never.
    hint : what the reader can do.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what, where, hint)

    def __str__(self) -> str:
        return self.what + (f" ({self.where})" if self.where else "") + (f": {self.hint}" if self.hint else "")


class GeometryError(TrabeculaError):
    """Positions or orientation do not describe a volume."""


class InputError(TrabeculaError):
    """The input cannot be read (exit code 2)."""


class SettingsError(TrabeculaError):
    """A setting is missing, unknown or contradicts another."""
