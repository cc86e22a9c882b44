"""The arithmetic of the benchmarks."""

import pytest
from bench.backlog import _memory
from bench.budget import ROWS, shares
from bench.compare import COLUMNS, ratio, summary
from bench.job import job, number_of
from bench.report import percentile, spread
from bench.retries import Retry, _inexact, _judge
from bench.usage import Sample
from bench.ways import more_than


def _run(jobs: int, stack: float, p50: float | None) -> dict[str, object]:
    cpu = {"app": stack / 2, "broker": stack / 4, "redis": stack / 4, "stack": stack}
    latency = None if p50 is None else {"50": p50, "99": p50 * 2}
    return {
        "accepted_per_s": jobs,
        "jobs_per_s_end_to_end": jobs,
        "submit_p99_ms": 10.0,
        "cpu_ms_per_job": cpu,
        "low_rate": {"to_callback_ms": latency},
    }


def test_medians_leave_out_what_a_run_did_not_measure() -> None:
    row = summary([_run(100, 1.0, None), _run(300, 3.0, 6.0), _run(200, 2.0, 4.0)])
    assert list(row) == list(COLUMNS)
    assert (row["jobs/s"], row["stack"], row["p50"]) == (200, 2.0, 5.0)
    assert summary([_run(100, 1.0, None)])["p50"] is None


def test_ratios_are_ours_over_theirs_and_none_for_a_peer_without_a_broker() -> None:
    ours, theirs = summary([_run(300, 2.0, 6.0)]), summary([_run(100, 4.0, 3.0)])
    found = ratio(ours, theirs | {"broker": 0.002})
    assert (found["jobs/s"], found["stack"], found["p50"], found["broker"]) == (3, 0.5, 2, None)


def test_percentiles_are_nearest_rank() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 50) == 51
    assert spread(values) == {"p50": 51.0, "p99": 100.0, "max": 100.0}
    assert spread([]) == {"p50": None, "p99": None, "max": None}


def test_retries_that_came_early_are_counted() -> None:
    kind = "fixed 137 ms"
    retries = [
        Retry(kind, 1000, 137, 1003.2),
        Retry(kind, 1000, 137, 999.9),
        Retry(kind, 1000, 138, None),
        Retry(kind, None, None, 5.0),
    ]
    assert _judge(retries)["all"] == {"retries": 2, "p50": 3.2, "p99": 3.2, "max": 3.2, "early": 1}
    assert _inexact(retries) == 1


def test_growth_is_the_peak_of_the_drain_over_what_the_process_had_settled_at() -> None:
    mib = [50.0, 58.0, 60.0, 66.0, 61.0, 90.0]
    samples = [Sample(100.0 + 3 * n, {"executor": value}) for n, value in enumerate(mib)]
    memory = _memory("executor", samples, start=100.0, end=113.0)
    assert memory == {"start": 50.0, "settled": 60.0, "peak": 66.0, "end": 90.0, "growth": 6.0}
    assert _memory("executor", samples[:1], start=100.0, end=101.0)["growth"] is None


@pytest.mark.parametrize(("number", "query"), [(None, ""), (7, "?n=7")])
def test_a_job_carries_its_number_to_both_ends(number: int | None, query: str) -> None:
    made = job("http://t", "http://r", number)
    assert (made["targetUrl"], made["callbackUrl"]) == (f"http://t/hook{query}", f"http://r/cb{query}")
    assert number_of(f"/cb{query}") == number


def test_how_much_more_a_way_costs_and_how_sure_that_is() -> None:
    assert more_than([2.0, 2.0, 2.0], [2.2, 2.2, 2.2]) == (10.0, 0.0)
    percent, error = more_than([1.0, 3.0], [1.2, 3.0])  # the machine was slower in the second turn, for both
    assert (percent, error) == (5.0, 5.0)


def test_a_sample_counts_for_the_innermost_function_that_has_a_row() -> None:
    process = "main (carom_executor/main.py:5);Runner.run (asyncio/runners.py:118)"
    step = f"{process};FourSteps.process (carom_common/steps.py:150)"
    stacks = [
        f"{process} 4",
        f"{step} 1",
        f"{step};Batcher.run (carom_common/adapters/store/batch.py:70);readany (asyncio/streams.py:1) 2",
        f"{process};Connection.data_received (carom_common/adapters/amqp/connection.py:60) 2",
        f"{process};Connection._flush (carom_common/adapters/amqp/connection.py:80) 1",
        "Thread._bootstrap (threading.py:1002);_worker (concurrent/futures/thread.py:81) 7",
    ]
    assert shares("\n".join(stacks), ROWS["executor"]) == {
        "event loop, sockets": 0.4,
        "claim, settle: Redis": 0.2,
        "consume: frames, decode": 0.2,
        "four steps": 0.1,
        "publish, confirm": 0.1,
    }
