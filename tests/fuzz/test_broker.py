"""What comes from the broker: messages that anybody with its password could have published, and AMQP frames."""

import asyncio
import struct
from typing import Any

import pamqp.commands as spec
import pamqp.frame
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from tests.fuzz.material import bodies, fuzz

from carom_callback.subscribers import place as callback_place
from carom_common.adapters.amqp import wire
from carom_common.adapters.amqp.channel import Channel
from carom_common.adapters.amqp.connection import Connection
from carom_common.adapters.amqp.errors import BrokerError
from carom_common.contracts.job import Job
from carom_common.contracts.message import (
    Attempt,
    CallbackMessage,
    ExecuteMessage,
    Undecodable,
    decode_callback,
    decode_execute,
    encode,
)
from carom_common.domain.destinations import destination_of
from carom_executor.subscribers import place

JOB = Job(target_url="http://h/", callback_url="http://h/", labels={"a": "b"})
EXECUTE = encode(ExecuteMessage(version=1, tenant="default", job_id="id", created_at=1, job=JOB))
ATTEMPT = Attempt(1, 200, True, "2026-01-31T09:30:00Z")
CALLBACK = encode(
    CallbackMessage(
        version=1,
        tenant="default",
        job_id="id",
        created_at=1,
        job=JOB,
        status="completed",
        completed_at=2,
        attempts=(ATTEMPT,),
    )
)
HOSTILE = EXECUTE.replace(b"http://h/", b"http://[::")


@fuzz
@given(bodies(EXECUTE, CALLBACK, HOSTILE, b"\x01sealed", b'{"version": 2}'))
@example(b"[" * 100_000)
@example(b'{"version": 1' + b"0" * 5000 + b"}")
@example(HOSTILE)
def test_a_message_is_one_that_can_be_placed_or_is_undecodable(body: bytes) -> None:
    """Whatever else it raised would reach the connection, which would break it, and get the message again."""
    for decode, where in ((decode_execute, place), (decode_callback, callback_place)):
        try:
            message: Any = decode(body)
        except Undecodable as error:
            assert str(error)
            continue
        assert decode(encode(message)) == message
        destination_of(where(message).url)


FRAMES = [
    pamqp.frame.marshal(Basic.Deliver("tag", 7, False, "carom.work", "execute.normal"), 1),
    pamqp.frame.marshal(ContentHeader(0, 5, Basic.Properties(message_id="id", headers={"a": 1}, delivery_mode=2)), 1),
    pamqp.frame.marshal(ContentBody(b"hello"), 1),
    pamqp.frame.marshal(Basic.Ack(3, True), 1),
    pamqp.frame.marshal(Basic.Return(312, "NO_ROUTE", "carom.work", "x"), 1),
    pamqp.frame.marshal(spec.Channel.Close(404, "NOT_FOUND", 0, 0), 1),
    pamqp.frame.marshal(spec.Connection.Close(320, "CONNECTION_FORCED", 0, 0), 0),
    pamqp.frame.marshal(spec.Connection.Blocked("memory"), 0),
    wire.HEARTBEAT_FRAME,
]
STREAM = b"".join(FRAMES)


@fuzz
@given(st.lists(st.sampled_from(FRAMES), max_size=12), st.data())
def test_frames_are_the_same_however_they_are_cut(frames: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(frames)
    buffer, found, rest = bytearray(), [], whole
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        buffer += rest[:size]
        rest = rest[size:]
        found += wire.split(buffer)
    assert found == wire.split(bytearray(whole))
    assert len(found) == len(frames)
    assert not buffer


@fuzz
@given(bodies(*FRAMES, STREAM))
def test_splitting_takes_whole_frames_or_says_that_they_are_none(data: bytes) -> None:
    buffer = bytearray(data)
    try:
        frames = wire.split(buffer)
    except ValueError:
        return
    assert sum(len(payload) + wire.FRAME_OVERHEAD for _, _, payload in frames) + len(buffer) == len(data)
    again = b"".join(
        struct.pack(">BHI", kind, channel, len(payload)) + payload + wire.FRAME_END for kind, channel, payload in frames
    )
    assert again + bytes(buffer) == data


@fuzz
@given(st.integers(0, 255), st.integers(0, 2), bodies(*(frame[7:-1] for frame in FRAMES)))
def test_any_frame_is_handled_or_ends_the_connection(kind: int, channel: int, payload: bytes) -> None:
    """In either case nothing escapes to the event loop, and whoever waits learns why."""

    async def feed() -> None:
        connection = Connection()
        connection._channels[1] = Channel(connection, 1)
        connection.data_received(
            FRAMES[0] + struct.pack(">BHI", kind, channel, len(payload)) + payload + wire.FRAME_END
        )
        connection.data_received(STREAM)
        if connection.closed.done():
            assert isinstance(connection.closed.exception(), BrokerError)
            assert not connection.usable

    asyncio.run(feed())


@fuzz
@given(bodies(FRAMES[1][7:-1]))
def test_a_header_is_read_within_its_bounds(payload: bytes) -> None:
    try:
        size, message_id = wire.parse_header(payload)
    except (IndexError, struct.error):
        return
    assert 0 <= size < 2**64
    assert len(message_id) <= 255


def test_a_frame_larger_than_agreed_is_not_waited_for() -> None:
    """A peer that announces 4 GiB would have all of it kept in memory."""

    async def feed() -> None:
        connection = Connection()
        connection.data_received(struct.pack(">BHI", wire.BODY, 1, 2**32 - 1) + b"x")
        assert isinstance(connection.closed.exception(), BrokerError)

    asyncio.run(feed())
