"""Wires the executor together."""

import asyncio

from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.egress.build import egress_client
from carom_common.adapters.store.store import Store
from carom_common.consuming import Limits, consume_until
from carom_common.egress_settings import outbound_of
from carom_common.signing import SigningKeys
from carom_common.topology import CRASHED_EXECUTE_QUEUE, EXECUTE_QUEUES, HELD_EXECUTE_QUEUE
from carom_common.tracers import FLUSH_SECONDS, open_tracer
from carom_executor.settings import ExecutorSettings
from carom_executor.subscribers import ExecuteSteps, place

WEIGHTS = {
    EXECUTE_QUEUES["high"]: 8,
    EXECUTE_QUEUES["normal"]: 3,
    EXECUTE_QUEUES["low"]: 1,
    HELD_EXECUTE_QUEUE: 3,
    CRASHED_EXECUTE_QUEUE: 1,
}


async def serve(settings: ExecutorSettings, stop: asyncio.Event) -> None:
    """Execute jobs until `stop` is set, then drain."""
    keys = SigningKeys(settings)
    outbound = outbound_of(settings)
    egress = egress_client(settings, outbound)

    tracer = open_tracer("executor", settings)

    def steps(store: Store, publisher: Publisher) -> ExecuteSteps:
        return ExecuteSteps(store.executions, publisher, egress, keys.signer, store.vault, outbound.rules, tracer)

    limits = Limits(WEIGHTS, settings.executor_concurrency, settings.executor_max_held, CRASHED_EXECUTE_QUEUE, True)
    await consume_until(stop, "executor", settings, steps, limits, place, keys.watch)
    await egress.close()
    if tracer is not None:
        await tracer.close(FLUSH_SECONDS)
