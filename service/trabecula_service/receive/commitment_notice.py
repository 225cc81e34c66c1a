"""Reports of storage commitment that a PACS sends us about documents that it took: written down before they are acknowledged."""

import time
from collections.abc import Callable, Sequence
from io import BytesIO

import structlog
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from sqlalchemy.exc import SQLAlchemyError

from trabecula_service.deliver.commitment_report import report_in
from trabecula_service.ledger.commitment_asks import take_report
from trabecula_service.receive.commits import SharedCommits
from trabecula_service.receive.dimse_commands import Command, encode_response

SUCCESS, PROCESSING_FAILURE, INVALID_ARGUMENT = 0x0000, 0x0110, 0x0115
_LONGEST_REPORT_BYTES = 1024 * 1024
"""We ask about a hundred objects at once; a report of those is a hundredth of this."""

log = structlog.get_logger("trabecula.receive")


class CommitmentNotice:
    """What is done with one N-EVENT-REPORT request."""

    def __init__(
        self, command: Command, transfer_syntax_uid: str, *, commits: SharedCommits, clock: Callable[[], float] = time.time
    ) -> None:
        self._command, self._syntax, self._commits, self._clock = command, transfer_syntax_uid, commits, clock
        self._data = bytearray()
        self._too_long = False

    def write(self, fragment: memoryview) -> None:
        """Collect the report."""
        self._too_long = self._too_long or len(self._data) + len(fragment) > _LONGEST_REPORT_BYTES
        if not self._too_long:
            self._data += fragment

    def abandon(self) -> None:
        """Nothing was acknowledged; we shall ask again."""

    def finish(self) -> Sequence[tuple[bytes, bytes]]:
        """Write it down and acknowledge it. One about a request that is not ours is acknowledged too: it is of no use to anybody."""
        return [(encode_response(self._command, self._take()), b"")]

    def _take(self) -> int:
        if self._too_long:
            return INVALID_ARGUMENT
        # Any byte string can come in, and the parser raises many kinds of errors on them; each means the same to us.
        try:
            dataset = read_dataset(
                BytesIO(bytes(self._data)),
                is_implicit_VR=self._syntax == ImplicitVRLittleEndian,
                is_little_endian=self._syntax != ExplicitVRBigEndian,
            )
            report = report_in(dataset)
        except Exception:
            return INVALID_ARGUMENT
        try:
            now = self._clock()
            count = self._commits.run(lambda c: take_report(c, report.transaction_uid, report.kept, report.failed, now))
        except SQLAlchemyError:
            return PROCESSING_FAILURE
        log.info("commitment_report_received", count=count, note=f"{len(report.kept)} kept, {len(report.failed)} not")
        return SUCCESS
