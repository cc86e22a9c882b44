"""Places in a stream, what is missing from one, and the order of what is told."""

import pytest

from carom_common.domain import happening as module
from carom_common.domain.happening import START, Happening, Order, Position, Span


@pytest.mark.parametrize("text", ["0-0", "1526919030474-55", "18446744073709551615-18446744073709551615"])
def test_positions_are_read_and_written(text: str) -> None:
    assert str(Position.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1", "1-2-3", "a-1", " 1-2", "1-2\n", "１-２", "18446744073709551616-0", "1-" + "9" * 30]
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="id of an event"):
        Position.parse(text)


def test_positions_are_ordered_as_numbers() -> None:
    assert Position.parse("9-10") > Position.parse("9-9")
    assert Position.parse("10-0") > Position.parse("9-99")
    assert Position(5, 7).next == Position(5, 8)
    assert Position(5, 2**64 - 1).next == Position(6, 0)


@pytest.mark.parametrize(
    ("span", "after", "whole"),
    [
        (Span(Position(5, 0), Position(9, 0), cut=True), Position(5, 0), True),
        (Span(Position(5, 0), Position(9, 0), cut=True), Position(9, 0), True),
        (Span(Position(5, 0), Position(9, 0), cut=True), Position(4, 9), False),
        (Span(Position(5, 0), Position(9, 0), cut=True), Position(9, 1), False),  # of another store, or lost
        (Span(Position(5, 0), Position(9, 0), cut=True), START, False),
        (Span(Position(5, 0), Position(9, 0), cut=False), START, True),
        (Span(None, START, cut=False), START, True),
        (Span(None, START, cut=False), Position(4, 0), False),  # the store came back empty
    ],
)
def test_gaps_are_known(span: Span, after: Position, whole: bool) -> None:
    assert span.has_all_after(after) is whole


def happened(what: str, attempt: int, generation: int = 1, job_id: str = "a", at: int = 0) -> Happening:
    return Happening(Position(1, 0), job_id, what, generation, attempt, at)


def test_a_late_queued_is_left_out() -> None:
    """Intake wrote it after an executor had begun the job, or even ended it."""
    order = Order()
    assert order.accepts(happened("in_progress", 1))
    assert not order.accepts(happened("queued", 0))
    assert order.accepts(happened("completed", 1))
    assert not order.accepts(happened("queued", 0))
    assert order.accepts(happened("callback.delivered", 1))
    assert order.accepts(happened("queued", 0, job_id="b"))


def test_queued_is_told_once() -> None:
    """By an executor that was faster than intake, and by intake, in whatever order."""
    order = Order()
    assert order.accepts(happened("queued", 0))
    assert not order.accepts(happened("queued", 0))
    assert order.accepts(happened("held", 0))
    assert not order.accepts(happened("queued", 0))
    assert order.accepts(happened("queued", 0, at=1))  # what was held is run now
    assert order.accepts(happened("in_progress", 1))


def test_what_was_scheduled_may_be_run_now() -> None:
    order = Order()
    assert order.accepts(happened("scheduled", 0))
    assert order.accepts(happened("queued", 0))


def test_a_retry_is_told() -> None:
    order = Order()
    told = [
        happened("queued", 0),
        happened("in_progress", 1),
        happened("waiting", 1),
        happened("queued", 1, at=1),  # a waiting job is run now
        happened("in_progress", 2),
        happened("failed", 2),
        happened("callback.waiting", 1),
        happened("callback.delivered", 2),
        happened("queued", 2, generation=2),  # a failed one again
        happened("in_progress", 3, generation=2),
    ]
    assert all(order.accepts(event) for event in told)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)
    order = Order()
    for number in range(5):
        order.accepts(happened("in_progress", 1, job_id=str(number)))
    assert [order.accepts(happened("queued", 0, job_id=job_id)) for job_id in "430"] == [False, False, True]
