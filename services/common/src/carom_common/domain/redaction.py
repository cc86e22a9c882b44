"""What is sent but never shown: values of headers that hold secrets, and what a job names of its payload."""

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Raw

REDACTED = "[redacted]"
MAX_NAMES = 100
_REDACTED_JSON = Raw(b'"[redacted]"')

# What browsers and servers authenticate with, and the families of names that people choose for it: X-Api-Key,
# Private-Token, X-Vault-Token, CF-Access-Client-Secret, Ocp-Apim-Subscription-Key, X-Amz-Security-Token, ...
_BY_DEFAULT = r"""
    (?:x-)?(?:proxy-)?authorization \d?  | (?:set-)?cookie2?  | x-csrf.*  | x-xsrf.*
    | (?: .*[-_] )? (?: api-?key | token | secret | key | password | passwd | passphrase | credentials? | auth
                      | signature | session | session-?id )
"""
# Names that end like a secret and are none: what is sent to repeat, to find or to check.
_SHOWN = frozenset({"idempotency-key", "x-idempotency-key", "surrogate-key", "cache-key", "x-cache-key"})
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)

_Tree = dict[str | None, "_Tree"]
_HERE = None
"""In a tree of pointers: what is here is hidden."""
_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode


class _Secrets:
    """Which headers this process takes for secret; set once, at start."""

    by_default = re.compile(_BY_DEFAULT, re.IGNORECASE | re.VERBOSE)
    also: re.Pattern[str] | None = None


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError for what can be no name of a header, nor a pattern of names."""
    if len(names) > MAX_NAMES:
        raise ValueError(f"must be at most {MAX_NAMES} names")
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:100]!r} is no name of a header, in which * stands for anything")


def also_secret(names: Iterable[str]) -> None:
    """From now on headers of these names are secret too, in any case; `*` stands for anything."""
    patterns = [".*".join(map(re.escape, name.split("*"))) for name in names]
    _Secrets.also = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None


def is_secret(name: str) -> bool:
    """Whether the header of this name is not to be shown."""
    if _Secrets.also is not None and _Secrets.also.fullmatch(name):
        return True
    return _Secrets.by_default.fullmatch(name) is not None and name.lower() not in _SHOWN


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with `[redacted]` in place of secret values."""
    return {name: REDACTED if is_secret(name) else value for name, value in headers.items()}


def redacted_payload(payload: Raw, pointers: Sequence[str]) -> Raw:
    """The payload with `[redacted]` at the places that JSON Pointers (RFC 6901) name; those it has not are passed over.

    All else stays as it was given, to the letter. A payload that cannot be taken apart is not shown at all.
    """
    tree: _Tree = {}
    for pointer in pointers:
        at = tree
        for step in pointer.split("/")[1:]:
            at = at.setdefault(step.replace("~1", "/").replace("~0", "~"), {})
        at[_HERE] = {}
    try:
        return _hide(payload, tree)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _REDACTED_JSON


def _hide(value: Raw, tree: _Tree) -> Raw:
    """The value without what the tree names below it; goes through each of its parts once."""
    if _HERE in tree:
        return _REDACTED_JSON
    text = bytes(value).lstrip()
    if text.startswith(b"{"):
        members = _members(text)
        for step, below in tree.items():
            if step in members:
                members[step] = _hide(members[step], below)
        return Raw(_encode(members))
    if text.startswith(b"["):
        items = _items(text)
        for step, below in tree.items():
            if step and _INDEX.fullmatch(step) and int(step) < len(items):
                items[int(step)] = _hide(items[int(step)], below)
        return Raw(_encode(items))
    return value
