"""`Prefer: wait=N` (RFC 7240). Preferences are hints: what is malformed or unknown is passed over."""

import re
from collections.abc import Iterable

MAX_WAIT_SECONDS = 60

_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
"""Up to a comma that is not inside quotes; nothing follows, so nothing is tried twice."""
_NUMBER = re.compile(r'([0-9]+)|"([0-9]+)"', re.ASCII)


def wait_seconds(headers: Iterable[str]) -> int:
    """Seconds that a client would wait: 1 to 60, or 0 where it did not say so. More than 60 is 60."""
    for header in headers:
        for preference in _PREFERENCE.findall(header):
            name, _, value = preference.split(";", 1)[0].partition("=")
            if name.strip(" \t").lower() == "wait":  # the first of several counts
                number = _NUMBER.fullmatch(value.strip(" \t"))
                digits = (number[1] or number[2]).lstrip("0") if number else ""
                return min(int(digits[:3] or "0"), MAX_WAIT_SECONDS)
    return 0
