"""Senders that speak nonsense; ``./run bench fuzz`` is the long run."""

from pathlib import Path

from bench.bench_fuzz import ECHO_EVERY, LONGEST_ANSWER_SECONDS, MOST_GROWTH_MIB, run_fuzz

INPUTS = 200


def test_malformed_associations_and_objects_neither_stop_nor_grow_the_listener(tmp_path: Path) -> None:
    outcome = run_fuzz(tmp_path, INPUTS, seed=7)
    assert outcome.alive
    assert outcome.echoes == 1 + INPUTS // ECHO_EVERY
    assert outcome.slowest_input_seconds < LONGEST_ANSWER_SECONDS
    assert outcome.grown_mib < MOST_GROWTH_MIB
    assert (outcome.open_associations, outcome.not_settled) == (0, 0)
    assert outcome.objects.get("ct", 0) + outcome.objects.get("other", 0) > 0, "some are sound enough to be filed"
    assert outcome.objects.get("unreadable", 0) > 0
