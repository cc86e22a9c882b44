"""A message on its way to the broker, with the span that says so where spans are made."""

from typing import TypeVar

from carom_common.adapters.amqp.errors import BrokerError
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.contracts.message import CallbackMessage, ExecuteMessage, body_of
from carom_common.contracts.sealing import Vault
from carom_common.telemetry.tracing import Tracer

M = TypeVar("M", ExecuteMessage, CallbackMessage)


async def send(
    publisher: Publisher, exchange: str, routing_key: str, message: M, vault: Vault, tracer: Tracer | None
) -> None:
    """Returns once the broker has confirmed the message; raises BrokerError."""
    if tracer is None:
        await publisher.publish(exchange, routing_key, body_of(message, vault))
        return
    sending = tracer.sending(message)
    try:
        message_id = await publisher.publish(exchange, routing_key, body_of(sending.message, vault))
    except BrokerError as error:
        sending.end(exchange, routing_key, "", type(error).__name__)
        raise
    sending.end(exchange, routing_key, message_id)
