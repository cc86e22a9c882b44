"""Wires intake together. It is ready from start to drain: its own 503 says more than a proxy's."""

import asyncio
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from carom_common.adapters.amqp.declare import Topology
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.store import Store
from carom_common.admin import EmbeddedServer, Health, admin_server
from carom_common.runtime import background, listen, watch
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_intake.auth import Authenticate, by_keys, no_keys
from carom_intake.keyring import KeyRing
from carom_intake.middleware import RequestIds
from carom_intake.problems import HttpProblem, problem_response
from carom_intake.routes import JobRoutes, Limits
from carom_intake.settings import IntakeSettings

log = get_logger()


def create_app(store: Store, publisher: Publisher, limits: Limits, authenticate: Authenticate) -> ASGIApp:
    """The API as an ASGI application."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, HttpProblem)
        if request.method == "POST":
            metrics.submissions_refused.labels(str(error.status)).inc()
        request_id = request.scope["request_id"]
        log.info("request_refused", request_id=request_id, path=request.url.path, status=error.status)
        return problem_response(error, request)

    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        allowed = (error.headers or {}).get("Allow", "")
        detail = (
            f"{request.method} is not allowed here; allowed: {allowed}" if allowed else "there is nothing at this path"
        )
        return await on_problem(request, HttpProblem(error.status_code, detail, headers=error.headers))

    routes = JobRoutes(store, publisher, limits).routes()
    handlers = {HttpProblem: on_problem, HTTPException: on_http_exception}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    app.state.authenticate = authenticate
    return RequestIds(app)


async def serve(settings: IntakeSettings, stop: asyncio.Event) -> None:
    """Serve the API until `stop` is set, then finish the requests under way."""
    url = settings.rabbitmq_url.get_secret_value()
    store = Store(settings.redis_url.get_secret_value(), settings.retention, settings.dead_retention)
    topology = Topology(url, ours=settings.declare_topology)
    publisher = Publisher(url, "carom-intake", topology.declare)
    health = Health({"broker": lambda: publisher.state, "store": lambda: store.state}, required=frozenset())
    ring = KeyRing(Path(settings.keys_file)) if settings.auth == "keys" else None
    if ring is None:
        log.warning("auth_off", reason="CAROM_AUTH is off: whoever reaches the API may do anything")
    authenticate = by_keys(ring) if ring else no_keys
    app = create_app(store, publisher, Limits(settings.max_body, settings.max_payload), authenticate)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        lifespan="off",
        http="httptools",
        backlog=4096,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.shutdown_timeout) or 1,
    )
    api = EmbeddedServer(config)

    async def connect() -> None:
        await topology.declare_when_up()
        await publisher.run()

    admin = admin_server(health, settings.host, settings.admin_port)
    api_socket, admin_socket = listen(api, "the API"), listen(admin, "the admin port")
    async with background(
        admin.serve(sockets=[admin_socket]),
        connect(),
        watch(store, health),
        *([ring.watch()] if ring else []),
    ):
        serving = asyncio.create_task(api.serve(sockets=[api_socket]))
        stopping = asyncio.create_task(stop.wait())
        log.info("intake_started", port=settings.port)
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        health.draining = True
        log.info("draining", timeout=settings.shutdown_timeout)
        api.should_exit = True
        stopping.cancel()
        await serving
        log.info("intake_stopped")
    await store.close()
