"""A service that consumes, wired together.

Start: topology, publisher, then consumer. Stop in reverse: consume no more, finish what runs, then let go of the
publisher and the store, which running work needs until its last ack.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from carom_common.adapters.amqp.consumer import Consumer, Delivery
from carom_common.adapters.amqp.declare import Topology
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.adapters.store.control import ControlStore
from carom_common.adapters.store.inventory import Inventory
from carom_common.adapters.store.store import Store
from carom_common.admin import Health, admin_server
from carom_common.control import Control
from carom_common.debug import Debug, connections
from carom_common.expiry import watch_certificates
from carom_common.gate import Gate
from carom_common.in_hand import deliveries, destinations, jobs
from carom_common.passes import Place
from carom_common.runtime import background, listen, measure_lag, process_token, store_of, vault_of, watch
from carom_common.settings import Settings, broker_tls, rule_book
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.work import M, Steps, Work
from carom_common.workloop import WorkLoop

CRASHED_PREFETCH = 8
BARRIER_RETRY_SECONDS = 0.5

log = get_logger()


class Limits(NamedTuple):
    """Queues with the weight of their turns, and how much one process takes from each of them.

    `limited`: limits of destinations and pauses hold here, not only open circuits.
    """

    weights: Mapping[str, int]
    concurrency: int
    max_held: int
    crashed_queue: str
    limited: bool


async def consume_until(
    stop: asyncio.Event,
    name: str,
    settings: Settings,
    make_steps: Callable[[Store, Publisher], Steps[M]],
    limits: Limits,
    place: Callable[[M], Place],
    *loops: Callable[[], Awaitable[None]],
) -> None:
    """Consume until `stop` is set, then drain within the shutdown timeout. `loops` run beside that."""
    url = settings.rabbitmq_url.get_secret_value()
    store = store_of(settings, vault_of(settings))
    tls = broker_tls(settings)
    topology = Topology(url, ours=settings.declare_topology, tls=tls)
    publisher = Publisher(url, f"carom-{name}", topology.declare, tls)
    steps = make_steps(store, publisher)
    give_back_after = settings.consumer_timeout / 4
    process = process_token()
    control = Control(ControlStore(store.batcher, process), rule_book(settings))
    gate: Gate[Work[M]] = Gate(control, limits.concurrency, lambda work: place(work.message), limited=limits.limited)
    work = WorkLoop(steps, process, limits.weights, limits.concurrency, limits.max_held, give_back_after, gate)
    # Twice the slots: as many may wait for their destination.
    prefetch = dict.fromkeys(limits.weights, 2 * limits.concurrency + limits.max_held)
    prefetch[limits.crashed_queue] = CRASHED_PREFETCH
    consumer = Consumer(url, f"carom-{name}", prefetch, work.on_delivery, topology.declare, tls)
    checks = {
        "broker": lambda: publisher.state,
        "consumer": lambda: "ok" if consumer.consuming else "not consuming",
        "store": lambda: store.state,
    }
    health = Health(checks, required=frozenset({"broker", "consumer"}))
    metrics.consumer_up.set_function(lambda: consumer.consuming)
    metrics.consumer_paused.set_function(lambda: consumer.paused)

    def on_pause(paused: bool) -> None:
        consumer.paused = paused and limits.limited
        if consumer.paused:
            log.info("consumer_paused")
        elif limits.limited:
            log.info("consumer_resumed")

    control.on_all_paused = on_pause
    inventory = Inventory(store.batcher)

    async def on_asked(question: str) -> None:
        await inventory.tell(question, name, process, jobs(work, gate))

    async def on_barrier(delivery: Delivery) -> None:
        while delivery.alive:
            try:
                await inventory.came_through(delivery.message_id)
            except StoreUnavailable:
                await asyncio.sleep(BARRIER_RETRY_SECONDS)
            else:
                delivery.ack()
                return

    control.on_asked, work.on_barrier = on_asked, on_barrier

    async def consume() -> None:
        await topology.declare_when_up()
        log.info("consumer_started", concurrency=limits.concurrency)
        await consumer.run()

    parts = {
        "deliveries": lambda: deliveries(work, gate),
        "destinations": lambda: destinations(gate),
        **connections(store, publisher),
    }
    debug = Debug(name, process, settings, health, parts)
    admin = admin_server(health, settings.host, settings.admin_port, debug.report)
    async with background(
        admin.serve(sockets=[listen(settings.host, settings.admin_port, "the admin port")]),
        publisher.run(),
        watch(store, health),
        measure_lag(),
        watch_certificates(settings),
        work.keep_leases(lambda: health.beat("leases")),
        work.look_for_room(),
        control.run(),
        gate.run(),
        consume(),
        *(loop() for loop in loops),
    ):
        await stop.wait()
        health.draining = True
        log.info("draining", timeout=settings.shutdown_timeout)
        await consumer.drain()
        handed_back = await work.drain(settings.shutdown_timeout)
        await gate.close()
        await consumer.close()
        log.info("consumer_stopped", handed_back=handed_back)
    await store.close()
