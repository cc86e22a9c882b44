"""What a pause says of jobs that nobody takes out of their queue."""

import pytest

from carom_common.domain.filters import JobHead
from carom_common.domain.pauses import LabelSelector, Pause, Pauses, Selector
from carom_intake.domain.waits import with_pause

JOB = JobHead("http://api.example:8080/x", labels={"team": "red"})
ALL = Pauses([Pause("acme", Selector(), 1)])


@pytest.mark.parametrize(
    "selector", [Selector(), Selector(host="api.example:8080"), Selector(label=LabelSelector("team", "red"))]
)
def test_a_job_that_is_due_waits_for_the_pause(selector: Selector) -> None:
    pauses = Pauses([Pause("acme", selector, 1)])
    for status in ("queued", "waiting", "scheduled"):
        assert with_pause({"status": status, "eta": "5"}, JOB, "acme", pauses, 5)["wait_reason"] == "paused"


@pytest.mark.parametrize(
    ("state", "tenant"),
    [
        ({"status": "queued"}, "other"),
        ({"status": "waiting", "eta": "6"}, "acme"),
        ({"status": "in_progress"}, "acme"),
        ({"status": "failed"}, "acme"),
    ],
)
def test_other_jobs_do_not(state: dict[str, str], tenant: str) -> None:
    assert with_pause(state, JOB, tenant, ALL, 5) == state


def test_what_the_record_says_counts() -> None:
    state = {"status": "queued", "wait_reason": "rate"}
    assert with_pause(state, JOB, "acme", ALL, 5) == state


def test_nothing_is_paused() -> None:
    assert with_pause({"status": "queued"}, JOB, "acme", Pauses(), 5) == {"status": "queued"}
