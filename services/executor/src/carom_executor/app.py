"""Wires the executor together."""

import asyncio

from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.egress.client import EgressClient
from carom_common.adapters.egress.transport import GuardedTransport
from carom_common.adapters.store.store import Store
from carom_common.consuming import Limits, consume_until
from carom_common.domain.address_policy import AddressPolicy
from carom_common.topology import CRASHED_EXECUTE_QUEUE, EXECUTE_QUEUES, HELD_EXECUTE_QUEUE
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
    policy = AddressPolicy.parse(settings.egress_allow, settings.egress_deny)
    egress = EgressClient(GuardedTransport(policy), max_response_bytes=settings.max_response)

    def steps(store: Store, publisher: Publisher) -> ExecuteSteps:
        return ExecuteSteps(store.executions, publisher, egress)

    limits = Limits(WEIGHTS, settings.executor_concurrency, settings.executor_max_held, CRASHED_EXECUTE_QUEUE, True)
    await consume_until(stop, "executor", settings, steps, limits, place)
    await egress.close()
