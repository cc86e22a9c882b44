"""What time it is when the wall clock jumps."""

import pytest

from carom_common.domain.clock import Clock

HOUR = 3_600_000


class Hands:
    """Two clocks that a test sets, in milliseconds."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000_000
        self.monotonic = 5_000

    def pass_by(self, ms: int) -> None:
        self.wall += ms
        self.monotonic += ms

    def clock(self) -> Clock:
        return Clock(lambda: self.wall * 1_000_000, lambda: self.monotonic * 1_000_000)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 1500])
def test_a_jump_that_nobody_else_knows_of_is_none(jump: int) -> None:
    hands = Hands()
    clock, right = hands.clock(), hands.wall
    hands.wall += jump
    assert clock.now_ms() == right
    assert clock.compare(right + 300) == jump
    hands.pass_by(1000)
    assert clock.now_ms() == right + 1000
    hands.wall -= jump
    assert clock.compare(right + 1000) == 0
    assert clock.now_ms() == right + 1000


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_jump_to_the_right_time_is_followed(jump: int) -> None:
    """The node's clock was set: it had been wrong, or the machine had slept."""
    hands = Hands()
    clock = hands.clock()
    hands.wall += jump
    assert clock.compare(hands.wall - 300) == 0
    assert clock.now_ms() == hands.wall


def test_another_clock_that_jumps_changes_nothing() -> None:
    hands = Hands()
    clock = hands.clock()
    assert clock.compare(hands.wall + HOUR) == 0
    assert clock.now_ms() == hands.wall


def test_small_steps_are_followed_without_a_question() -> None:
    hands = Hands()
    clock = hands.clock()
    for _ in range(10):
        hands.wall -= 900
        assert clock.compare(hands.wall + 5 * HOUR) == 0
        assert clock.now_ms() == hands.wall
