"""Roles of people and programs, and the right that each request needs: one table, and what is not in it needs the highest one."""

import re
from dataclasses import dataclass
from enum import StrEnum


class Right(StrEnum):
    """What one may do."""

    READ = "read"
    """See the work list, studies, images and documents."""
    REVIEW = "review"
    """Accept, amend or reject a result; ask for another try."""
    CALIBRATE = "calibrate"
    """Enter calibrations and QA scans."""
    SEND = "send"
    """Bring studies in over the web."""
    ADMINISTER = "administer"
    """Everything else."""


class UserRole(StrEnum):
    """Who one is."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    PHYSICIST = "physicist"
    SENDER = "sender"
    """A program that only sends studies."""
    ADMIN = "admin"


RIGHTS: dict[UserRole, frozenset[Right]] = {
    UserRole.VIEWER: frozenset({Right.READ}),
    UserRole.REVIEWER: frozenset({Right.READ, Right.REVIEW}),
    UserRole.PHYSICIST: frozenset({Right.READ, Right.CALIBRATE}),
    UserRole.SENDER: frozenset({Right.SEND}),
    UserRole.ADMIN: frozenset(Right),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody whom we know: a person, a program, or whoever sits at this machine.

    ``via`` is "key", "session" or "loopback".
    """

    name: str
    role: UserRole
    via: str

    def may(self, right: Right) -> bool:
        """Whether the role has this right."""
        return right in RIGHTS[self.role]


OPEN_PATHS = re.compile(r"/(healthz|livez|metrics|login|logout|login/oidc|login/oidc/callback|static/.*)")
"""Paths that anybody may ask for: nothing there is about a patient."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_RULES: tuple[tuple[str, Right], ...] = (
    # A search is sent as a form because the address must not hold a patient's name; it changes nothing.
    (r"(/api/v1)?/search", Right.READ),
    (r"(/api/v1)?/studies/[^/]+/(retry|first)", Right.REVIEW),
    (r"(/api/v1)?/studies/[^/]+(/versions/[^/]+)?/(preview|sign|reviews?)(/.*)?", Right.REVIEW),
    (r"(/api/v1/calibrations|/physicist)(/.*)?", Right.CALIBRATE),
    (r"/dicom-web/studies(/[^/]+)?", Right.SEND),
    (r"(/api/v1)?/uploads?(/.*)?", Right.SEND),
    (r"(/api/v1)?/administration(/.*)?", Right.ADMINISTER),
)
_COMPILED = tuple((re.compile(pattern), right) for pattern, right in _RULES)
_ADMIN_READS = re.compile(r"(/api/v1)?/administration(/.*)?")


def right_for(method: str, path: str) -> Right | None:
    """The right that a request needs; None if anybody may make it. What no rule names needs the right to administer."""
    if OPEN_PATHS.fullmatch(path):
        return None
    if method in _SAFE:
        return Right.ADMINISTER if _ADMIN_READS.fullmatch(path) else Right.READ
    return next((right for pattern, right in _COMPILED if pattern.fullmatch(path)), Right.ADMINISTER)


def is_named(method: str, path: str) -> bool:
    """Whether a rule names this request, so that nobody was merely forgotten."""
    return method in _SAFE or OPEN_PATHS.fullmatch(path) is not None or any(pattern.fullmatch(path) for pattern, _ in _COMPILED)
