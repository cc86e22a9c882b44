"""The pure parts of what may begin: rules, pauses, circuits, the bulkhead, the pace."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carom_common.domain.bulkhead import BURST_SECONDS, QUIET_SECONDS, SPREAD_SECONDS, STUCK_SECONDS, Bulkhead, Standing
from carom_common.domain.circuit import Circuit, tells_presence
from carom_common.domain.destinations import destination_of
from carom_common.domain.pacing import LONGEST_SECONDS, Pace, growing_ms
from carom_common.domain.pauses import LabelSelector, Pause, Pauses, Selector
from carom_common.domain.rules import CircuitRule, Limits, Rate, Rule, RuleBook, limits_of, parse_host, parse_rules

DEFAULT = Limits(50)


@pytest.mark.parametrize(
    "url",
    ["http://a.example/x", "https://A.example:443/", "http://a.example:8080", "http://[::1]:9/", "https://1.2.3.4"],
)
def test_every_destination_can_have_a_rule(url: str) -> None:
    host = destination_of(url)
    assert parse_host(host) == host


@pytest.mark.parametrize(
    "text", ["", "A.example", "a b", "http://a", "a/b", "u@a", "a:0", "a:99999", "[::1", ":80", "a%41"]
)
def test_what_is_no_destination_can_have_none(text: str) -> None:
    with pytest.raises(ValueError, match="host"):
        parse_host(text)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"a.example": 5}', '{"a.example": {"concurrency": 0}}', '{"A": {}}', '{"a": {"speed": 1}}'],
)
def test_bad_rules_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_rules(text)


def test_a_rule_says_only_what_it_says() -> None:
    rule = Rule(rate=Rate(30), circuit=CircuitRule(failures=2))
    assert limits_of(rule, DEFAULT) == Limits(50, 30, 3, 2, 30)
    assert limits_of(None, DEFAULT) == DEFAULT


def test_what_the_api_set_wins() -> None:
    book = RuleBook(DEFAULT, parse_rules('{"a": {"concurrency": 1}, "b": {"concurrency": 2}}'))
    book.set = {"a": Rule(concurrency=3)}
    assert [book.of(host).concurrency for host in "abc"] == [3, 2, 50]


def pause(tenant: str = "t", **selector: Any) -> Pause:
    return Pause(tenant, Selector(**selector), 1)


def test_pauses_hold_what_they_name_and_no_more() -> None:
    pauses = Pauses([pause(host="h"), pause("u"), pause(label=LabelSelector("k", "v"))])
    assert pauses.hold("t", "h", {})
    assert pauses.hold("u", "other", {})
    assert pauses.hold("t", "other", {"x": "y", "k": "v"})
    assert not pauses.hold("t", "other", {"k": "w"})
    assert not pauses.hold("v", "h", {"k": "v"})
    assert pauses.tenants == {"u"}
    assert not Pauses()


def test_a_circuit_opens_after_failures_in_a_row_and_lets_one_probe() -> None:
    circuit = Circuit()
    assert [circuit.failed(3, 30, 0) for _ in range(2)] == [False, False]
    circuit.answered()
    assert [circuit.failed(3, 30, 0) for _ in range(3)] == [False, False, True]
    assert (circuit.state(29), circuit.state(30)) == ("open", "half-open")
    assert not circuit.failed(3, 30, 10), "a call that began before it opened"
    circuit.probing = True
    assert circuit.failed(3, 30, 31)
    assert (circuit.state(60), circuit.rest(60)) == ("open", 1)
    circuit.probing = True
    assert circuit.answered()
    assert circuit.state(61) == "closed"


def test_a_circuit_without_a_threshold_never_opens() -> None:
    circuit = Circuit()
    assert not any(circuit.failed(0, 30, 0) for _ in range(100))


def test_what_failures_tell() -> None:
    assert [tells_presence(r) for r in ("connect", "dns", "tls", "timeout", "protocol", "refused")] == [
        *[False] * 4,
        True,
        None,
    ]


def filled(bulkhead: Bulkhead, standing: Standing, now: float = 100, most: int = 1000) -> int:
    count = 0
    while count < most and bulkhead.has_room(standing, now):
        bulkhead.enter(standing, now)
        count += 1
    return count


def test_a_fresh_process_gives_all_slots_to_hosts_it_does_not_know() -> None:
    assert filled(Bulkhead(100), Standing.UNKNOWN) == 100


def test_beside_proven_hosts_the_others_have_half_and_those_that_fail_a_quarter() -> None:
    bulkhead = Bulkhead(100)
    bulkhead.enter(Standing.PROVEN, 100)
    assert filled(bulkhead, Standing.FAILING) == 25
    assert filled(bulkhead, Standing.UNKNOWN) == 25
    assert not bulkhead.has_room(Standing.FAILING, 100 + QUIET_SECONDS - 1)
    assert bulkhead.has_room(Standing.FAILING, 100 + QUIET_SECONDS)


def test_proven_hosts_find_slots_where_all_hang() -> None:
    bulkhead = Bulkhead(100)
    assert filled(bulkhead, Standing.UNKNOWN, 100) == 100
    assert not bulkhead.opens_reserve(100)
    assert bulkhead.opens_reserve(100 + 2 * STUCK_SECONDS)
    begun = 0
    while bulkhead.opens_reserve(110):
        bulkhead.enter(Standing.PROVEN, 110)
        begun += bulkhead.overdraws
    assert begun == 50


@pytest.mark.parametrize(("seconds", "step"), [(5, 0.01), (300, SPREAD_SECONDS)])
def test_what_timed_out_together_does_not_begin_together_again(seconds: float, step: float) -> None:
    bulkhead, now = Bulkhead(500), 100.0
    bulkhead.enter(Standing.PROVEN, now)
    assert filled(bulkhead, Standing.UNKNOWN, now) == 250
    now += seconds
    for _ in range(250):
        bulkhead.leave(Standing.UNKNOWN, now, seconds)
    at_once = 1 + int(BURST_SECONDS / step)
    assert filled(bulkhead, Standing.UNKNOWN, now, at_once + 1) == at_once
    began: list[float] = []
    while len(began) < 250 - at_once:
        now = max(now, bulkhead.next_at)
        bulkhead.enter(Standing.UNKNOWN, now)
        began.append(now)
        assert bulkhead.has_room(Standing.PROVEN, now)
        assert not bulkhead.has_room(Standing.UNKNOWN, now)
    assert [later - earlier for earlier, later in pairwise(began)] == pytest.approx([step] * (249 - at_once), rel=0.01)
    assert bulkhead.step(Standing.UNKNOWN) == pytest.approx(seconds / 250, rel=0.01)
    assert bulkhead.step(Standing.FAILING) == pytest.approx(seconds / 125, rel=0.01)


def test_hosts_that_answer_at_once_begin_as_fast_as_they_come() -> None:
    bulkhead, now = Bulkhead(100), 100.0
    bulkhead.enter(Standing.PROVEN, now)
    for _ in range(100):
        assert filled(bulkhead, Standing.UNKNOWN, now) == 50
        now += 0.002
        for _ in range(50):
            bulkhead.leave(Standing.UNKNOWN, now, 0.002)


def test_what_was_not_called_says_nothing_of_how_long_calls_take() -> None:
    bulkhead = Bulkhead(100)
    bulkhead.enter(Standing.UNKNOWN, 100)
    bulkhead.leave(Standing.UNKNOWN, 105, 5)
    step = bulkhead.step(Standing.UNKNOWN)
    for _ in range(50):
        bulkhead.enter(Standing.UNKNOWN, 106)
        bulkhead.leave(Standing.UNKNOWN, 106, None)
    assert bulkhead.step(Standing.UNKNOWN) == step


@given(st.lists(st.tuples(st.sampled_from(list(Standing)), st.booleans(), st.floats(0, 3)), max_size=200))
def test_counts_never_go_beyond_their_bounds(steps: list[tuple[Standing, bool, float]]) -> None:
    bulkhead, running, now = Bulkhead(8), dict.fromkeys(Standing, 0), 50.0
    for standing, begins, passed in steps:
        now += passed
        # Whoever asks has a free slot: the bulkhead says only for whom.
        if begins and bulkhead.running < 8 and bulkhead.has_room(standing, now):
            bulkhead.enter(standing, now)
            running[standing] += 1
        elif not begins and running[standing]:
            bulkhead.leave(standing, now, passed)
            running[standing] -= 1
        assert bulkhead.running == sum(running.values()) <= 8


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.001, 10)), min_size=1, max_size=100))
def test_turns_are_within_bounds_and_one_after_the_other(asked: list[tuple[float, float]]) -> None:
    pace, now, last = Pace(), 0.0, 0.0
    for passed, step in asked:
        now += passed
        turn = pace.turn(now, step, 0)
        assert 0.1 <= turn <= LONGEST_SECONDS
        assert now + turn >= min(last, now + LONGEST_SECONDS) - 1e-9
        last = now + turn


def test_holds_grow() -> None:
    assert [growing_ms(n) for n in (0, 1, 2, 5, 6, 100)] == [1000, 1000, 2000, 16_000, 25_000, 25_000]
