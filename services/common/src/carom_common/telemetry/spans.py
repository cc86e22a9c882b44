"""What a span says: names and attributes as in OpenTelemetry's semantic conventions 1.43, and Carom's own. Pure.

A span never has a header's value, a payload, the query or the userinfo of a URL, or the text of an error.
The attributes of messaging are not stable yet; a test compares them with the conventions' package.
docs/reference/traces.md lists all of them.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from carom_common.contracts.message import CallbackMessage, ExecuteMessage

Kind = Literal["server", "client", "producer", "consumer", "internal"]
Value = str | int | bool
Attributes = dict[str, Value]

ERROR_TYPE: Final = "error.type"
METHOD: Final = "http.request.method"
RESEND_COUNT: Final = "http.request.resend_count"
STATUS_CODE: Final = "http.response.status_code"
ROUTE: Final = "http.route"
PEER_ADDRESS: Final = "network.peer.address"
PEER_PORT: Final = "network.peer.port"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
URL_FULL: Final = "url.full"
URL_PATH: Final = "url.path"
URL_SCHEME: Final = "url.scheme"

SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
ROUTING_KEY: Final = "messaging.rabbitmq.destination.routing_key"
MESSAGE_ID: Final = "messaging.message.id"
CONVERSATION_ID: Final = "messaging.message.conversation_id"
BODY_SIZE: Final = "messaging.message.body.size"

JOB_ID: Final = "carom.job.id"
TENANT: Final = "carom.tenant"
GENERATION: Final = "carom.generation"
ATTEMPT: Final = "carom.attempt"
OUTCOME: Final = "carom.outcome"
RETRY_DELAY: Final = "carom.retry.delay_ms"
WAIT_DELAY: Final = "carom.wait.delay_ms"
WAIT_QUEUE: Final = "carom.wait.queue_ms"
LINK: Final = "carom.link"

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"})


class Event(NamedTuple):
    """Something that happened within a span, at a time in Unix nanoseconds."""

    name: str
    at: int


class Link(NamedTuple):
    """Another span, by its traceparent, and what it is to this one."""

    to: str
    what: Literal["previous-attempt", "message"]


class Span(NamedTuple):
    """A finished span. `context` and `parent` (empty: a root) are traceparents; times are Unix nanoseconds."""

    name: str
    kind: Kind
    context: str
    parent: str
    start: int
    end: int
    attributes: Mapping[str, Value]
    failed: bool = False
    events: Sequence[Event] = ()
    links: Sequence[Link] = ()


Message = ExecuteMessage | CallbackMessage


def resends(message: Message) -> int:
    """How often the same was sent before."""
    return message.number - 1


@lru_cache(maxsize=1024)
def shown_url(url: str) -> str:
    """A URL without its userinfo, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


_PORTS: Final = {"http": 80, "https": 443, "amqp": 5672, "amqps": 5671}


@lru_cache(maxsize=1024)
def server_of(url: str) -> tuple[str, int]:
    """Host and port that a URL calls."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)


def broker_attributes(url: str) -> Attributes:
    """Which broker a message goes to or comes from."""
    host, port = server_of(url)
    return {SERVER_ADDRESS: host, SERVER_PORT: port}


def server_attributes(method: str, scheme: str, path: str, route: str, status: int) -> Attributes:
    """Of a request to the API; `status` 0: it was broken off before an answer."""
    attributes: Attributes = {METHOD: known_method(method), URL_SCHEME: scheme, URL_PATH: path}
    if route:
        attributes[ROUTE] = route
    if status:
        attributes[STATUS_CODE] = status
    if status >= 500 or not status:
        attributes[ERROR_TYPE] = str(status or "aborted")
    return attributes


def known_method(method: str) -> str:
    return method if method in _METHODS else "_OTHER"


def client_attributes(
    method: str, url: str, status: int | None, error: str, peer: str | None, resends: int
) -> Attributes:
    """Of a call to a target or receiver; `error` is the bounded reason, empty where it went well."""
    host, port = server_of(url)
    attributes: Attributes = {METHOD: method, URL_FULL: shown_url(url), SERVER_ADDRESS: host, SERVER_PORT: port}
    if status is not None:
        attributes[STATUS_CODE] = status
    if error:
        attributes[ERROR_TYPE] = str(status) if status is not None else error
    if resends:
        attributes[RESEND_COUNT] = resends
    if peer:
        address, _, peer_port = peer.rpartition(":")
        attributes[PEER_ADDRESS] = address.strip("[]")
        attributes[PEER_PORT] = int(peer_port)
    return attributes


def send_attributes(exchange: str, routing_key: str, message_id: str, message: Message, error: str = "") -> Attributes:
    """Of a publish that the broker has confirmed, or `error`."""
    attributes: Attributes = {
        SYSTEM: "rabbitmq",
        OPERATION_NAME: "publish",
        OPERATION_TYPE: "send",
        DESTINATION: f"{exchange}:{routing_key}",
        ROUTING_KEY: routing_key,
        CONVERSATION_ID: message.job_id,
        JOB_ID: message.job_id,
        TENANT: message.tenant,
    }
    if message_id:
        attributes[MESSAGE_ID] = message_id
    if error:
        attributes[ERROR_TYPE] = error
    return attributes


PROCESSING: Final[Attributes] = {OPERATION_NAME: "process", OPERATION_TYPE: "process"}


def taken_attributes(message: Message, queue: str, routing_key: str, message_id: str, size: int) -> Attributes:
    """Of a message of `size` bytes that came out of a queue, under the key that it was published with last.

    The destination is the queue alone: with the key, as conventions have it, each delay would make another.
    """
    return {
        SYSTEM: "rabbitmq",
        DESTINATION: queue,
        ROUTING_KEY: routing_key,
        MESSAGE_ID: message_id,
        CONVERSATION_ID: message.job_id,
        BODY_SIZE: size,
        JOB_ID: message.job_id,
        TENANT: message.tenant,
        GENERATION: message.generation,
        ATTEMPT: message.number,
    }


def wait_attributes(message: Message, began: int) -> Attributes:
    """How long a message was to wait, and how much longer it waited, in ms; empty where it does not say since when."""
    if not message.published:
        return {}
    due = max(message.eta, message.published)
    return {WAIT_DELAY: due - message.published, WAIT_QUEUE: max(0, began - due)}
