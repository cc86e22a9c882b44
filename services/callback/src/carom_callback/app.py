"""Wires the callback service together; the order of starting and stopping is the executor's, for the same reasons."""

import asyncio

from carom_callback.settings import CallbackSettings
from carom_callback.subscribers import CallbackSteps, place
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.egress.build import egress_client
from carom_common.adapters.store.store import Store
from carom_common.consuming import Limits, consume_until
from carom_common.egress_settings import outbound_of
from carom_common.signing import SigningKeys
from carom_common.topology import CALLBACK_QUEUE, CRASHED_CALLBACK_QUEUE
from carom_common.tracers import FLUSH_SECONDS, open_tracer

WEIGHTS = {CALLBACK_QUEUE: 8, CRASHED_CALLBACK_QUEUE: 1}


async def serve(settings: CallbackSettings, stop: asyncio.Event) -> None:
    """Deliver callbacks until `stop` is set, then drain."""
    keys = SigningKeys(settings)
    outbound = outbound_of(settings)
    egress = egress_client(settings, outbound)

    tracer = open_tracer("callback", settings)

    def steps(store: Store, publisher: Publisher) -> CallbackSteps:
        return CallbackSteps(
            store.callbacks,
            publisher,
            egress,
            settings.callback_timeout,
            settings.callback_delays,
            keys.signer,
            store.vault,
            outbound.rules,
            tracer,
        )

    limits = Limits(WEIGHTS, settings.callback_concurrency, settings.callback_max_held, CRASHED_CALLBACK_QUEUE, False)
    await consume_until(stop, "callback", settings, steps, limits, place, keys.watch)
    await egress.close()
    if tracer is not None:
        await tracer.close(FLUSH_SECONDS)
