"""What travels through RabbitMQ. A message carries its whole job: it is the truth about work still to do.

Version 1. A consumer parks what it cannot decode and any version it does not know.
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

import msgspec
from msgspec import Raw, Struct

from carom_common.contracts.job import Job
from carom_common.contracts.sealing import CLEAR, Unsealable, Vault

VERSION = 1
DEFAULT_TENANT = "default"
CARRIED_RESPONSE_BYTES = 1024
"""How much of each earlier response a retry or callback message repeats; the last response goes in full."""


NULL = Raw(b"null")


class Timing(Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Where the time of a call went, in milliseconds. `connect` and `tls` are null on a reused connection."""

    wait: float = 0.0
    connect: float | None = None
    tls: float | None = None
    first_byte: float | None = None
    total: float = 0.0


class Detail(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What only the record keeps of an attempt: no message carries it."""

    timing: Timing = Timing()
    remote_address: str | None = None
    response_headers: dict[str, str] = {}


class Attempt(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One call and what came back: an entry of the seed's `attemptsLog`.

    `reason` is the bounded code of what went wrong: http-4xx, http-5xx, http-other, timeout, connect, dns, tls, ...

    `response` is JSON: the body itself, a string of text, or `{"base64", "contentType"}`; null where there was none.
    """

    attempt: int
    status_code: int | None
    success: bool
    timestamp: str
    response: Raw = NULL
    error: str | None = None
    truncated: bool = False
    duration_ms: int = 0
    reason: str = ""
    generation: int = 1
    detail: Detail | None = None


class ExecuteMessage(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Make attempt `attempt` of `job`, not before `eta` (Unix milliseconds). Routed by `execute.<priority>[.<ms>]`.

    `base` counts the attempts of earlier generations: retries are counted from there. `expires`: 0 for never.
    Where spans are made: `published`, since when it waits (Unix milliseconds), and `previous`, the traceparent of the
    attempt before.
    """

    version: int
    tenant: str
    job_id: str
    job: Job
    created_at: int
    generation: int = 1
    attempt: int = 1
    eta: int = 0
    attempts: tuple[Attempt, ...] = ()
    traceparent: str = ""
    base: int = 0
    expires: int = 0
    published: int = 0
    previous: str = ""

    @property
    def number(self) -> int:
        """Which attempt this is for."""
        return self.attempt


class CallbackMessage(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Deliver a result to where `job` calls back. Routed by `callback.normal[.<ms>]`.

    `event` `attempt` tells the outcome of the last of `attempts` of a job that goes on (status `waiting`) or is final.

    `attempts` ends with the deciding attempt, whose response is whole; it is empty when none was made.
    `dead`: the job is in the dead-letter queue too, so its record is kept as long as that.
    `published` and `previous` are as in an ExecuteMessage.
    """

    version: int
    tenant: str
    job_id: str
    job: Job
    created_at: int
    status: Literal["completed", "failed", "cancelled", "expired", "waiting"]
    completed_at: int
    error: str = ""
    reason: str = ""
    dead: bool = False
    generation: int = 1
    attempts: tuple[Attempt, ...] = ()
    callback_generation: int = 1
    callback_attempt: int = 1
    eta: int = 0
    traceparent: str = ""
    event: Literal["final", "attempt"] = "final"
    published: int = 0
    previous: str = ""

    @property
    def number(self) -> int:
        """Which attempt to call back this is for."""
        return self.callback_attempt


M = TypeVar("M", ExecuteMessage, CallbackMessage)


class _Versioned(Struct):
    version: int = 0


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
encode = msgspec.json.Encoder().encode
encode_attempt = encode
decode_attempt = msgspec.json.Decoder(Attempt).decode
_decode_execute = msgspec.json.Decoder(ExecuteMessage).decode
_decode_callback = msgspec.json.Decoder(CallbackMessage).decode
_decode_version = msgspec.json.Decoder(_Versioned).decode


class Undecodable(ValueError):
    """The body is no message of this version; the text says why. Such a message is parked."""


def body_of(message: ExecuteMessage | CallbackMessage, vault: Vault) -> bytes:
    """What is published: JSON, sealed where the vault has keys."""
    return vault.seal_message(message.job_id, encode(message))


def decode_execute(body: bytes, vault: Vault = CLEAR) -> ExecuteMessage:
    """Raise `Undecodable` for anything but a version 1 execute message, in clear or sealed with a known key."""
    named, body = _opened(body, vault)
    try:
        message = _decode_execute(body)
    except UNREADABLE as error:
        raise Undecodable(_why(body, error)) from error
    return _checked(message, named)


def decode_callback(body: bytes, vault: Vault = CLEAR) -> CallbackMessage:
    """Raise `Undecodable` for anything but a version 1 callback message, in clear or sealed with a known key."""
    named, body = _opened(body, vault)
    try:
        message = _decode_callback(body)
    except UNREADABLE as error:
        raise Undecodable(_why(body, error)) from error
    return _checked(message, named)


def _opened(body: bytes, vault: Vault) -> tuple[str | None, bytes]:
    try:
        return vault.open_message(body)
    except Unsealable as error:
        raise Undecodable(f"the body cannot be opened: {error}") from error


def _checked(message: M, named: str | None) -> M:
    if message.version != VERSION:
        raise Undecodable(f"unknown version {message.version}")
    if named is not None and named != message.job_id:
        raise Undecodable("the body was sealed for another job")
    return message


def _why(body: bytes, error: Exception) -> str:
    try:
        version = _decode_version(body).version
    except UNREADABLE:
        version = VERSION
    return str(error) if version == VERSION else f"unknown version {version}"


def without_detail(attempt: Attempt) -> Attempt:
    """The attempt as messages carry it."""
    return attempt if attempt.detail is None else msgspec.structs.replace(attempt, detail=None)


def carried(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """Attempts as messages carry them: the last response whole, those before it shortened."""
    return (*map(shortened, attempts[:-1]), *map(without_detail, attempts[-1:]))


def shortened(attempt: Attempt) -> Attempt:
    """The attempt with at most `CARRIED_RESPONSE_BYTES` of its response, cut responses kept as text."""
    attempt = without_detail(attempt)
    response = attempt.response
    if len(memoryview(response)) <= CARRIED_RESPONSE_BYTES:
        return attempt
    text = bytes(response)[:CARRIED_RESPONSE_BYTES].decode("utf-8", "ignore")
    return msgspec.structs.replace(attempt, response=Raw(encode(text)), truncated=True)
