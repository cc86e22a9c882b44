"""The admin port: `/livez`, `/readyz`, `/metrics`. No ingress reaches it."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from carom_common.telemetry import metrics

STALL_SECONDS = 20.0
"""How long a loop may go without progress before `/livez` fails and the kubelet restarts the pod."""


class Health:
    """What the probes say. Loops call `beat()`; `checks` say what is connected ("ok" or what is wrong)."""

    def __init__(self, checks: Mapping[str, Callable[[], str]], required: frozenset[str]) -> None:
        self.checks = checks
        self.required = required
        self.draining = False
        self._beats: dict[str, float] = {}
        metrics.draining.set_function(lambda: self.draining)

    def beat(self, loop: str) -> None:
        self._beats[loop] = time.monotonic()
        metrics.loop_progress.labels(loop).set(time.time())

    def stalled(self) -> list[str]:
        oldest = time.monotonic() - STALL_SECONDS
        return [loop for loop, beat in self._beats.items() if beat < oldest]

    def state(self) -> dict[str, str]:
        state = {name: check() for name, check in self.checks.items()}
        return {**state, "draining": "yes" if self.draining else "no"}

    def ready(self) -> bool:
        return not self.draining and all(self.checks[name]() == "ok" for name in self.required)


class EmbeddedServer(uvicorn.Server):
    """A uvicorn server inside a process that handles signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def admin_app(health: Health, registry: CollectorRegistry = REGISTRY) -> Starlette:
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

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", exposition)])


def admin_server(health: Health, host: str, port: int) -> EmbeddedServer:
    config = uvicorn.Config(admin_app(health), host=host, port=port, log_config=None, access_log=False, lifespan="off")
    return EmbeddedServer(config)
