"""Header fields: each has a parser that takes what it knows, bounded, and says no to the rest in its own way."""

import string
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.material import fuzz, texts

from carom_common.domain.backoff import retry_after_ms
from carom_common.domain.clock import parse_rfc3339, rfc3339
from carom_common.domain.happening import Position
from carom_intake.domain.checks import MAX_HEADER_BYTES, header_problems
from carom_intake.domain.idempotency import MAX_KEY, InvalidKey, key_in
from carom_intake.domain.keys import Key, Keys, Refusal, Scope, hash_of
from carom_intake.domain.prefer import MAX_WAIT_SECONDS, wait_seconds
from carom_intake.domain.sse import asked

NOW = 1_790_000_000_000
DATES = texts(
    "Wed, 21 Oct 2026 07:28:00 GMT",
    "Wednesday, 21-Oct-26 07:28:00 GMT",
    "Wed Oct 21 07:28:00 2026",
    "120",
    "1.5",
    "99999999999999999999",
    "21 Oct 2026 07:28:00 +9999",
    "Mon, 31 Feb 0000 25:61:61 -0000",
)


@fuzz
@given(DATES)
@example("\u0661\u0662")
@example("1 Jan 99999 00:00:00 GMT")
@example("1 Jan 2026 00:00:00 +999999999999")
def test_retry_after_is_a_time_to_wait_or_nothing(value: str) -> None:
    """A target says this: whatever it is, the executor goes on."""
    wait = retry_after_ms(value, NOW)
    assert wait is None or 0 <= wait < 10**15 * 1000


@fuzz
@given(st.integers(0, 10**11))
def test_retry_after_in_seconds_is_met_exactly(seconds: int) -> None:
    assert retry_after_ms(f" {seconds} ", NOW) == seconds * 1000


@fuzz
@given(
    st.lists(texts("wait=10", 'respond-async, wait="5"; x=y', "WAIT = 99999999999", 'a="b,\\"c", wait=3'), max_size=3)
)
def test_a_preference_is_a_bounded_wait(headers: list[str]) -> None:
    assert 0 <= wait_seconds(headers) <= MAX_WAIT_SECONDS


@fuzz
@given(st.lists(texts("key", '"key"', '"a\\"b"', "k" * 255, "k" * 256, " k "), max_size=2))
def test_an_idempotency_key_is_visible_ascii_and_survives_quoting(values: list[str]) -> None:
    try:
        key = key_in(values)
    except InvalidKey:
        assert values
        return
    if key is None:
        assert not values
        return
    assert 1 <= len(key) <= MAX_KEY
    assert all("\x21" <= c <= "\x7e" for c in key)
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert key_in([quoted]) == key


SECRET = "s" * 48
KEYS = Keys([Key(id="shop", hash=hash_of(SECRET), scopes=[Scope.JOBS_WRITE])])
TOKEN = f"Bearer carom_shop_{SECRET}"


@fuzz
@given(
    st.lists(texts(TOKEN, TOKEN.lower(), f"Basic {SECRET}", f"Bearer  carom_other_{SECRET}", TOKEN + "s"), max_size=3)
)
def test_nothing_but_the_token_is_let_in(authorization: list[str]) -> None:
    found = KEYS.verify(authorization, datetime.now(UTC))
    if isinstance(found, Refusal):
        return
    (given_,) = authorization
    scheme, _, token = given_.partition(" ")
    assert scheme.lower() == "bearer"
    assert token.lstrip(" ") == f"carom_shop_{SECRET}"


@fuzz
@given(texts("1526919030474-55", "0-0", "18446744073709551615-1", "1-", "\u0661-1"))
def test_a_last_event_id_is_a_position_or_a_problem(text: str) -> None:
    got, problems = asked([], text, filters=True)
    if problems:
        assert got.after is None
        assert [problem.pointer for problem in problems] == ["Last-Event-ID"]
    elif text:
        assert got.after is not None
        assert Position.parse(str(got.after)) == got.after
        assert max(got.after) < 2**64
        assert got.after.next > got.after


@fuzz
@given(st.lists(st.tuples(texts("lastEventId", "event"), texts("completed", "1-1", "callback.failed")), max_size=4))
def test_what_a_stream_is_asked_for(pairs: list[tuple[str, str]]) -> None:
    got, problems = asked(pairs, None, filters=True)
    assert all(len(problem.detail) < 1000 for problem in problems)
    assert problems or {name for name, _ in pairs} <= {"event", "lastEventId"}
    assert len(got.events) <= len(pairs)


TIMES = texts(
    "2026-01-31T09:30:00Z",
    "0001-01-01t00:00:00.123456789+23:59",
    "9999-12-31 23:59:59.9-23:59",
    "2026-02-29T00:00:00Z",
    "2026-06-30T23:59:60Z",
    "\u0662026-01-31T09:30:00Z",
)


@fuzz
@given(TIMES)
def test_a_time_is_one_that_exists_or_is_refused(text: str) -> None:
    try:
        ms = parse_rfc3339(text)
    except ValueError as error:
        assert str(error).startswith(("must be a time", "is no time"))
        return
    assert -62_135_683_200_000 <= ms < 253_402_387_200_000
    if 0 <= ms < 253_402_300_800_000:
        assert parse_rfc3339(rfc3339(ms)) == ms


@fuzz
@given(st.integers(0, 253_402_300_799_999))
def test_times_survive_being_written(ms: int) -> None:
    assert parse_rfc3339(rfc3339(ms)) == ms


HEADERS = st.dictionaries(
    texts("Authorization", "X-Trace", "content-length", "X-Carom-Job", "Host"), texts("value", "a\r\nb: c"), max_size=5
)


@fuzz
@given(HEADERS)
@example({"X": "a\r\nInjected: 1"})
@example({"X\r\nInjected": "1"})
@example({"X": "a\x00b"})
@example({"x": "1", "X": "2"})
@example({"X": "b" * MAX_HEADER_BYTES})
def test_headers_that_are_taken_are_headers_on_the_wire(headers: dict[str, str]) -> None:
    """Nothing that a header holds can end it, or begin another one."""
    if list(header_problems("/headers", headers)):
        return
    wire = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    assert len(wire.encode()) <= MAX_HEADER_BYTES
    assert wire.count("\n") == wire.count("\r") == len(headers)
    assert "\x00" not in wire
    token = set(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
    assert all(name and set(name) <= token for name in headers)
    assert len({name.lower() for name in headers}) == len(headers)
