"""Backoff, buckets and Retry-After."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carom_common.contracts.job import RetryPolicy
from carom_common.domain.backoff import backoff_ms, retry_after_ms
from carom_common.domain.buckets import BUCKETS, SHORTEST, largest_within, nearest


def test_buckets_are_the_r10_series_from_100_ms_to_a_day() -> None:
    assert BUCKETS[:11] == (100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000)
    assert BUCKETS[-2:] == (80_000_000, 86_400_000)
    assert list(BUCKETS) == sorted(set(BUCKETS))
    assert len(BUCKETS) == 61


@given(st.integers(1, 200_000_000))
def test_the_largest_bucket_within_a_delay_never_overshoots_it(delay: int) -> None:
    bucket = largest_within(delay)
    if delay < SHORTEST:
        assert bucket is None
    else:
        assert bucket is not None
        assert bucket <= delay
        assert all(other <= bucket or other > delay for other in BUCKETS)


@given(st.floats(0, 200_000_000), st.integers(100, 86_400_000))
def test_rounding_stays_below_the_ceiling_and_within_a_step(delay: float, ceiling: int) -> None:
    bucket = nearest(delay, ceiling)
    assert bucket in BUCKETS
    assert bucket <= ceiling
    if SHORTEST <= delay <= ceiling * 0.75 and delay <= BUCKETS[-1]:
        assert 0.87 < bucket / delay < 1.15


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("exponential", [1000, 2000, 4000, 8000, 16_000, 31_500]),
        ("linear", [1000, 2000, 3150, 4000, 5000, 6300]),
        ("fixed", [1000, 1000, 1000, 1000, 1000, 1000]),
    ],
)
def test_without_jitter_the_delay_follows_the_strategy_in_buckets(strategy: str, expected: list[int]) -> None:
    policy = RetryPolicy(strategy=strategy, jitter="none")  # type: ignore[arg-type]
    assert [backoff_ms(policy, 1000, n) for n in range(1, 7)] == expected


@pytest.mark.parametrize(("jitter", "low", "high"), [("full", 0, 8000), ("equal", 4000, 8000), (None, 4000, 8000)])
def test_jitter_spreads_the_delay_over_its_range(jitter: str | None, low: int, high: int) -> None:
    policy = RetryPolicy(jitter=jitter)  # type: ignore[arg-type]
    delays = [backoff_ms(policy, 1000, 4, random.Random(seed)) for seed in range(500)]
    assert min(delays) >= max(low, SHORTEST)
    assert max(delays) <= high
    assert len(set(delays)) >= 4


def test_the_longest_delay_is_capped_by_max_delay() -> None:
    assert backoff_ms(RetryPolicy(jitter="none", max_delay=5000), 30_000, 10) == 5000
    assert backoff_ms(RetryPolicy(jitter="none", max_delay=5999), 30_000, 10) == 5000


def test_a_fixed_delay_is_exact_and_not_rounded_to_a_bucket() -> None:
    assert backoff_ms(RetryPolicy(strategy="fixed"), 1234, 3) == 1234


NOW = 1_716_033_600_000  # 2024-05-18T12:00:00Z


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3", 3000),
        (" 3 ", 3000),
        ("0", 0),
        ("Sat, 18 May 2024 12:00:07 GMT", 7000),
        ("Sat, 18 May 2024 11:00:00 GMT", 0),
        ("Saturday, 18-May-24 12:00:07 GMT", 7000),
        ("", None),
        (None, None),
        ("-3", None),
        ("1.5", None),
        ("soon", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +9999999999", None),
        ("³", None),
        ("9" * 50, 999_999_999_999_000),
    ],
)
def test_retry_after_is_seconds_or_an_http_date(value: str | None, expected: int | None) -> None:
    assert retry_after_ms(value, NOW) == expected


@given(st.text(max_size=60))
def test_no_retry_after_breaks_the_parser(value: str) -> None:
    delay = retry_after_ms(value, NOW)
    assert delay is None or delay >= 0
