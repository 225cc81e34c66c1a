"""Associations that we ask for: pynetdicom's, of which no answer is lost."""

from queue import Empty, Queue
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association


class Answers(Queue[Any]):
    """Messages of the other side, for whoever waits for one.

    pynetdicom's reactor, a thread that serves requests, looks into this queue too, but never waits. Each ``send_...`` stops it first, yet
    takes it for stopped while it is only on its way to look (pynetdicom 3.0.4, ``Association._run_reactor``; issue 875). On a busy
    machine a quick answer then goes to the reactor, which drops it, and the sender waits until its time is over. We ask and never serve
    on these associations, so there is nothing here for the reactor. Reports of storage commitment do not come this way.
    """

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next message for one who waits."""
        if not block:
            raise Empty
        return super().get(block, timeout)


def associate(ae: AE, host: str, port: int, **options: Any) -> Association:
    """The same as ``ae.associate``: an association, or one that is not established."""
    association = ae.associate(host, port, **options)
    before, association.dimse.msg_queue = association.dimse.msg_queue, Answers()
    # Nothing has been asked yet; but the other side may have ended the association already, which whoever asks is to find there.
    while not before.empty():
        association.dimse.msg_queue.put(before.get())
    return association
