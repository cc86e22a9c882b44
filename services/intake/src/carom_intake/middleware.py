"""Round every request: its id, and a log line for what nobody expected."""

import re
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger

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
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode()
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
