"""Frames of the hot path, by hand: publish, deliver, return, ack (AMQP 0-9-1 specification, sections 2.3 and 4.2).

Everything else goes through pamqp. Nothing here does I/O.
"""

import struct

from carom_common.contracts.sealing import SEALED

FRAME_END = b"\xce"
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
FRAME_OVERHEAD = 8
FRAME_MAX = 131_072
"""Bytes that a frame may have; what the broker would have larger is not agreed on."""

BASIC_PUBLISH, BASIC_RETURN, BASIC_DELIVER = 0x3C0028, 0x3C0032, 0x3C003C
BASIC_ACK, BASIC_NACK = 0x3C0050, 0x3C0078
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE, _MESSAGE_ID = 0x8000, 0x2000, 0x1000, 0x0080

_frame_head = struct.Struct(">BHI")
_header_head = struct.Struct(">HHQH")
_ack = struct.Struct(">BHIIQBB")
_u64 = struct.Struct(">Q")
_u32 = struct.Struct(">I")
_u16 = struct.Struct(">H")


def short_string(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw


def publish_prefix(channel: int, exchange: str, routing_key: str) -> bytes:
    """The Basic.Publish method frame, mandatory: the same bytes for every message of one exchange and key."""
    payload = _u32.pack(BASIC_PUBLISH) + b"\x00\x00" + short_string(exchange) + short_string(routing_key) + b"\x01"
    return _frame_head.pack(METHOD, channel, len(payload)) + payload + FRAME_END


def content(channel: int, body: bytes, message_id: str, headers: bytes, frame_max: int) -> bytes:
    """Header and body frames of a persistent message, JSON or sealed; `headers` is an encoded table or empty."""
    flags = _CONTENT_TYPE | _DELIVERY_MODE | _MESSAGE_ID | (_HEADERS if headers else 0)
    kind = b"\x18application/octet-stream" if body.startswith(SEALED) else b"\x10application/json"
    properties = kind + headers + b"\x02" + short_string(message_id)
    header = _header_head.pack(60, 0, len(body), flags) + properties
    parts = [_frame_head.pack(HEADER, channel, len(header)), header, FRAME_END]
    room = frame_max - FRAME_OVERHEAD
    for start in range(0, len(body), room):
        chunk = body[start : start + room]
        parts += (_frame_head.pack(BODY, channel, len(chunk)), chunk, FRAME_END)
    return b"".join(parts)


def ack(channel: int, tag: int, multiple: bool) -> bytes:
    return _ack.pack(METHOD, channel, 13, BASIC_ACK, tag, multiple, 0xCE)


def nack(channel: int, tag: int, multiple: bool, requeue: bool) -> bytes:
    return _ack.pack(METHOD, channel, 13, BASIC_NACK, tag, multiple | requeue << 1, 0xCE)


def parse_ack(payload: bytes) -> tuple[int, bool]:
    """Delivery tag and `multiple` of a Basic.Ack or Basic.Nack from the broker."""
    return _u64.unpack_from(payload, 4)[0], bool(payload[12] & 1)


def parse_deliver(payload: bytes) -> int:
    """Delivery tag of a Basic.Deliver: which queue it is from, the channel says."""
    tag: int = _u64.unpack_from(payload, 5 + payload[4])[0]
    return tag


def routing_key_of(payload: bytes) -> str:
    """Of a Basic.Deliver: after the consumer's tag, the delivery's, `redelivered` and the exchange."""
    at = 14 + payload[4]
    at += 1 + payload[at]
    return payload[at + 1 : at + 1 + payload[at]].decode("utf-8", "replace")


def parse_return(payload: bytes) -> tuple[int, str]:
    """Reply code and text of a Basic.Return."""
    return _u16.unpack_from(payload, 4)[0], payload[7 : 7 + payload[6]].decode()


def parse_header(payload: bytes) -> tuple[int, str]:
    """Body size and message id of a content header frame; the other properties are skipped."""
    _, _, size, flags = _header_head.unpack_from(payload)
    at = 14
    for bit in (0x8000, 0x4000, 0x2000, 0x1000, 0x0800, 0x0400, 0x0200, 0x0100):
        if not flags & bit:
            continue
        if bit == _HEADERS:
            at += 4 + _u32.unpack_from(payload, at)[0]
        elif bit in (_DELIVERY_MODE, 0x0800):  # delivery mode and priority are octets
            at += 1
        else:
            at += 1 + payload[at]
    message_id = payload[at + 1 : at + 1 + payload[at]] if flags & _MESSAGE_ID else b""
    return size, message_id.decode("utf-8", "replace")


def split(buffer: bytearray) -> list[tuple[int, int, bytes]]:
    """Take every complete frame off the front of the buffer as (type, channel, payload).

    Raises ValueError when the peer does not speak AMQP frames, or announces one that is larger than may be agreed on:
    it would be kept in memory until it is whole.
    """
    frames: list[tuple[int, int, bytes]] = []
    at, end = 0, len(buffer)
    while end - at >= FRAME_OVERHEAD:
        kind, channel, size = _frame_head.unpack_from(buffer, at)
        if size > FRAME_MAX:
            raise ValueError(f"a frame of {size} bytes")
        stop = at + 7 + size
        if stop >= end:
            break
        if buffer[stop] != 0xCE:
            raise ValueError("frame without an end octet")
        frames.append((kind, channel, bytes(buffer[at + 7 : stop])))
        at = stop + 1
    del buffer[:at]
    return frames
