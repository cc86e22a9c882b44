"""Reading a response's body within a bound, in whatever encoding it comes."""

import zlib
from collections.abc import Mapping

from carom_common.adapters.egress.errors import EgressError
from carom_common.adapters.egress.transport import Exchange

_GZIP_MAGIC = b"\x1f\x8b"
_AUTO = 32 + zlib.MAX_WBITS  # a zlib or gzip header, whichever comes
_RAW = -zlib.MAX_WBITS
_MAX_MEMBERS = 1000  # empty ones decode to nothing, so the bound on the body would never stop them


async def read_body(exchange: Exchange, limit: int) -> tuple[bytes, bool]:
    """At most `limit` decoded bytes, and whether more was cut off. Raises EgressError."""
    inflater = inflater_for(exchange.headers)
    body = await exchange.read()
    if inflater is not None:
        body = inflater.feed(body, limit + 1)
    elif not body:
        return b"", False
    parts = [body]
    size = len(body)
    while size <= limit and (chunk := await exchange.read()):
        if inflater is not None:
            if inflater.padded:
                break
            chunk = inflater.feed(chunk, limit + 1 - size)
        parts.append(chunk)
        size += len(chunk)
    if size > limit:
        return b"".join(parts)[:limit], True
    if inflater is not None:
        inflater.finish()
    return (body if len(parts) == 1 else b"".join(parts)), False


def inflater_for(headers: Mapping[str, str]) -> "Inflater | None":
    """None for a body that is kept as sent: not encoded, or in an encoding we did not ask for and do not know."""
    encoding = headers.get("Content-Encoding")
    return Inflater() if encoding and encoding.strip().lower() in ("gzip", "x-gzip", "deflate") else None


class Inflater:
    """gzip (several members: RFC 1952, 2.2) and deflate, which servers send with and without zlib's header.

    Never makes more than it is asked for, so that a compression bomb costs no memory. `padded` once something else
    follows the compressed data; it is ignored, as browsers do, and must not be fed: zlib would collect it.
    """

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_AUTO)
        self._started = False
        self._members = 1
        self.padded = False

    def feed(self, data: bytes, room: int) -> bytes:
        """Up to `room` (1 or more) decoded bytes of `data`; when it returns `room` bytes there may be more."""
        out = b""
        if not self._started and data:
            self._started = True
            if data[0] & 0x0F != 8 and data[:1] != _GZIP_MAGIC[:1]:
                self._stream = zlib.decompressobj(_RAW)
        try:
            while data and len(out) < room:
                out += self._stream.decompress(data, room - len(out))
                data = self._stream.unconsumed_tail
                if self._stream.eof:
                    data = self._next_member()
        except zlib.error:
            raise EgressError("protocol", "the compressed body of the response is broken") from None
        return out

    def finish(self) -> None:
        """The body ended. An empty one (HEAD, 204, 304) is complete."""
        if self._started and not self._stream.eof:
            raise EgressError("protocol", "the compressed body of the response is incomplete")

    def _next_member(self) -> bytes:
        rest = self._stream.unused_data
        if not rest.startswith(_GZIP_MAGIC):
            self.padded = not _GZIP_MAGIC.startswith(rest)
            return b""
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise EgressError("protocol", "the compressed body of the response has too many parts")
        self._stream = zlib.decompressobj(_AUTO)
        return rest
