"""The admin port: `/livez`, `/readyz`, `/metrics`, and `/debug/tasks` from within. No ingress reaches it."""

import contextlib
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from carom_common.telemetry import metrics

Report = Callable[[], Awaitable[dict[str, Any]]]

_FORWARDED = ("forwarded", "via", "x-forwarded-", "x-envoy-", "x-real-ip")
_ONLY_WITHIN = "only from within the pod: kubectl port-forward, see docs/operations/diagnosis.md\n"

STALL_SECONDS = 20.0
"""How long a loop may go without progress before `/livez` fails and the kubelet restarts the pod."""


class Health:
    """What the probes say. Loops call `beat()`; `checks` say what is connected ("ok" or what is wrong)."""

    def __init__(self, checks: Mapping[str, Callable[[], str]], required: frozenset[str]) -> None:
        self.checks = checks
        self.required = required
        self.starting = False
        """Whether it is too early to be sent anything."""
        self.draining = False
        self._beats: dict[str, float] = {}
        metrics.draining.set_function(lambda: self.draining)

    def beat(self, loop: str) -> None:
        self._beats[loop] = time.monotonic()
        metrics.loop_progress.labels(loop).set(time.time())

    def ages(self) -> dict[str, float]:
        """Seconds since the last beat of each loop."""
        now = time.monotonic()
        return {loop: now - beat for loop, beat in self._beats.items()}

    def stalled(self) -> list[str]:
        oldest = time.monotonic() - STALL_SECONDS
        return [loop for loop, beat in self._beats.items() if beat < oldest]

    def state(self) -> dict[str, str]:
        state = {name: check() for name, check in self.checks.items()}
        return {**state, "draining": "yes" if self.draining else "no"}

    def ready(self) -> bool:
        return not self.starting and not self.draining and all(self.checks[name]() == "ok" for name in self.required)


class EmbeddedServer(uvicorn.Server):
    """A uvicorn server inside a process that handles signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def from_within(request: Request) -> bool:
    """Whether a request was made to a loopback address, from one, under its name, and by nobody in between.

    So comes what is run in the pod, and `kubectl port-forward`, which ask the API server for the right to it. Network
    peers do not, nor what a sidecar hands on, nor a page of a browser that renamed itself to this address.
    """
    client, server = request.client, request.scope.get("server")
    if client is None or server is None or not _is_loopback(client.host) or not _is_loopback(str(server[0])):
        return False
    host = request.headers.get("host", "").rsplit(":", 1)[0].strip("[]")
    if host != "localhost" and not _is_loopback(host):
        return False
    return not any(name.startswith(_FORWARDED) for name in request.headers)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def admin_app(health: Health, report: Report | None = None, registry: CollectorRegistry = REGISTRY) -> Starlette:
    """`report` is what `/debug/tasks` shows."""

    async def livez(_: Request) -> Response:
        stalled = health.stalled()
        return PlainTextResponse(f"stalled: {', '.join(stalled)}\n" if stalled else "ok\n", 503 if stalled else 200)

    async def readyz(request: Request) -> Response:
        status = 200 if health.ready() else 503
        if "verbose" in request.query_params:
            return JSONResponse({"ready": status == 200, **health.state()}, status)
        return PlainTextResponse("ok\n" if status == 200 else "not ready\n", status)

    async def exposition(request: Request) -> Response:
        if "application/openmetrics-text" in request.headers.get("accept", ""):  # with exemplars, which text has not
            text = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
            return Response(text, media_type=openmetrics.CONTENT_TYPE_LATEST)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def debug_tasks(request: Request) -> Response:
        if not from_within(request):
            return PlainTextResponse(_ONLY_WITHIN, 403)
        assert report is not None
        return JSONResponse(await report(), headers={"Cache-Control": "no-store"})

    routes = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", exposition)]
    return Starlette(routes=[*routes, Route("/debug/tasks", debug_tasks)] if report is not None else routes)


def admin_server(health: Health, host: str, port: int, report: Report) -> EmbeddedServer:
    config = uvicorn.Config(
        admin_app(health, report),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,  # or a header says where a request comes from
    )
    return EmbeddedServer(config)
