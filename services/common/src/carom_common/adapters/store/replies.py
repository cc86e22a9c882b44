"""Replies that RESP2 and RESP3 shape differently, in one shape."""

from typing import Any


def pairs(reply: Any) -> list[tuple[Any, Any]]:
    """A map or scored members: a mapping, a list of pairs or a flat list by protocol and command; None where empty."""
    if isinstance(reply, dict):
        return list(reply.items())
    if reply and isinstance(reply[0], list):
        return [(key, value) for key, value in reply]
    return list(zip(reply[::2], reply[1::2], strict=True)) if reply else []


def text_fields(reply: Any) -> dict[str, str]:
    """A hash as text."""
    return {name.decode(): value.decode("utf-8", "replace") for name, value in pairs(reply)}
