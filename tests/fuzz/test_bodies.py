"""JSON from clients: a job, a batch, a filter, a cursor, keys. Taken whole, or refused with places."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.material import bodies, fuzz, texts

from carom_common.domain.cursor import MAX_CURSOR, BadCursor, Position, decode_cursor, encode_cursor
from carom_common.domain.rules import parse_rules
from carom_intake.domain.batch import MAX_JOBS, parse_batch
from carom_intake.domain.checks import Problem
from carom_intake.domain.keys import InvalidKeys, parse_keys
from carom_intake.domain.listing import BadFilter, filter_of_document, parse_query
from carom_intake.domain.submission import MAX_PROBLEMS, InvalidSubmission, parse_submission

NOW = 1_790_000_000_000
FULL: dict[str, Any] = {
    "targetUrl": "https://example.com/a",
    "method": "POST",
    "headers": {"X-A": "b"},
    "payload": {"a": [1, 2.5, None, "x"]},
    "callback": {"url": "https://example.org/c", "headers": {}, "events": ["completed"]},
    "maxRetries": 3,
    "retryDelay": 1000,
    "retry": {"strategy": "linear", "jitter": "full", "statuses": [500, "4xx"]},
    "success": {"statuses": ["2xx", 404]},
    "labels": {"a": "b"},
    "priority": "high",
    "runAt": "2026-09-22T00:00:00Z",
    "timeout": 1000,
    "redact": ["/a/0"],
}
JOBS = [
    json.dumps(FULL).encode(),
    b'{"targetUrl": "http://h", "callbackUrl": null}',
    b'{"targetUrl": "http://h", "callbackUrl": null, "delay": 1e400}',
    b'{"targetUrl": "\\ud800", "callbackUrl": "\xff", "payload": ' + b"[" * 40 + b"]" * 40 + b"}",
    b'{"targetUrl": "http://h", "callbackUrl": null, "maxRetries": 123456789012345678901234567890}',
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def jobs(draw: st.DrawFn) -> bytes:
    """A whole job in which some fields are anything at all."""
    fields = dict(FULL)
    for name in draw(st.lists(st.sampled_from([*FULL, "unknown", "callbackUrl", "delay", "ttl"]), max_size=4)):
        fields[name] = draw(JSON)
    return json.dumps(fields).encode()


def check(problems: list[Problem]) -> None:
    """Every refusal has a place in the body, in a text of bounded size."""
    assert 1 <= len(problems) <= MAX_PROBLEMS + 1
    for problem in problems:
        assert problem.pointer == "" or problem.pointer.startswith(("/", "?"))
        assert problem.detail
    json.dumps([list(problem) for problem in problems]).encode()


@fuzz
@given(bodies(*JOBS) | jobs())
@example(b"[" * 100_000)
@example(b'{"targetUrl":"http://h","callbackUrl":null,"payload":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}")
@example(b'{"targetUrl":"http://h","callbackUrl":null,"labels":{"\\ud800":"x"}}')
def test_a_job_is_taken_whole_or_refused_with_places(body: bytes) -> None:
    try:
        job, plan = parse_submission(body, NOW)
    except InvalidSubmission as error:
        check(error.problems)
        return
    again = msgspec.json.decode(msgspec.json.encode(job), type=type(job))
    assert again == job
    assert plan.eta >= 0
    assert not isinstance(json.loads(body), list)


@fuzz
@given(
    bodies(
        b'{"jobs": [' + JOBS[1] + b"," + JOBS[0] + b'], "atomic": true}', b'{"jobs": []}', b'{"jobs": [1, "x", null]}'
    )
)
@example(b'{"jobs": [' + b",".join([b"1"] * (MAX_JOBS + 1)) + b"]}")
@example(b'{"jobs": ' + b"[" * 100_000)
def test_a_batch_is_as_many_jobs_as_it_says(body: bytes) -> None:
    try:
        batch = parse_batch(body)
    except InvalidSubmission as error:
        check(error.problems)
        return
    assert 1 <= len(batch.jobs) <= MAX_JOBS
    try:
        text = body.decode()
    except UnicodeDecodeError:
        refused = 0
        for job in batch.jobs:
            try:
                parse_submission(job, NOW)
            except InvalidSubmission:
                refused += 1
        assert refused, "what is no UTF-8 is found in its job"
        return
    assert [json.loads(job) for job in batch.jobs] == json.loads(text)["jobs"]


PAIRS = st.lists(
    st.tuples(
        texts("status", "label", "host", "createdAfter", "reason", "waitReason", "limit", "cursor"),
        texts("failed,queued", "a=b", "example.com:80", "2026-01-31T09:30:00Z", "timeout", "rate", "100"),
    ),
    max_size=6,
)


@fuzz
@given(PAIRS)
@example([("label", f"k{n}=v") for n in range(1000)])
def test_a_query_is_a_filter_or_names_its_parameters(pairs: list[tuple[str, str]]) -> None:
    try:
        query = parse_query(pairs)
    except BadFilter as error:
        assert all(problem.pointer.startswith("?") for problem in error.problems)
        return
    assert 1 <= query.limit <= 1000
    assert query.filter.fingerprint("t") == parse_query(pairs).filter.fingerprint("t")


@fuzz
@given(JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(("status", "labels", "host", "createdAfter"), JSON)))
def test_a_filter_in_a_body_is_one_or_names_its_places(document: Any) -> None:
    try:
        filter_of_document(document)
    except BadFilter as error:
        assert all(problem.pointer.startswith("/filter") for problem in error.problems)


CURSOR = encode_cursor(Position(NOW, "0b1c9f2e-0000-4000-8000-000000000000"), "f" * 16)


@fuzz
@given(texts(CURSOR, CURSOR[:-1], CURSOR + "=", "WzEsMCwiIiwiIl0"))
def test_a_cursor_is_one_of_ours_or_bad(text: str) -> None:
    try:
        position = decode_cursor(text, "f" * 16)
    except BadCursor as error:
        assert str(error)
        return
    assert len(text) <= MAX_CURSOR
    assert decode_cursor(encode_cursor(position, "f" * 16), "f" * 16) == position


@fuzz
@given(
    st.integers(0, 2**53 - 1),
    st.text("0123456789abcdef-", min_size=1, max_size=64),
    st.text("0123456789abcdef", max_size=32),
)
def test_a_cursor_is_read_as_it_was_written_and_by_its_own_question_alone(created: int, job: str, asked: str) -> None:
    cursor = encode_cursor(Position(created, job), asked)
    assert decode_cursor(cursor, asked) == Position(created, job)
    with pytest.raises(BadCursor):
        decode_cursor(cursor, asked + "x")


KEYS = [
    b'{"keys": [{"id": "a", "hash": "' + b"0" * 64 + b'", "scopes": ["admin"], "expiresAt": "2026-01-31T09:30:00Z"}]}',
    b'{"keys": [{"id": "a", "hash": "' + b"f" * 64 + b'", "scopes": ["jobs:read"], "cidrs": ["10.0.0.0/8", "::/0"]}]}',
]


@fuzz
@given(bodies(*KEYS))
@example(b'{"keys": ' + b"[" * 100_000)
def test_a_file_of_keys_is_taken_whole_or_not_at_all(text: bytes) -> None:
    try:
        keys = parse_keys(text)
    except InvalidKeys as error:
        assert "\n" not in str(error)
        return
    assert len(keys) == len(json.loads(text)["keys"])


@fuzz
@given(
    texts(
        '{"api.example": {"concurrency": 5, "rate": {"perSecond": 10}}}', '{"[::1]:8080": {"circuit": {"failures": 3}}}'
    )
)
def test_rules_of_destinations_are_rules_or_one_line(text: str) -> None:
    try:
        rules = parse_rules(text)
    except ValueError as error:
        assert "\n" not in str(error).replace(text, "")
        return
    assert all(rules)
