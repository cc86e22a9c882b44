"""A histogram with buckets that grow by a fifth: small, mergeable, and good for percentiles within a tenth."""

import math
from collections.abc import Mapping

_PER_OCTAVE = 4
LARGEST = 160
"""The last bucket: above 30 years in milliseconds."""


def bucket_of(ms: float) -> int:
    """The bucket of a duration; everything up to 1 ms is in bucket 0."""
    return min(LARGEST, math.ceil(math.log2(ms) * _PER_OCTAVE)) if ms > 1 else 0


def value_of(bucket: int) -> float:
    """The middle of a bucket, in milliseconds."""
    return float(2 ** ((bucket - 0.5) / _PER_OCTAVE)) if bucket else 1.0


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """The duration that a share (0 to 1) of the counted ones does not exceed; None when nothing was counted."""
    total = sum(buckets.values())
    if total <= 0:
        return None
    left = max(1, math.ceil(total * share))
    for bucket in sorted(buckets):
        left -= buckets[bucket]
        if left <= 0:
            return value_of(bucket)
    return value_of(max(buckets))
