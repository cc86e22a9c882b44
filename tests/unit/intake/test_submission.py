"""Validation: every limit, every problem at once, each with its place."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carom_common.contracts.job import RetryPolicy
from carom_intake.domain.submission import InvalidSubmission, parse_submission

NOW = 1_700_000_000_000
VALID: dict[str, Any] = {"targetUrl": "https://example.com/hook", "callbackUrl": "https://example.com/cb"}


def problems(**fields: Any) -> dict[str, str]:
    body = {name: value for name, value in {**VALID, **fields}.items() if value is not ...}
    try:
        parse_submission(json.dumps(body).encode(), NOW)
    except InvalidSubmission as error:
        return {problem.pointer: problem.detail for problem in error.problems}
    return {}


def test_defaults_are_the_seeds() -> None:
    job = parse_submission(json.dumps(VALID).encode(), NOW).job
    assert (job.method, job.headers, bytes(job.payload), job.max_retries, job.retry_delay) == (
        "GET",
        {},
        b"null",
        3,
        1000,
    )
    assert (job.timeout, job.follow_redirects, job.retry) == (30_000, False, RetryPolicy())
    assert (job.retry.strategy, job.retry.max_delay, job.retry.effective_jitter) == ("exponential", 3_600_000, "equal")
    assert job.retry.statuses == (408, 425, 429, "5xx")


@pytest.mark.parametrize(
    ("field", "taken", "refused"),
    [
        ("maxRetries", [0, 10], [-1, 11, 1.5, "3", None, True]),
        ("retryDelay", [100, 30_000], [99, 30_001, "1000"]),
        ("timeout", [100, 300_000], [99, 300_001, "5s"]),
        ("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"], ["get", "TRACE", "CONNECT", "", 5]),
        ("payload", [None, {}, [], "text", 5, True, {"deep": [1, {"er": None}]}], []),
        ("headers", [{}, {"X-Test": "1"}], [[], "X: 1", None]),
        ("followRedirects", [True, False], ["yes", 1]),
        ("retry", [{}, {"strategy": "linear"}, {"statuses": [500, "4xx"]}], ["linear", None, []]),
        ("callbackUrl", [None, "http://a.example/"], [5, ...]),
        ("targetUrl", ["http://a.example:8080/x?y=z#f", "https://[2001:db8::1]/"], [..., None, 5]),
    ],
)
def test_each_field_takes_its_range_and_no_more(field: str, taken: list[Any], refused: list[Any]) -> None:
    for value in taken:
        assert problems(**{field: value}) == {}, value
    for value in refused:
        assert list(problems(**{field: value})) == [f"/{field}"], value


@pytest.mark.parametrize(
    ("retry", "pointer"),
    [
        ({"strategy": "random"}, "/retry/strategy"),
        ({"maxDelay": 99}, "/retry/maxDelay"),
        ({"maxDelay": 86_400_001}, "/retry/maxDelay"),
        ({"jitter": "some"}, "/retry/jitter"),
        ({"statuses": [500, "6xx"]}, "/retry/statuses/1"),
        ({"statuses": [99]}, "/retry/statuses/0"),
        ({"attempts": 3}, "/retry/attempts"),
    ],
)
def test_retry_problems_point_into_the_policy(retry: dict[str, Any], pointer: str) -> None:
    assert list(problems(retry=retry)) == [pointer]


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        targetUrl="ftp://x",
        callbackUrl=...,
        maxRetries=11,
        retry={"jitter": 1, "x": 2},
        headers={"a b": "1", "ok": 5, "X/~": "\n"},
        surprise=1,
    )
    assert set(found) == {
        "/targetUrl",
        "/callbackUrl",
        "/maxRetries",
        "/retry/jitter",
        "/retry/x",
        "/headers/a b",
        "/headers/ok",
        "/headers/X~1~0",
        "/surprise",
    }
    assert found["/callbackUrl"].startswith("is required")
    assert "unknown field" in found["/surprise"]
    assert "10" in found["/maxRetries"], "the limit is named"
    assert "got 11" in found["/maxRetries"], "the value is named"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "/path",
        "ftp://example.com",
        "http://",
        "http:///path",
        "http://user:pw@example.com/",
        "http://user@example.com/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:x/",
        "http://exa mple.com/",
        "http://example.com/a b",
        "http://example.com/\n",
        "http://example.com\\@evil/",
        "http://[::1/",
        "javascript:alert(1)",
        "http://example.com/" + "x" * 2048,
    ],
)
def test_a_url_must_be_absolute_http_without_credentials(url: str) -> None:
    assert list(problems(targetUrl=url)) == ["/targetUrl"]
    assert list(problems(callbackUrl=url)) == ["/callbackUrl"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "x"),
        ("content-length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("X-Carom-Attempt", "9"),
        ("bad name", "x"),
        ("", "x"),
        ("Ünicode", "x"),
        ("X-Inject", "a\r\nEvil: 1"),
        ("X-Nul", "\x00"),
    ],
)
def test_headers_that_break_the_connection_are_refused(name: str, value: str) -> None:
    assert len(problems(headers={name: value})) == 1


def test_one_header_in_two_spellings_is_refused() -> None:
    assert list(problems(headers={"X-A": "1", "x-a": "2"})) == ["/headers/x-a"]


def test_headers_have_a_bound_in_number_and_size() -> None:
    assert list(problems(headers={f"X-{n}": "1" for n in range(65)})) == ["/headers"]
    assert list(problems(headers={"X-Big": "x" * 16_384})) == ["/headers"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[1]",
        b'"text"',
        b"\xff",
        b'{"targetUrl": "\xff"}',
        b'{"payload": "\xff"}',
        b"[" * 100_000,
        b'{"targetUrl":"http://a.example","callbackUrl":null,"payload":' + b"[" * 300 + b"]" * 300 + b"}",
    ],
)
def test_what_is_no_json_object_is_one_problem_of_the_whole(body: bytes) -> None:
    with pytest.raises(InvalidSubmission) as caught:
        parse_submission(body, NOW)
    assert [problem.pointer for problem in caught.value.problems] == [""]


def test_a_broken_body_full_of_brackets_and_quotes_is_refused_at_once() -> None:
    """Looking for strings in what is no JSON would take quadratic time: minutes for a body of the allowed size."""
    with pytest.raises(InvalidSubmission):
        parse_submission(b'{"payload":' + b"[" * 201 + b'"' + b'\\"' * 150_000, NOW)


def test_the_number_of_problems_is_bounded() -> None:
    found = problems(**{f"x{n}": 1 for n in range(5000)})
    assert len(found) <= 101
    assert found[""] == "and 4900 more problems"


def test_brackets_in_text_are_not_nesting() -> None:
    assert problems(payload="[{" * 500) == {}
    assert problems(payload=[[]] * 500) == {}


@given(st.binary(max_size=300))
def test_no_body_breaks_the_parser(body: bytes) -> None:
    with pytest.raises(InvalidSubmission):
        parse_submission(body, NOW)


SCALARS = st.none() | st.booleans() | st.integers() | st.text()


@settings(deadline=None)
@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_no_json_value_of_a_field_breaks_the_parser(value: Any) -> None:
    for field in ("targetUrl", "callbackUrl", "method", "headers", "maxRetries", "retry", "timeout", "followRedirects"):
        problems(**{field: value})
