"""What a bulk act is asked for, and the messages that acts owe."""

import json
from typing import Any

import msgspec
import pytest

from carom_common.contracts.job import Job, Status, encode_job
from carom_common.contracts.message import Attempt, Detail, encode_attempt
from carom_intake.domain.bulk import DEFAULT_RATE, filter_document, parse_bulk
from carom_intake.domain.listing import BadFilter
from carom_intake.domain.owing import callback_message, execute_message, is_due

OPEN = {"queued", "scheduled", "in_progress", "waiting"}


def asked(document: Any, act: str = "redrive") -> Any:
    return parse_bulk(json.dumps(document).encode(), act)


def test_a_redrive() -> None:
    found = asked({"labels": {"a": "b"}, "kind": "callback", "rate": 7, "dryRun": True})
    assert (found.kind, found.rate, found.dry_run) == ("callback", 7, True)
    assert found.filter.kind == "callback"
    assert filter_document(found.filter) == {"labels": {"a": "b"}}


def test_what_is_not_said() -> None:
    found = asked({"reason": "timeout"})
    assert (found.kind, found.rate, found.dry_run) == ("execute", DEFAULT_RATE, False)


def test_a_cancel_means_open_jobs_only() -> None:
    assert set(asked({"host": "a.example"}, "cancel").filter.status) == OPEN
    assert asked({"status": ["waiting", "failed"]}, "cancel").filter.status == (Status.WAITING,)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b"{", {""}),
        (b"\xff", {""}),
        (b"[" * 100_000, {""}),
        (b'{"rate": 1.5, "dryRun": null, "host": 3}', {"/rate", "/dryRun", "/host"}),
        (b'{"createdBefore": "yesterday"}', {"/createdBefore"}),
    ],
)
def test_every_problem_is_named(body: bytes, pointers: set[str]) -> None:
    with pytest.raises(BadFilter) as error:
        parse_bulk(body, "redrive")
    assert {problem.pointer for problem in error.value.problems} == pointers


def entry(number: int, size: int) -> bytes:
    response = msgspec.Raw(json.dumps("x" * size).encode())
    return encode_attempt(Attempt(number, 503, False, "t", response=response, detail=Detail()))


RECORD: dict[str, str] = {
    "status": "queued", "generation": "3", "attempt": "2", "created": "5", "base": "2", "tenant": "shop", "eta": "0",
}  # fmt: skip


def test_the_next_attempt_carries_what_was_tried() -> None:
    job, log = encode_job(Job("https://a.example", None)), [entry(1, 5000), entry(2, 5000)]
    message = execute_message("j", RECORD | {"expires": "99"}, job, log, "trace")
    assert (message.generation, message.attempt, message.base, message.expires) == (3, 3, 2, 99)
    assert (message.tenant, message.created_at, message.eta) == ("shop", 5, 0)
    first, last = message.attempts
    assert first.truncated
    assert not last.truncated
    assert first.detail is last.detail is None


def test_the_callback_of_a_record() -> None:
    state = RECORD | {"status": "failed", "completed": "9", "error": "e", "reason": "timeout", "dead": "1"}
    job = encode_job(Job("https://a.example", "https://b.example"))
    message = callback_message("j", state | {"callback_generation": "2"}, job, [entry(1, 1), entry(2, 1)], "")
    assert (message.status, message.completed_at, message.error, message.reason) == ("failed", 9, "e", "timeout")
    assert (message.generation, message.callback_generation, message.callback_attempt, message.dead) == (3, 2, 1, True)
    assert len(message.attempts) == 2


def test_what_was_begun_is_not_due() -> None:
    final = RECORD | {"status": "cancelled", "callback": "pending"}
    assert is_due(RECORD, "execute t")
    assert not is_due(RECORD | {"status": "in_progress"}, "execute t")
    assert is_due(final, "news t")
    assert not is_due(RECORD, "news t")
    assert is_due(final, "callback t")
    assert is_due(final | {"callback_attempt": "0"}, "callback t")
    assert not is_due(final | {"callback_claims": "1"}, "callback t")
    assert not is_due(final | {"callback": "delivered", "callback_attempt": "1"}, "callback t")
    assert not is_due(RECORD | {"callback": "pending"}, "callback t")
