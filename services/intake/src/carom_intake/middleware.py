"""Round every request: its span, its id, and a log line for what nobody expected."""

import os
import re

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.trace import traceparent_from
from carom_common.telemetry.tracing import RequestTrace, Tracer

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")

log = get_logger()


class RequestIds:
    """Takes `X-Request-Id` or makes one, and puts it into the scope, the answer and every problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex().encode()
        scope["request_id"] = request_id.decode("ascii")

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            metrics.defects.labels("request").inc()
            log.exception("request_failed", request_id=scope["request_id"], path=scope["path"])
            raise  # carom_intake.api has answered it


class RequestSpans:
    """A span for every request. Not there at all where no spans are made."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        trace = scope["trace"] = self._tracer.request(given.decode("latin-1"))
        status = 0

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            route = getattr(scope.get("route"), "path", "")
            trace.end(scope["method"], scope["scheme"], scope["path"], route, status)


def traceparent_of(request: Request) -> str:
    """What the messages of a request go on from: its span, or the client's where no spans are made."""
    trace: RequestTrace | None = request.scope.get("trace")
    return traceparent_from(request.headers.get("traceparent")) if trace is None else trace.context
