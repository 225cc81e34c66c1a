import pytest

from trabecula_service.receive.callers import CallerList, refusal_hint


@pytest.mark.parametrize(
    ("entry", "title", "address", "allowed"),
    [
        ("127.0.0.0/8", "ANY", "127.0.0.1", True),
        ("127.0.0.0/8", "ANY", "10.0.0.1", False),
        ("CT1@10.1.2.3", "CT1", "10.1.2.3", True),
        ("CT1@10.1.2.3", "CT1 ", "10.1.2.3", True),
        ("CT1@10.1.2.3", "CT2", "10.1.2.3", False),
        ("CT1@10.1.2.3", "CT1", "10.1.2.4", False),
        ("CT1@*", "CT1", "192.0.2.9", True),
        ("CT1@*", "CT2", "192.0.2.9", False),
        ("10.1.0.0/16", "CT1", "::1", False),
    ],
)
def test_a_caller_is_allowed_by_title_and_address(entry: str, title: str, address: str, allowed: bool) -> None:
    assert CallerList([entry]).allows(title, address) is allowed


def test_the_hint_is_the_entry_that_lets_the_caller_in() -> None:
    hint = refusal_hint("CT1 ", "10.1.2.3")
    entry = hint.split('"')[1]
    assert CallerList([entry]).allows("CT1", "10.1.2.3")
    assert "allowed_callers" in hint
