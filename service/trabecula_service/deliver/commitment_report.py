"""What a PACS answers when it is asked whether it keeps objects (PS3.4 J.3.3): the content of its N-EVENT-REPORT."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

_PROCESSING_FAILURE = 0x0110


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentReport:
    """SOP instances that the PACS keeps, and those that it does not, each with its failure reason (PS3.3 C.14.1.1)."""

    transaction_uid: str
    kept: frozenset[str]
    failed: Mapping[str, int]


def report_in(dataset: Dataset) -> CommitmentReport:
    """Read the data set of a report.

    Raises
    ------
    Exception
        Of many kinds, for a data set that is no such report.
    """
    failed = {
        str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason") or _PROCESSING_FAILURE) for item in _items(dataset, "Failed")
    }
    kept = {str(item.ReferencedSOPInstanceUID) for item in _items(dataset, "Referenced")}
    return CommitmentReport(transaction_uid=str(dataset.TransactionUID), kept=frozenset(kept - failed.keys()), failed=failed)


def _items(dataset: Dataset, which: str) -> list[Dataset]:
    return list(dataset.get(f"{which}SOPSequence") or [])
