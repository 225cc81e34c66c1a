"""The log."""

from typing import Literal

from trabecula_service.settings.section import Section


class LogSettings(Section):
    """The log, on standard error. It never holds patient data."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is written."""
    format: Literal["json", "text"] = "json"
    """"json": one object per line, for collectors. "text": for people."""
