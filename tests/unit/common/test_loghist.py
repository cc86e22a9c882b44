import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carom_common.domain.loghist import LARGEST, bucket_of, percentile, value_of


@given(st.floats(0, 1e12))
def test_a_value_is_near_its_bucket(ms: float) -> None:
    bucket = bucket_of(ms)
    assert 0 <= bucket <= LARGEST
    if 1 < ms < 1e12:
        assert value_of(bucket) == pytest.approx(ms, rel=0.1)


def test_percentiles_are_within_a_tenth() -> None:
    values = sorted(random.Random(1).lognormvariate(4, 1) + 1 for _ in range(10_000))
    buckets: dict[int, int] = {}
    for value in values:
        buckets[bucket_of(value)] = buckets.get(bucket_of(value), 0) + 1
    assert percentile(buckets, 0.5) == pytest.approx(values[5000], rel=0.1)
    assert percentile(buckets, 0.99) == pytest.approx(values[9900], rel=0.1)
    assert percentile({}, 0.5) is None
