import pytest

from carom_common.contracts.job import Status
from carom_common.domain.filters import Filter, JobHead, decode_head, index_fits, job_fits, state_fits, walks


def state(**fields: str) -> dict[str, str]:
    return {"status": "failed", "created": "1000", "reason": "http-5xx", "dead": "1"} | fields


def ways(wanted: Filter) -> set[tuple[str, ...]]:
    return {walk.names for walk in walks(wanted)}


def test_every_filter_has_an_index() -> None:
    wanted = Filter(labels={"a": "1", "b": "2"}, host="h:81", reason="dns", wait_reason=("paused",), kind="callback")
    assert ways(wanted) == {
        ("all",), ("label:a=1",), ("label:b=2",), ("host:h:81",), ("reason:dns",), ("held",), ("dead:callback",)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("statuses", "names"),
    [
        (("queued",), ("open",)),
        (("waiting", "in_progress"), ("open",)),
        (("failed",), ("status:failed",)),
        (("failed", "cancelled"), ("status:cancelled", "status:failed")),
        (("completed",), None),
        (("failed", "completed"), None),
        (("failed", "waiting"), None),
    ],
)
def test_statuses_are_walked_where_none_can_slip_away(statuses: tuple[str, ...], names: tuple[str, ...] | None) -> None:
    wanted = Filter(status=tuple(map(Status, statuses)))
    assert ways(wanted) == {("all",)} | ({names} if names else set())


@pytest.mark.parametrize(
    ("wanted", "record", "fits"),
    [
        (Filter(), state(), True),
        (Filter(status=(Status.FAILED,)), state(), True),
        (Filter(status=(Status.QUEUED,)), state(), False),
        (Filter(created_after=1000), state(), True),
        (Filter(created_after=1001), state(), False),
        (Filter(created_before=1000), state(), False),
        (Filter(created_before=1001), state(), True),
        (Filter(reason="http-5xx"), state(), True),
        (Filter(reason="dns"), state(), False),
        # A record keeps the reason of its last failure while it goes on, and when it completes.
        (Filter(reason="http-5xx"), state(status="completed"), False),
        (Filter(reason="http-5xx"), state(status="waiting"), False),
        (Filter(wait_reason=("paused",)), state(status="waiting", wait_reason="paused"), True),
        (Filter(wait_reason=("rate",)), state(status="waiting", wait_reason="paused"), False),
        (Filter(wait_reason=("paused",)), state(status="waiting"), False),
        (Filter(kind="execute"), state(), True),
        (Filter(kind="execute"), state(dead="0"), False),
        (Filter(kind="execute"), state(status="queued"), False),
        (Filter(kind="callback"), state(callback="failed", callback_dead="1"), True),
        (Filter(kind="callback"), state(callback="pending", callback_dead="1"), False),
    ],
)
def test_records_are_the_truth(wanted: Filter, record: dict[str, str], fits: bool) -> None:
    assert state_fits(wanted, record) is fits


def test_jobs_fit_by_host_and_all_labels() -> None:
    job = JobHead("https://Example.com:8443/x", labels={"a": "1", "b": "2"})
    assert job_fits(Filter(host="example.com:8443", labels={"a": "1", "b": "2"}), job)
    assert not job_fits(Filter(host="example.com"), job)
    assert not job_fits(Filter(labels={"a": "1", "c": "3"}), job)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("open", False),
        ("held", False),
        ("all", True),
        ("host:x:80", True),
        ("label:a=b:c", True),
        ("status:failed", True),
        ("status:expired", False),
        ("reason:http-5xx", True),
        ("reason:dns", False),
        ("dead:execute", True),
        ("dead:callback", False),
    ],
)
def test_index_entries_of_a_dead_job(name: str, fits: bool) -> None:
    assert index_fits(name, state()) is fits


@pytest.mark.parametrize(
    ("callback", "wanted"),
    [('"callback":{"url":"http://a/","events":["attempt"]}', True), ('"callback":null', False)],
)
def test_the_long_form_of_a_callback_is_read(callback: str, wanted: bool) -> None:
    head = decode_head(f'{{"targetUrl":"http://a/","callbackUrl":null,{callback}}}'.encode())
    assert head.calls_back is wanted
