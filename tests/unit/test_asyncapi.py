"""The document of the messages: every queue, no loose reference, and schemas that real messages fit."""

from typing import Any

import jsonschema
import msgspec

from asyncapi import document
from carom_common.contracts.job import decode_job
from carom_common.contracts.message import Attempt, CallbackMessage, ExecuteMessage, encode
from carom_common.domain.buckets import BUCKETS
from carom_common.topology import QUEUES

DOCUMENT = document()
JOB = decode_job(b'{"targetUrl":"http://a.example/","callbackUrl":null,"payload":{"a":[1]},"labels":{"a":"b"}}')
ATTEMPT = Attempt(1, 500, False, "2026-01-31T09:30:00.000Z", msgspec.Raw(b'{"ok":false}'), reason="http-5xx")


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list | tuple) else set()


def test_every_queue_has_its_channel() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    delays = {f"carom.delay.{ms}" for ms in BUCKETS}
    assert addresses == {queue.name for queue in QUEUES} - delays | {"carom.delay.{ms}"}


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_messages_are_as_described() -> None:
    execute = ExecuteMessage(1, "default", "id", JOB, 1, attempt=2, attempts=(ATTEMPT,), expires=5)
    callback = CallbackMessage(1, "default", "id", JOB, 1, "failed", 2, attempts=(ATTEMPT,), dead=True)
    for message in (execute, callback):
        schema = {"$ref": f"#/components/schemas/{type(message).__name__}", "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(schema).validate(msgspec.json.decode(encode(message)))
