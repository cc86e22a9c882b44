"""Before the routes: who calls, and whether they call too often. 401 and 403 are for the routes to say."""

import math

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carom_common.telemetry import metrics
from carom_intake.auth import AUTHENTICATED, Authenticate
from carom_intake.problems import HttpProblem, problem_response
from carom_intake.rates import Rates


class Admission:
    """Finds the caller of a request that brings an `Authorization`, and takes a token of its bucket."""

    def __init__(self, app: ASGIApp, authenticate: Authenticate, rates: Rates) -> None:
        self._app = app
        self._authenticate = authenticate
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not any(name == b"authorization" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        try:
            caller = self._authenticate(scope)
        except HttpProblem as problem:
            scope[AUTHENTICATED] = problem
            await self._app(scope, receive, send)
            return
        scope[AUTHENTICATED] = caller
        bucket = self._rates.of(caller.key_id, caller.rate)
        if bucket is None:
            await self._app(scope, receive, send)
            return
        standing = await bucket.take()
        if standing.wait:
            metrics.rate_limited.inc()
            wait = max(1, math.ceil(standing.wait))
            detail = f"this key may make {standing.rate:g} requests a second, {standing.burst} at once; try again"
            told = {name.decode(): value.decode() for name, value in standing.fields}
            headers = {"Retry-After": str(wait), **told}
            refusal = HttpProblem(429, detail, headers=headers, reason="rate-limited")
            await problem_response(refusal, Request(scope))(scope, receive, send)
            return

        async def send_with_standing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *standing.fields]
            await send(message)

        await self._app(scope, receive, send_with_standing)
