import contextlib
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carom_common.contracts.job import Status
from carom_common.domain.filters import Filter, JobHead
from carom_intake.domain.listing import BadFilter, Query, filter_of_document, parse_query, summary_document


def query(text: str) -> Query:
    return parse_query(parse_qsl(text, keep_blank_values=True))


def test_nothing_asked_is_everything() -> None:
    assert query("") == Query(Filter(), None, 100)


def test_all_that_can_be_asked() -> None:
    found = query(
        "status=failed,expired&status=waiting&label=team=a&label=example.com/tier=&host=Example.COM:8443"
        "&createdAfter=2026-01-01T00:00:00Z&createdBefore=2026-01-02T00:00:00%2B01:00&reason=dns"
        "&waitReason=paused&limit=7&cursor=abc"
    )
    assert found == Query(
        Filter(
            status=(Status.FAILED, Status.EXPIRED, Status.WAITING),
            labels={"team": "a", "example.com/tier": ""},
            host="example.com:8443",
            created_after=1_767_225_600_000,
            created_before=1_767_308_400_000,
            reason="dns",
            wait_reason=("paused",),
        ),
        "abc",
        7,
    )


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("color=red", "?color", "known are status, label"),
        ("status=done", "?status", "known are queued"),
        ("status=", "?status", "known are queued"),
        ("reason=bad", "?reason", "http-4xx"),
        ("label=team", "?label", "key=value"),
        ("label=-=a", "?label", "key that no label"),
        ("label=a=-", "?label", "value that no label"),
        ("label=a=1&label=a=2", "?label", "twice"),
        ("&".join(f"label=k{n}=v" for n in range(17)), "?label", "at most 16"),
        ("host=a&host=b", "?host", "twice"),
        ("host=http://a/", "?host", "host:port"),
        ("createdAfter=yesterday", "?createdAfter", "RFC 3339"),
        ("createdBefore=2026-02-30T00:00:00Z", "?createdBefore", "exists"),
        ("createdAfter=2026-01-02T00:00:00Z&createdBefore=2026-01-02T00:00:00Z", "?createdBefore", "later"),
        ("limit=0", "?limit", "1 to 1000"),
        ("limit=1001", "?limit", "1 to 1000"),
        ("limit=ten", "?limit", "1 to 1000"),
        ("limit=٣", "?limit", "1 to 1000"),
        ("waitReason=Any!", "?waitReason", "known are paused"),
    ],
)
def test_what_is_wrong_is_named(text: str, where: str, says: str) -> None:
    with pytest.raises(BadFilter) as caught:
        query(text)
    assert any(problem.pointer == where and says in problem.detail for problem in caught.value.problems)


@given(st.lists(st.tuples(st.sampled_from(["status", "label", "host", "createdAfter", "limit", "x"]), st.text())))
def test_no_query_breaks_it(pairs: list[tuple[str, str]]) -> None:
    with contextlib.suppress(BadFilter):
        parse_query(pairs)


def test_a_body_says_the_same_as_a_query() -> None:
    body = {"status": ["failed"], "labels": {"team": "a"}, "host": "h", "waitReason": "paused"}
    assert filter_of_document(body) == query("status=failed&label=team=a&host=h&waitReason=paused").filter
    assert filter_of_document({}).empty


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ([], "/filter"),
        ({"color": 1}, "/filter/color"),
        ({"status": 1}, "/filter/status"),
        ({"status": [1]}, "/filter/status"),
        ({"labels": ["a"]}, "/filter/labels"),
        ({"labels": {"a": 1}}, "/filter/labels"),
        ({"host": ["a"]}, "/filter/host"),
        ({"createdAfter": "x"}, "/filter/createdAfter"),
    ],
)
def test_a_bad_body_is_named(body: Any, where: str) -> None:
    with pytest.raises(BadFilter) as caught:
        filter_of_document(body)
    assert caught.value.problems[0].pointer == where


def test_a_summary_shows_no_reason_of_a_failure_before_success() -> None:
    state = {"status": "completed", "attempt": "2", "created": "1000", "updated": "2000", "reason": "http-5xx"}
    shown = summary_document("id", state, JobHead("http://a/", callback_url="http://b/"))
    assert shown["reason"] is None
    assert shown["createdAt"] == "1970-01-01T00:00:01.000Z"
    assert shown["attempts"] == 2
    assert shown["callback"]["status"] == "pending"
    assert "payload" not in shown
