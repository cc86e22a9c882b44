"""Trace context (W3C Trace Context): taken from the client or begun at intake, carried in every message."""

import random
import re

_TRACEPARENT = re.compile(r"^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$")


def traceparent_from(header: str | None) -> str:
    """The client's `traceparent` when it is valid, else a new unsampled one."""
    if header and _TRACEPARENT.match(header):
        return header
    return f"00-{random.getrandbits(128):032x}-{random.getrandbits(64) or 1:016x}-00"


def trace_id(traceparent: str) -> str:
    return traceparent[3:35]
