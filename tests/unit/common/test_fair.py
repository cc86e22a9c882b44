"""Fair turns between the priority queues."""

from collections import Counter

from carom_common.domain.fair import WeightedTurns

WEIGHTS = {"high": 8, "normal": 3, "low": 1}


def test_turns_follow_the_weights_when_every_queue_is_full() -> None:
    turns = WeightedTurns(WEIGHTS)
    assert Counter(turns.pick(WEIGHTS) for _ in range(1200)) == {"high": 800, "normal": 300, "low": 100}


def test_no_queue_starves_within_one_round() -> None:
    turns = WeightedTurns(WEIGHTS)
    assert {turns.pick(WEIGHTS) for _ in range(12)} == set(WEIGHTS)


def test_a_queue_that_was_empty_saves_no_turns_up() -> None:
    turns = WeightedTurns(WEIGHTS)
    for _ in range(1000):
        turns.pick(["normal", "low"])
    assert Counter(turns.pick(WEIGHTS) for _ in range(12))["high"] >= 7


def test_a_single_candidate_is_taken() -> None:
    assert WeightedTurns(WEIGHTS).pick(["low"]) == "low"
