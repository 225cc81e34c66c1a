"""Who may open an association."""

import ipaddress
from collections.abc import Sequence


class CallerList:
    """The ``receive.allowed_callers`` of the settings, ready to be asked."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._rules = [_rule(entry) for entry in entries]

    def allows(self, ae_title: str, address: str) -> bool:
        """Whether this AE title may call from this address."""
        caller = ipaddress.ip_address(address)
        return any(
            (title is None or title == ae_title.strip()) and (network is None or (network.version == caller.version and caller in network))
            for title, network in self._rules
        )


def refusal_hint(ae_title: str, address: str) -> str:
    """The line that lets this caller in."""
    return f'to allow it, add "{ae_title.strip()}@{address}" to allowed_callers under [receive] in the settings file and restart'


def _rule(entry: str) -> tuple[str | None, ipaddress.IPv4Network | ipaddress.IPv6Network | None]:
    title, _, network = entry.rpartition("@")
    return title.strip() or None, None if network == "*" else ipaddress.ip_network(network, strict=False)
