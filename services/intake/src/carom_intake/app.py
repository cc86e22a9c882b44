"""Wires intake together. It is ready from its first contact to its drain: its own 503 says more than a proxy's."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import NamedTuple

import uvicorn
from starlette.routing import Route

from carom_common.adapters.amqp.declare import Topology
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.acts import Acts
from carom_common.adapters.store.attempts import Attempts
from carom_common.adapters.store.audit import AuditLog
from carom_common.adapters.store.backlog import Backlog
from carom_common.adapters.store.campaigns import Campaigns
from carom_common.adapters.store.control import ControlStore
from carom_common.adapters.store.idempotency import IdempotencyKeys
from carom_common.adapters.store.keys import KeyStore
from carom_common.adapters.store.queries import Queries
from carom_common.adapters.store.rates import RateStore
from carom_common.adapters.store.store import Store
from carom_common.adapters.store.stream import Streams
from carom_common.adapters.store.sweep import Sweep
from carom_common.admin import EmbeddedServer, Health, admin_server
from carom_common.control import Control
from carom_common.debug import Debug, Parts, connections
from carom_common.egress_settings import outbound_of
from carom_common.expiry import watch_certificates
from carom_common.runtime import background, listen, measure_lag, process_token, store_of, vault_of, watch
from carom_common.settings import broker_tls, rule_book, store_tls
from carom_common.signing import SigningKeys
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.tracing import Tracer
from carom_common.tracers import FLUSH_SECONDS, open_tracer
from carom_intake.accepting import Acceptor
from carom_intake.acting import PAY_SECONDS, Actor
from carom_intake.api import create_app
from carom_intake.audit import Auditor
from carom_intake.auth import Authenticate, Origins, by_keys, no_keys
from carom_intake.campaigns import RUN_SECONDS, Runner
from carom_intake.domain.addresses import parse_networks
from carom_intake.duties import lead
from carom_intake.explaining import Explainer
from carom_intake.hub import Hub
from carom_intake.keyring import KeyRing
from carom_intake.lanes import Lanes
from carom_intake.once import Once
from carom_intake.protocol import bounded
from carom_intake.quotas import Quotas
from carom_intake.rates import Rates
from carom_intake.reading import Limits
from carom_intake.routes.acts import ActRoutes
from carom_intake.routes.attempts import AttemptRoutes
from carom_intake.routes.audit import AuditRoutes
from carom_intake.routes.batch import BatchRoutes
from carom_intake.routes.contract import ContractRoutes
from carom_intake.routes.dead_letters import DeadLetterRoutes
from carom_intake.routes.destinations import DestinationRoutes
from carom_intake.routes.events import EventRoutes
from carom_intake.routes.jobs import JobRoutes
from carom_intake.routes.keys import KeyRoutes
from carom_intake.routes.lists import ListRoutes
from carom_intake.routes.pause import PauseRoutes
from carom_intake.routes.redrives import BulkRoutes
from carom_intake.routes.signing_keys import SigningKeyRoutes
from carom_intake.routes.stats import StatsRoutes
from carom_intake.settings import IntakeSettings, default_rate, oidc_of
from carom_intake.tenancy import Tenancy
from carom_intake.waiting import Waiting

SWEEP_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 100
"""Longer than proxies keep an idle connection (Traefik 90 s, nginx 60 s): who closes first while the other sends a POST
makes a 502 of it."""
FIRST_CONTACT_SECONDS = 5.0
"""How long a new replica is not ready while broker or store are not there yet: others may have them."""

log = get_logger()


class Wired(NamedTuple):
    """What intake consists of: its routes, the loops that run beside them, and who must know that it drains."""

    routes: list[Route]
    loops: list[Coroutine[None, None, None]]
    on_drain: list[Callable[[], None]]
    authenticate: Authenticate
    rates: Rates | None
    begin: Callable[[], Awaitable[None]]
    """What is to be done before the first request."""
    process: str
    parts: Parts
    """What it adds to `/debug/tasks`."""


def wire(settings: IntakeSettings, store: Store, publisher: Publisher, tracer: Tracer | None = None) -> Wired:
    """The one place where the parts of the API are put together."""
    limits = Limits(settings.max_body, settings.max_payload, settings.max_batch_body, outbound_of(settings))
    origins = Origins(parse_networks(settings.trusted_proxies))
    ring = KeyRing(
        Path(settings.keys_file) if settings.auth == "keys" and settings.keys_file else None,
        KeyStore(store.batcher),
    )
    oidc = oidc_of(settings)
    tenancy = Tenancy(settings.operator_tenant)
    audit_log = AuditLog(store.batcher)
    auditor = Auditor(audit_log, origins)
    quotas = Quotas(settings.tenant_jobs, settings.tenant_bytes)
    backlog = Backlog(store.batcher, store.tenants, settings.retention * 1000 if quotas.bytes else 0)
    control = ControlStore(store.batcher)
    looked = Control(control, rule_book(settings))
    metrics.backlog_limit.set(settings.max_backlog)
    metrics.pauses.set_function(lambda: len(looked.pauses.all))
    lanes = Lanes(looked)
    acceptor = Acceptor(store, publisher, lanes, backlog, settings.max_backlog, quotas, tracer)
    once = Once(IdempotencyKeys(store.batcher, settings.retention))
    token = process_token()
    queries = Queries(store.batcher)
    stats = StatsRoutes(store.batcher)
    sweep = Sweep(store.batcher)
    signing = SigningKeys(settings)
    acts = Acts(store.batcher, settings.retention, settings.dead_retention)
    actor = Actor(acts, publisher, lanes, store.tally, tracer)
    campaigns = Campaigns(store.batcher)
    runner = Runner(campaigns, queries, actor, auditor)
    streams = Streams(settings.redis_url.get_secret_value(), store_tls(settings))
    hub = Hub(streams, settings.max_streams)
    explainer = Explainer(store, control, rule_book(settings))

    async def begin() -> None:
        await asyncio.gather(ring.begin(), *([oidc.fetch()] if oidc else []))

    return Wired(
        routes=[  # asked one after the other: the busiest first
            *JobRoutes(store, acceptor, once, limits, Waiting(hub, store), looked, explainer).routes(),
            *ContractRoutes().routes(),
            *ListRoutes(queries, looked).routes(),
            *stats.routes(),
            *SigningKeyRoutes(signing).routes(),
            *EventRoutes(hub, streams, store, settings.stream_seconds).routes(),
            *BatchRoutes(acceptor, once, limits).routes(),
            *BulkRoutes(campaigns, queries, "cancel", "/api/jobs/cancel", auditor).routes(),
            *BulkRoutes(campaigns, queries, "redrive", "/api/dead-letters/redrive", auditor).routes(),
            *DeadLetterRoutes(store, queries, actor, auditor).routes(),
            *ActRoutes(actor).routes(),
            *DestinationRoutes(control, rule_book(settings), auditor).routes(),
            *PauseRoutes(control, auditor).routes(),
            *AttemptRoutes(Attempts(store.batcher)).routes(),
            *KeyRoutes(ring, tenancy, auditor).routes(),
            *AuditRoutes(audit_log, tenancy).routes(),
        ],
        loops=[
            lead(store.batcher, "sweep", token, sweep.run, SWEEP_SECONDS),
            lead(store.batcher, "owed", token, actor.pay_overdue, PAY_SECONDS),
            lead(store.batcher, "campaigns", token, runner.run, RUN_SECONDS),
            stats.keep_gauges(),
            backlog.watch(),
            hub.run(),
            looked.run(),
            ring.watch(),
            *([oidc.watch()] if oidc else []),
            signing.watch(),
        ],
        on_drain=[hub.close],
        authenticate=by_keys(ring, origins, oidc) if settings.auth == "keys" else no_keys,
        rates=Rates(RateStore(store.batcher), default_rate(settings)) if settings.auth == "keys" else None,
        begin=begin,
        process=token,
        parts={"streams": lambda: {"open": hub.listeners, "limit": settings.max_streams}},
    )


async def serve(settings: IntakeSettings, stop: asyncio.Event) -> None:
    """Serve the API until `stop` is set, then finish the requests under way."""
    url = settings.rabbitmq_url.get_secret_value()
    store = store_of(settings, vault_of(settings))
    tls = broker_tls(settings)
    topology = Topology(url, ours=settings.declare_topology, tls=tls)
    publisher = Publisher(url, "carom-intake", topology.declare, tls)
    health = Health({"broker": lambda: publisher.state, "store": lambda: store.state}, required=frozenset())
    if settings.auth == "off":
        log.warning("auth_off", reason="CAROM_AUTH is off: whoever reaches the API may do anything")
    api_socket = listen(settings.host, settings.port, "the API")
    admin_socket = listen(settings.host, settings.admin_port, "the admin port")
    tracer = open_tracer("intake", settings)
    wired = wire(settings, store, publisher, tracer)
    app = create_app(wired.routes, wired.authenticate, wired.rates, tracer)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        lifespan="off",
        http=bounded(settings.head_timeout, settings.body_timeout),
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.shutdown_timeout) or 1,
    )
    api = EmbeddedServer(config)

    async def connect() -> None:
        await topology.declare_when_up()
        await publisher.run()

    debug = Debug("intake", wired.process, settings, health, {**wired.parts, **connections(store, publisher)})
    admin = admin_server(health, settings.host, settings.admin_port, debug.report)
    health.starting = True
    async with background(
        admin.serve(sockets=[admin_socket]),
        connect(),
        watch(store, health),
        measure_lag(),
        watch_certificates(settings),
        *wired.loops,
    ):
        await wired.begin()
        await _first_contact(publisher, store)
        health.starting = False
        serving = asyncio.create_task(api.serve(sockets=[api_socket]))
        stopping = asyncio.create_task(stop.wait())
        log.info("intake_started", port=settings.port)
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        health.draining = True
        log.info("draining", timeout=settings.shutdown_timeout)
        for tell in wired.on_drain:
            tell()
        api.should_exit = True
        stopping.cancel()
        await serving
        log.info("intake_stopped")
    await store.close()
    if tracer is not None:
        await tracer.close(FLUSH_SECONDS)


async def _first_contact(publisher: Publisher, store: Store) -> None:
    """Until broker and store are there, or for a while."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_CONTACT_SECONDS):
            while not (publisher.available and store.state == "ok"):  # noqa: ASYNC110 (once a start, of two states)
                await asyncio.sleep(0.02)
