"""Trace context (W3C Trace Context): taken from the client or begun at intake, carried in every message."""

import hashlib
import random
import re
from typing import Final

_TRACEPARENT = re.compile(r"^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$")
_SAMPLED: Final = frozenset("13579bdf")


def is_traceparent(text: str | None) -> bool:
    return text is not None and _TRACEPARENT.match(text) is not None


def traceparent_from(header: str | None) -> str:
    """The client's `traceparent` when it is valid, else a new unsampled one."""
    if header and _TRACEPARENT.match(header):
        return header
    return f"00-{random.getrandbits(128):032x}-{random.getrandbits(64) or 1:016x}-00"


def trace_id(traceparent: str) -> str:
    return traceparent[3:35]


def span_id(traceparent: str) -> str:
    return traceparent[36:52]


def is_sampled(traceparent: str) -> bool:
    return traceparent[-1:] in _SAMPLED


def sampled_trace(traceparent: str) -> str:
    """The id of a trace that is recorded somewhere, for an exemplar; empty where it is not."""
    return trace_id(traceparent) if is_sampled(traceparent) else ""


def child(traceparent: str) -> str:
    """Another span of the same trace, sampled or not as the given one."""
    return f"00-{traceparent[3:36]}{random.getrandbits(64) or 1:016x}-0{int(is_sampled(traceparent))}"


def sampled(traceparent: str) -> str:
    """The same span, as one that is recorded."""
    return f"{traceparent[:53]}01"


def another_trace(traceparent: str, seed: str) -> str:
    """A span of a new trace, sampled or not as the given one. The same seed gives the same: every copy of a message."""
    digest = hashlib.blake2b(seed.encode(), digest_size=24).hexdigest()
    return f"00-{digest[:32]}-{digest[32:]}-0{int(is_sampled(traceparent))}"
