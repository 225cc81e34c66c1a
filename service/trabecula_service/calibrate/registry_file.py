"""The registry as a file: what the analysis process reads, and what export writes."""

from pathlib import Path

from trabecula_calibration.registry import Registry, parse_registry, registry_toml
from trabecula_morphometry.errors import TrabeculaError


def merge_registry(registry: Registry, beside: Path | None, out: Path) -> Path:
    """Write the registry with a file's entries beside it; the registry wins where both have an id.

    A file that cannot be read is handed on as it is, so that the analysis refuses it by name.
    """
    entries, checks, changes = list(registry.entries), list(registry.checks), list(registry.changes)
    if beside is not None:
        try:
            other = parse_registry(beside.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, TrabeculaError):
            return beside
        known = {entry.id for entry in entries}
        entries += [entry for entry in other.entries if entry.id not in known]
        checks += other.checks
        changes += other.changes
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(registry_toml(entries, checks, changes), encoding="utf-8")
    return out
