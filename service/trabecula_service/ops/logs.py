"""Logs without patient data: only keys from one list, only values that cannot carry a name."""

import logging
import re
import sys
import warnings
from collections.abc import MutableMapping
from typing import Any

import structlog

from trabecula_service.settings.log import LogSettings

ALLOWED_KEYS = frozenset(
    {
        "ae_title", "address", "association_id", "attempt", "calling_ae_title", "count", "data", "destination", "document", "duration_s",
        "end", "error", "event", "exit_code", "hint", "job_id", "kept", "kind", "level", "line", "logger", "module", "note", "outcome",
        "port", "reason", "reserve_free_gib", "run_id", "stage", "study_id", "thread", "timestamp", "url", "version", "version_id",
    }
)  # fmt: skip
"""Every key that may stand in a log line; another one is dropped."""

_EVENT = re.compile(r"[a-z0-9_]{1,60}")
_LONGEST_VALUE = 400

_Event = MutableMapping[str, Any]


def set_up_logs(settings: LogSettings) -> None:
    """Send all logs of this process, also those of libraries, through the allow list to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        keep_allowed_keys,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if settings.format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[hide_foreign_text, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("trabecula").setLevel(settings.level.upper())
    # Warnings quote values ("Invalid value for VR DA: ..."): they go the same way and lose their text there.
    logging.captureWarnings(True)
    warnings.simplefilter("ignore")


def keep_allowed_keys(_logger: Any, _method: str, event: _Event) -> _Event:
    """Drop keys that are not on the list, shorten long values, and replace an event that is not a plain name."""
    kept: _Event = {key: _plain(value) for key, value in event.items() if key in ALLOWED_KEYS or key.startswith("_")}
    if not _EVENT.fullmatch(str(event.get("event", ""))):
        kept["event"] = "message_withheld"
    return kept


def hide_foreign_text(_logger: Any, _method: str, event: _Event) -> _Event:
    """A library's message may quote a data set: only where it came from is told."""
    record = event.get("_record")
    event["event"] = "library_message"
    if record is not None:
        event["module"], event["line"] = record.module, record.lineno
        record.exc_info = record.exc_text = record.stack_info = None
    return event


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(c for c in value[:_LONGEST_VALUE] if c.isprintable())
    return value
