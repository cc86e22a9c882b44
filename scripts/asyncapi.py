"""The AsyncAPI 3.0 document of the messages in RabbitMQ, from the contracts and the topology."""

import inspect
from typing import Any

import msgspec
import yaml

from carom_common import __version__
from carom_common.contracts import job as jobs
from carom_common.contracts import message as messages
from carom_common.domain.buckets import BUCKETS
from carom_common.topology import CRASHED_QUEUES, DEAD_QUEUES, PARKED_QUEUE, QUEUES, Queue, delay_queue

HEAD = """# The messages between the services, as AsyncAPI 3.0. Written by `make docs` from carom_common/contracts and
# carom_common/topology.py; do not edit.
"""
REF = "#/components/schemas/{name}"
DELAYS = {delay_queue(bucket).name for bucket in BUCKETS}


# The contract has raw JSON in places, whose default no schema can show: the same structs with any JSON there.
class Job(jobs.Job, kw_only=True, frozen=True):
    payload: Any = None


class Attempt(messages.Attempt, kw_only=True, frozen=True):
    response: Any = None


class ExecuteMessage(messages.ExecuteMessage, kw_only=True, frozen=True):
    job: Job
    attempts: tuple[Attempt, ...] = ()


class CallbackMessage(messages.CallbackMessage, kw_only=True, frozen=True):
    job: Job
    attempts: tuple[Attempt, ...] = ()


ORIGINALS = {
    kind.__name__: kind for kind in (jobs.Job, messages.Attempt, messages.ExecuteMessage, messages.CallbackMessage)
}


def asyncapi_page() -> str:
    """The document as YAML."""
    return HEAD + yaml.dump(document(), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def document() -> dict[str, Any]:
    kept = [queue for queue in QUEUES if queue.name not in DELAYS]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Carom's messages",
            "version": __version__,
            "description": "Work between the services. Every message is persistent, published with `mandatory` and "
            "confirmed. Nobody else need read them; the API and the callbacks are for clients. With encryption keys "
            "a body is `application/octet-stream`: the byte 1, the job's id behind its length, and the JSON sealed.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_name(queue): _channel(queue) for queue in kept} | {"carom_delay": _delay()},
        "operations": _operations(),
        "components": {
            "messages": {
                "execute": _message("Make an attempt of a job.", "ExecuteMessage"),
                "callback": _message("Deliver a result, or the outcome of an attempt.", "CallbackMessage"),
                "parked": {
                    "summary": "What a service could not decode, or must not take, as it came.",
                    "contentType": "application/octet-stream",
                    "payload": {},
                },
            },
            "schemas": _schemas(),
        },
    }


def _schemas() -> dict[str, Any]:
    _, found = msgspec.json.schema_components([ExecuteMessage, CallbackMessage], ref_template=REF)
    for name, schema in found.items():
        original = ORIGINALS.get(name)
        text = original.__doc__ if original else schema.get("description")
        schema["description"] = inspect.cleandoc(text or "")
    return dict(sorted(found.items()))


def _message(summary: str, schema: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{schema}"},
        "bindings": {"amqp": {"messageType": schema, "bindingVersion": "0.3.0"}},
    }


def _name(queue: Queue) -> str:
    return queue.name.replace(".", "_")


def _kinds(queue: Queue) -> tuple[str, ...]:
    if queue.name == PARKED_QUEUE:
        return ("parked",)
    return ("callback",) if "callback" in queue.name else ("execute",)


def _channel(queue: Queue) -> dict[str, Any]:
    arguments = "".join(f"\n- `{name}`: `{value}`" for name, value in sorted(queue.arguments.items()))
    return {
        "address": queue.name,
        "description": f"Bound to the exchange `{queue.exchange}` by `{queue.binding}`."
        + (f" Arguments:\n{arguments}" if arguments else ""),
        "messages": _references(_kinds(queue)),
        "bindings": {"amqp": _queue_binding(queue.name)},
    }


def _delay() -> dict[str, Any]:
    return {
        "address": "carom.delay.{ms}",
        "description": "Messages that wait: when the TTL of the queue, `ms`, ends they go back to the exchange "
        "`carom.work`. Bound to `carom.delay` by `*.*.<ms>`.",
        "parameters": {"ms": {"description": "Milliseconds.", "enum": [str(bucket) for bucket in BUCKETS]}},
        "messages": _references(("execute", "callback")),
    }


def _queue_binding(name: str) -> dict[str, Any]:
    queue = {"name": name, "durable": True, "exclusive": False, "autoDelete": False, "vhost": "/"}
    return {"is": "queue", "queue": queue, "bindingVersion": "0.3.0"}


def _references(kinds: tuple[str, ...]) -> dict[str, Any]:
    return {kind: {"$ref": f"#/components/messages/{kind}"} for kind in kinds}


def _operations() -> dict[str, Any]:
    """Who sends to a queue, and who receives from it."""
    found: dict[str, Any] = {}
    kept = {queue.name for queue in QUEUES if queue.name in {*DEAD_QUEUES.values(), PARKED_QUEUE}}
    for queue in QUEUES:
        if queue.name in DELAYS:
            continue
        (kind,) = _kinds(queue)
        channel = f"#/channels/{_name(queue)}"
        consumer = "callback" if kind == "callback" else "executor"
        if queue.name not in kept:
            found[f"{consumer}_receives_{_name(queue)}"] = _operation("receive", channel, kind)
        if queue.name in CRASHED_QUEUES:
            continue  # the broker fills them
        for sender in _senders(queue.name, kind):
            found[f"{sender}_sends_{_name(queue)}"] = _operation("send", channel, kind)
    return found


def _senders(name: str, kind: str) -> tuple[str, ...]:
    if name == PARKED_QUEUE:
        return ("executor", "callback")
    if name in DEAD_QUEUES.values():
        return ("callback",) if kind == "callback" else ("executor",)
    return ("intake", "executor", "callback") if kind == "callback" else ("intake", "executor")


def _operation(action: str, channel: str, kind: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": channel}, "messages": [{"$ref": f"{channel}/messages/{kind}"}]}


class _Dumper(yaml.SafeDumper):
    """Without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
