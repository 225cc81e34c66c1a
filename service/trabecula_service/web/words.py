"""Times, dates and sizes as people read them."""

from datetime import UTC, datetime


def age_text(at: float, now: float) -> str:
    """How long ago, in the largest unit that says enough: "42 s", "7 min", "3 h", "2 d"."""
    seconds = max(0.0, now - at)
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds // 86_400:.0f} d"


def time_text(at: float) -> str:
    """A time of the ledger in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def date_text(dicom_date: str) -> str:
    """A DICOM date (YYYYMMDD) with dashes; anything else as it is."""
    if len(dicom_date) == 8 and dicom_date.isdigit():
        return f"{dicom_date[:4]}-{dicom_date[4:6]}-{dicom_date[6:]}"
    return dicom_date


def size_text(size_bytes: int) -> str:
    """A file size."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    return f"{size_bytes / 1024:.0f} KiB" if size_bytes < 1024**2 else f"{size_bytes / 1024**2:.1f} MiB"


def name_text(dicom_name: str) -> str:
    """A DICOM person name as people read it: "Family, Given (ideographic)"; anything else as it is."""
    groups = [_readable(group) for group in dicom_name.split("=")]
    shown = [group for group in groups[:2] if group]
    return f"{shown[0]} ({shown[1]})" if len(shown) > 1 else (shown[0] if shown else "")


def _readable(group: str) -> str:
    family, *rest = (part.strip() for part in group.split("^"))
    others = " ".join(part for part in rest if part)
    return f"{family}, {others}" if family and others else family or others
