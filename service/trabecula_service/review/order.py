"""The order to make a signed version: everything that its making needs, so that it can be made again with the same bytes."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trabecula_service.review.edits import Edits, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOrder:
    """A reader's verdict on one version.

    Parameters
    ----------
    reader : name as the reader writes it, "Family, Given".
    organization : stands beside the name in the structured report.
    at : when the reader signed.
    base_version : number of the version that the reader looked at.
    base_result_json : its ``result.json``.
    bodies, posterior : its masks (NIfTI), None where they are missing.
    predecessor : its ``report.sr.dcm``, named by the new one as its predecessor.
    """

    verdict: Verdict
    reader: str
    organization: str
    reason: str
    at: datetime
    edits: Edits
    base_version: int
    base_result_json: str
    bodies: Path | None
    posterior: Path | None
    predecessor: Path | None
