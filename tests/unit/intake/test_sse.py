"""Frames of event streams, what they are asked for, and `Prefer: wait`."""

import time

import pytest

from carom_common.domain.happening import Happening, Position
from carom_intake.domain.prefer import wait_seconds
from carom_intake.domain.sse import asked, gap_frame, happening_frame, heartbeat, opening, state_frame


def test_frames() -> None:
    place = Position(1526919030474, 5)
    happening = Happening(place, "j-1", "callback.delivered", 2, 3, 1_716_033_600_000)
    assert happening_frame(happening) == (
        b"id: 1526919030474-5\n"
        b"event: callback.delivered\n"
        b'data: {"jobId":"j-1","event":"callback.delivered","generation":2,"attempt":3,'
        b'"at":"2024-05-18T12:00:00.000Z"}\n\n'
    )
    state = {"status": "waiting", "generation": "1", "attempt": "2", "updated": "1716033600000"}
    assert state_frame("j-1", state, "none", place) == (
        b"id: 1526919030474-5\n"
        b"event: state\n"
        b'data: {"jobId":"j-1","event":"state","status":"waiting","callback":"none","generation":1,"attempt":2,'
        b'"at":"2024-05-18T12:00:00.000Z"}\n\n'
    )
    assert b'"lastEventId":"1526919030474-5","firstKept":null' in gap_frame(place, None)
    assert b"id:" not in gap_frame(place, place).split(b"data:")[0]
    assert opening(place) == b"retry: 2000\nid: 1526919030474-5\n\n"
    assert heartbeat(place) == b": nothing new\nid: 1526919030474-5\n\n"


def test_what_may_be_asked() -> None:
    wanted, problems = asked([("event", "failed"), ("event", "queued"), ("lastEventId", "1-2")], None, filters=True)
    assert not problems
    assert wanted.after == Position(1, 2)
    assert wanted.events == {"failed", "queued"}
    assert asked([("lastEventId", "1-2")], "3-4", filters=False)[0].after == Position(3, 4)
    assert asked([], "", filters=False) == asked([], None, filters=False)


@pytest.mark.parametrize(
    ("pairs", "header", "pointer", "detail"),
    [
        ([("event", "exploded")], None, "?event", "'exploded' never happens; known are queued, "),
        ([("status", "failed")], None, "?status", "is no parameter here; known are lastEventId, event"),
        ([("lastEventId", "x")], None, "?lastEventId", "must be the id of an event"),
        ([("lastEventId", "1-1"), ("lastEventId", "2-2")], None, "?lastEventId", "is given twice"),
        ([], "yesterday", "Last-Event-ID", "must be the id of an event"),
    ],
)
def test_what_may_not(pairs: list[tuple[str, str]], header: str | None, pointer: str, detail: str) -> None:
    _, problems = asked(pairs, header, filters=True)
    assert [(problem.pointer, problem.detail.startswith(detail)) for problem in problems] == [(pointer, True)]


def test_a_job_has_no_filter() -> None:
    assert asked([("event", "failed")], None, filters=False)[1][0].detail == (
        "is no parameter here; known are lastEventId"
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], 0),
        (["wait=10"], 10),
        (["WAIT = 10"], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=10"], 10),
        (["wait=10; strict=yes, handling=lenient"], 10),
        (['wait="10"'], 10),
        (["wait=5, wait=9"], 5),
        (["wait=61"], 60),
        (["wait=007"], 7),
        (["wait=" + "9" * 5000], 60),
        (["wait=0"], 0),
        (["wait"], 0),
        (["wait="], 0),
        (["wait=-1"], 0),
        (["wait=1.5"], 0),
        (["wait=ten"], 0),
        (["wait=１０"], 0),
        (['note="a, wait=3", wait=4'], 4),
        (['note="open, wait=3'], 0),
        (["waiting=3"], 0),
        ([", ,;=,"], 0),
    ],
)
def test_prefer(headers: list[str], seconds: int) -> None:
    assert wait_seconds(headers) == seconds


def test_prefer_takes_linear_time() -> None:
    started = time.monotonic()
    for text in (" ;" * 30_000, '"' * 60_000, "\\" * 60_000, '"\\' * 30_000, ", " * 30_000):
        assert wait_seconds([text]) == 0
    assert time.monotonic() - started < 10
