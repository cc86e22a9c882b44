"""Wires the callback service together; the order of starting and stopping is the executor's, for the same reasons."""

import asyncio

from carom_callback.settings import CallbackSettings
from carom_callback.signature import signing_key
from carom_callback.subscribers import CallbackSteps, place
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.egress.client import EgressClient
from carom_common.adapters.egress.transport import GuardedTransport
from carom_common.adapters.store.store import Store
from carom_common.consuming import Limits, consume_until
from carom_common.domain.address_policy import AddressPolicy
from carom_common.topology import CALLBACK_QUEUE, CRASHED_CALLBACK_QUEUE

WEIGHTS = {CALLBACK_QUEUE: 8, CRASHED_CALLBACK_QUEUE: 1}


async def serve(settings: CallbackSettings, stop: asyncio.Event) -> None:
    """Deliver callbacks until `stop` is set, then drain."""
    secret = settings.callback_secret
    policy = AddressPolicy.parse(settings.egress_allow, settings.egress_deny)
    egress = EgressClient(GuardedTransport(policy), max_response_bytes=settings.max_response)

    def steps(store: Store, publisher: Publisher) -> CallbackSteps:
        key = signing_key(secret.get_secret_value()) if secret else None
        return CallbackSteps(
            store.callbacks, publisher, egress, settings.callback_timeout, settings.callback_delays, key
        )

    limits = Limits(WEIGHTS, settings.callback_concurrency, settings.callback_max_held, CRASHED_CALLBACK_QUEUE, False)
    await consume_until(stop, "callback", settings, steps, limits, place)
    await egress.close()
