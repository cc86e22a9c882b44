"""HTTP/1.1 with bounds: how long and large the head of a request may be, and how long its body may take to arrive.

uvicorn and httptools have none: a header that never ends would be kept until memory does. A request that arrives in one
piece, as nearly all do, costs one comparison.
"""

import asyncio
import uuid
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from carom_common.telemetry import metrics

MAX_URL = 8192
MAX_HEADERS = 100
MAX_HEAD = 32_768
"""Bytes of request line and headers together; what is over it is answered before it is all there."""
LINGER_SECONDS = 0.5
"""How long a connection without a request stays after shutdown began: one may be on its way."""
_BETWEEN, _HEAD, _BODY = range(3)

_PROBLEMS = {
    400: ("Bad Request", "the request is no valid HTTP/1.1"),
    408: ("Request Timeout", "the request was not complete in time"),
    414: ("URI Too Long", f"the URL is over {MAX_URL} bytes"),
    431: (
        "Request Header Fields Too Large",
        f"the headers are over {MAX_HEADERS} or, with the request line, over {MAX_HEAD} bytes",
    ),
}


class _Refused(Exception):
    """Raised in a callback of the parser, which turns it into an error of its own."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Subclasses set the seconds that a head, and a body after it, may take."""

    head_seconds = 10.0
    body_seconds = 30.0
    _phase = _BETWEEN
    _status = 400
    _head = 0
    """Bytes of the head so far: as parsed, or as received while it is incomplete."""
    _received = 0
    _watched = _BETWEEN
    _timer: asyncio.TimerHandle | None = None
    _leaving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm(_HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._phase != _BETWEEN:
            self._look(len(data))
        elif self._timer is not None:
            self._disarm()

    def shutdown(self) -> None:
        """Of the whole server: the request under way is the last one, or the next where there is none.

        uvicorn closes what is idle at once, and resets whoever is just asking.
        """
        self._leaving = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LINGER_SECONDS, self._leave)
        else:
            self.cycle.keep_alive = False

    def _leave(self) -> None:
        # One that was answered before its body was there has had its answer: nobody reads the rest.
        if self._phase != _HEAD and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()

    def _look(self, size: int) -> None:
        """The request is not complete."""
        if self.transport.is_closing():
            return
        if self._phase == _HEAD:
            self._received += size
            if self._received > MAX_HEAD:
                self._refuse(431)
                return
        if self._watched != self._phase or self._timer is None:
            self._arm(self._phase)

    # What the parser calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase, self._head, self._received = _HEAD, 0, 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL:
            self._status = 414
            raise _Refused

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._head += len(name) + len(value) + 4
        if len(self.headers) > MAX_HEADERS or self._head > MAX_HEAD:
            self._status = 431
            raise _Refused

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._phase = _BODY
        if self._leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._phase = _BETWEEN

    # Deadlines

    def _arm(self, phase: int) -> None:
        self._disarm()
        self._watched = phase
        seconds = self.head_seconds if phase == _HEAD else self.body_seconds
        self._timer = self.loop.call_later(seconds, self._expired)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if self.flow.read_paused or (answering and self._phase == _HEAD):
            self._arm(self._watched)  # it is we who do not read on: until a body is wanted, or an answer is given
        elif self._phase == _BETWEEN:
            self.transport.close()  # nothing was ever asked
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        self._status = status
        self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """The problem that there is, and the end of the connection: what follows on it has no beginning."""
        self._disarm()
        metrics.requests_cut_off.labels(str(self._status)).inc()
        cycle: Any = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if answering:
            cycle.disconnected = True
            cycle.message_event.set()
        # One request gets one answer: what has begun, or was given before the body was there, is left as it is.
        if not cycle.response_started if answering else self._phase != _BODY:
            self.transport.write(_answer(self._status))
        self.transport.close()


def bounded(head_seconds: float, body_seconds: float) -> type[BoundedProtocol]:
    """The protocol with these deadlines."""
    return type("Bounded", (BoundedProtocol,), {"head_seconds": head_seconds, "body_seconds": body_seconds})


def _answer(status: int) -> bytes:
    title, detail = _PROBLEMS[status]
    request_id = uuid.uuid4().hex
    body = msgspec.json.encode(
        {"type": "about:blank", "title": title, "status": status, "detail": detail, "requestId": request_id}
    )
    head = (
        f"content-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
        f"connection: close\r\nx-request-id: {request_id}\r\n\r\n"
    )
    return STATUS_LINE[status] + head.encode() + body
