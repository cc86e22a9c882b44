"""When to try again: backoff with jitter rounded to a bucket, or the time that the other side asked for."""

import random
from email.utils import parsedate_to_datetime

from carom_common.contracts.job import RetryPolicy
from carom_common.domain.buckets import nearest

HONOURED_STATUSES = frozenset({429, 503})
"""Statuses whose Retry-After replaces the computed delay (RFC 9110 section 10.2.3, RFC 6585 section 4)."""


def backoff_ms(policy: RetryPolicy, retry_delay_ms: int, failed_attempt: int, rng: random.Random | None = None) -> int:
    """Delay after attempt `failed_attempt` (from 1): jitter first, then rounded to a bucket, never above `maxDelay`.

    A fixed delay without jitter is returned as it is: it is met exactly.
    """
    uniform = (rng or random).uniform
    if policy.strategy == "exponential":
        delay = float(retry_delay_ms * 2 ** (failed_attempt - 1))
    elif policy.strategy == "linear":
        delay = float(retry_delay_ms * failed_attempt)
    else:
        delay = float(retry_delay_ms)
    delay = min(delay, policy.max_delay)
    match policy.effective_jitter:
        case "full":
            delay = uniform(0, delay)
        case "equal":
            delay = uniform(delay / 2, delay)
        case _ if policy.strategy == "fixed":
            return int(delay)
    return nearest(delay, policy.max_delay)


def retry_after_ms(value: str | None, now_ms: int) -> int | None:
    """Milliseconds that a Retry-After header asks to wait: seconds or an HTTP date; None when it says neither."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return int(text[:12]) * 1000
    try:
        when = parsedate_to_datetime(text)
        return max(0, int(when.timestamp() * 1000) - now_ms) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None
