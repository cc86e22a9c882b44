"""AMQP frames: ours against pamqp's, which implements the whole specification."""

import pamqp.commands as spec
import pamqp.encode
import pamqp.frame
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from carom_common.adapters.amqp import wire


def frames(data: bytes) -> list[object]:
    found: list[object] = []
    while data:
        used, _, frame = pamqp.frame.unmarshal(data)
        found.append(frame)
        data = data[used:]
    return found


@given(st.binary(max_size=300), st.booleans())
@example(b"\x01sealed", True)
def test_a_publish_is_what_pamqp_reads(body: bytes, with_headers: bool) -> None:
    table = pamqp.encode.field_table({"reason": "because"}) if with_headers else b""
    data = wire.publish_prefix(3, "carom.work", "execute.normal") + wire.content(3, body, "id-1", table, 4096)
    method, header, *rest = frames(data)
    assert isinstance(method, spec.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory) == ("carom.work", "execute.normal", True)
    assert isinstance(header, ContentHeader)
    properties = header.properties
    kind = "application/octet-stream" if body[:1] == b"\x01" else "application/json"
    assert (properties.message_id, properties.delivery_mode, properties.content_type) == ("id-1", 2, kind)
    assert properties.headers == ({"reason": "because"} if with_headers else None)
    assert b"".join(part.value for part in rest if isinstance(part, ContentBody)) == body


def test_a_large_body_is_split_at_frame_max() -> None:
    data = wire.content(1, b"x" * 10_000, "id", b"", 4096)
    assert [len(part.value) for part in frames(data) if isinstance(part, ContentBody)] == [4088, 4088, 1824]


@given(st.integers(1, 2**60), st.booleans(), st.booleans())
def test_acks_and_nacks_are_what_pamqp_reads(tag: int, multiple: bool, requeue: bool) -> None:
    (ack,) = frames(wire.ack(7, tag, multiple))
    assert isinstance(ack, spec.Basic.Ack)
    assert (ack.delivery_tag, ack.multiple) == (tag, multiple)
    (nack,) = frames(wire.nack(7, tag, multiple, requeue))
    assert isinstance(nack, spec.Basic.Nack)
    assert (nack.delivery_tag, nack.multiple, nack.requeue) == (tag, multiple, requeue)


@given(st.text("abc.-09", min_size=1, max_size=40), st.integers(1, 2**60), st.booleans(), st.text("xyz.", max_size=40))
def test_a_delivery_is_read_as_pamqp_writes_it(consumer: str, tag: int, redelivered: bool, key: str) -> None:
    data = pamqp.frame.marshal(spec.Basic.Deliver(consumer, tag, redelivered, "carom.work", key), 2)
    ((kind, channel, payload),) = wire.split(bytearray(data))
    assert (kind, channel) == (wire.METHOD, 2)
    assert (wire.parse_deliver(payload), wire.routing_key_of(payload)) == (tag, key)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "content_type": st.just("application/json"),
            "content_encoding": st.just("gzip"),
            "headers": st.just({"x-death": [{"count": 1, "queue": "q"}]}),
            "delivery_mode": st.just(2),
            "priority": st.just(4),
            "correlation_id": st.just("c"),
            "reply_to": st.just("r"),
            "expiration": st.just("1000"),
            "message_id": st.just("m-1"),
            "app_id": st.just("app"),
        },
    )
)
def test_properties_are_read_whatever_else_is_set(properties: dict[str, object]) -> None:
    header = ContentHeader(body_size=5, properties=spec.Basic.Properties(**properties))  # type: ignore[arg-type]
    ((_, _, payload),) = wire.split(bytearray(pamqp.frame.marshal(header, 1)))
    assert wire.parse_header(payload) == (5, properties.get("message_id", ""))


def test_frames_split_across_reads_are_put_together() -> None:
    data = wire.ack(1, 5, True) + wire.HEARTBEAT_FRAME
    buffer = bytearray()
    found = []
    for byte in data:
        buffer.append(byte)
        found += wire.split(buffer)
    assert [kind for kind, _, _ in found] == [wire.METHOD, wire.HEARTBEAT]
    assert not buffer


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="end octet"):
        wire.split(bytearray(wire.HEARTBEAT_FRAME[:-1] + b"\x00"))
