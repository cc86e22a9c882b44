"""Attempts as they are shown, and the range of them that a query asks for."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from carom_common.contracts.job import Job
from carom_common.contracts.message import Attempt, Detail, Timing
from carom_intake.domain.attempts import Range, attempt_document, next_cursor, parse_range
from carom_intake.domain.listing import BadFilter

ID = "6b0e2c2e-4b8f-4c55-9a7c-7a3b1f1f0001"
JOB = Job(
    "http://t.example/x", None, method="POST", headers={"X-One": "1", "Authorization": "Bearer s"}, payload=Raw(b"1")
)
DETAIL = Detail(Timing(0.5, 1.25, None, 20.0, 22.0), "192.0.2.1:80", {"Server": "x", "Set-Cookie": "[redacted]"})
ENTRY = Attempt(
    2, 503, False, "2024-05-18T12:00:02.000Z", Raw(b'{"ok":false}'), "the target answered 503", True, 22, "http-5xx",
    generation=2, detail=DETAIL,
)  # fmt: skip


def shown(entry: Attempt, **options: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        msgspec.json.encode(attempt_document(ID, JOB, entry, **({"payloads": True} | options)))
    )
    document["request"]["headers"].pop("User-Agent")
    return document


def test_an_attempt_whole() -> None:
    assert shown(ENTRY) == {
        "attempt": 2,
        "generation": 2,
        "success": False,
        "statusCode": 503,
        "startedAt": "2024-05-18T12:00:01.978Z",
        "endedAt": "2024-05-18T12:00:02.000Z",
        "timing": {"waitMs": 0.5, "connectMs": 1.25, "tlsMs": None, "firstByteMs": 20.0, "totalMs": 22.0},
        "remoteAddress": "192.0.2.1:80",
        "request": {
            "method": "POST",
            "url": "http://t.example/x",
            "headers": {
                "X-One": "1",
                "Authorization": "[redacted]",
                "Content-Type": "application/json",
                "Idempotency-Key": ID,
                "X-Carom-Job-Id": ID,
                "X-Carom-Attempt": "2",
            },
        },
        "response": {
            "headers": {"Server": "x", "Set-Cookie": "[redacted]"},
            "body": {"ok": False},
            "truncated": True,
        },
        "error": "the target answered 503",
        "reason": "http-5xx",
    }


def test_without_payloads_read_names_are_shown_and_nothing_of_what_was_said() -> None:
    document = shown(ENTRY, payloads=False)
    assert document["response"] == {"headers": {"Server": None, "Set-Cookie": None}, "body": None, "truncated": True}
    assert set(document["request"]["headers"].values()) == {None}
    assert document["request"]["headers"].keys() >= {"X-One", "Authorization"}


def test_an_entry_that_came_back_from_a_message_has_no_detail() -> None:
    document = shown(msgspec.structs.replace(ENTRY, detail=None))
    assert (document["timing"], document["remoteAddress"], document["response"]["headers"]) == (None, None, None)


def test_without_an_answer_there_is_no_response() -> None:
    timing = Timing(1.0, total=100.0)
    entry = Attempt(
        1, None, False, "2024-05-18T12:00:02.000Z", error="timed out", reason="timeout", detail=Detail(timing)
    )
    document = shown(entry)
    assert document["response"] is None
    assert document["timing"] == {
        "waitMs": 1.0,
        "connectMs": None,
        "tlsMs": None,
        "firstByteMs": None,
        "totalMs": 100.0,
    }


def test_pages_follow_each_other_to_the_end() -> None:
    first = parse_range(ID, [("limit", "2")])
    assert first == Range(0, 2)
    cursor = next_cursor(ID, first, 2, 3)
    assert cursor is not None
    second = parse_range(ID, [("limit", "2"), ("cursor", cursor)])
    assert second == Range(2, 2)
    assert next_cursor(ID, second, 1, 3) is None
    assert next_cursor(ID, Range(0, 3), 3, 3) is None
    assert parse_range(ID, []) == Range(0, 100)


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        ([("limit", "0")], ["?limit"]),
        ([("limit", "1001")], ["?limit"]),
        ([("limit", "many")], ["?limit"]),
        ([("limit", "1"), ("limit", "2")], ["?limit"]),
        ([("cursor", "nonsense")], ["?cursor"]),
        ([("cursor", "x" * 1000)], ["?cursor"]),
        ([("since", "1"), ("limit", "")], ["?since", "?limit"]),
    ],
)
def test_what_is_wrong_with_a_query(pairs: list[tuple[str, str]], names: list[str]) -> None:
    with pytest.raises(BadFilter) as caught:
        parse_range(ID, pairs)
    assert [problem.pointer for problem in caught.value.problems] == names


def test_a_cursor_is_good_for_one_job() -> None:
    cursor = next_cursor("another", Range(0, 1), 1, 2)
    assert cursor is not None
    with pytest.raises(BadFilter, match="another job"):
        parse_range(ID, [("cursor", cursor)])
