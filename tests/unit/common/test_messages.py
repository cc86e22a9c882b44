"""Messages: what is written is read back, and what cannot be read says why."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from carom_common.contracts.job import Job, RetryPolicy
from carom_common.contracts.message import (
    CARRIED_RESPONSE_BYTES,
    Attempt,
    CallbackMessage,
    ExecuteMessage,
    Undecodable,
    decode_callback,
    decode_execute,
    encode,
    shortened,
)

JOB = Job(target_url="https://example.com/hook", callback_url=None, method="POST", payload=Raw(b'{"a":1}'))


def message() -> ExecuteMessage:
    attempt = Attempt(1, 503, False, "2024-05-18T12:00:02.000Z", Raw(b'{"no":1}'), "the target answered 503")
    return ExecuteMessage(
        1, "default", "id", JOB, 1_716_033_600_000, attempt=2, eta=1_716_033_601_000, attempts=(attempt,)
    )


def test_an_execute_message_survives_the_wire() -> None:
    assert encode(decode_execute(encode(message()))) == encode(message())


def test_a_callback_message_survives_the_wire() -> None:
    original = CallbackMessage(1, "default", "id", JOB, 1, "failed", 2, "gone", callback_attempt=3)
    assert encode(decode_callback(encode(original))) == encode(original)


def test_every_message_names_version_and_tenant() -> None:
    document = msgspec.json.decode(encode(message()))
    assert (document["version"], document["tenant"]) == (1, "default")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "truncated"),
        (b"not json", "malformed"),
        (b"[]", "Expected `object`"),
        (b'{"version": 2, "anything": "else"}', "unknown version 2"),
        (b'{"version": 1}', "missing required field"),
        (b"\xff\xfe", "malformed"),
    ],
)
def test_what_cannot_be_read_says_why(body: bytes, why: str) -> None:
    for decode in (decode_execute, decode_callback):
        with pytest.raises(Undecodable, match=why):
            decode(body)


def test_a_known_shape_of_an_unknown_version_is_refused() -> None:
    newer = msgspec.structs.replace(message(), version=2)
    with pytest.raises(Undecodable, match="unknown version 2"):
        decode_execute(encode(newer))


@given(st.binary(max_size=200))
def test_no_body_breaks_the_decoders(body: bytes) -> None:
    for decode in (decode_execute, decode_callback):
        with pytest.raises(Undecodable):
            decode(body)


@given(st.text(max_size=5000))
def test_carried_responses_are_short_and_stay_json(text: str) -> None:
    full = Attempt(1, 200, True, "t", Raw(msgspec.json.encode({"text": text})))
    short = shortened(full)
    msgspec.json.decode(bytes(short.response))
    if short is not full:
        assert short.truncated
        assert len(bytes(short.response)) <= 2 * CARRIED_RESPONSE_BYTES + 2


@pytest.mark.parametrize(
    ("status", "retried"), [(408, True), (425, True), (429, True), (500, True), (599, True), (404, False), (301, False)]
)
def test_the_default_policy_retries_what_may_pass(status: int, retried: bool) -> None:
    assert RetryPolicy().retries(status) is retried
