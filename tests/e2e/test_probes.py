"""The probes do what they say: a lost broker restarts nobody, a process that makes no progress is restarted."""

import signal
import time

import pytest
from tests.e2e.conftest import UnderLoad
from tests.e2e.kube import is_ready, name_of, processes, restarts_of, signal_all, until
from tests.e2e.release import PROXY_REFUSALS, Release

LONGER_THAN_LIVENESS = 36
"""Three failures in a row, 10 s apart, and the 5 s that the last may take."""
SOON = 30
WEDGED_SECONDS = 180
"""Liveness fails three times, then the process that hears no SIGTERM has the probe's grace period."""


def test_a_lost_broker_restarts_nobody(carom: Release) -> None:
    before = {name_of(pod): restarts_of(pod) for pod in carom.kube.pods() if "rabbitmq" not in name_of(pod)}
    broker = f"statefulset/{carom.full('rabbitmq')}"

    def ready(component: str) -> list[bool]:
        return [is_ready(pod) for pod in carom.pods(component)]

    def refused_by_intake() -> bool:
        body = {"targetUrl": carom.witness.target("200"), "callbackUrl": None}
        status, headers, answer = carom.request("/api/jobs", body)
        assert status in PROXY_REFUSALS, f"{status} {answer}"
        return (status, "Retry-After" in headers) == (503, True) and bool(answer["status"] == 503)

    carom.kube("scale", broker, "--replicas=0")
    try:
        until(lambda: not any(ready("executor") + ready("callback")), 120, "executor and callback are unready", 1)
        since = time.monotonic()
        while time.monotonic() < since + LONGER_THAN_LIVENESS:
            # A probe may time out on a busy machine; the next one must not.
            until(lambda: all(ready("intake")), SOON, "intake is ready: it says 503 itself", 1)
            until(refused_by_intake, SOON, "intake answers 503, and when to come again", 1)
            time.sleep(3)
    finally:
        carom.kube("scale", broker, "--replicas=1")
    carom.settle()

    carom.round_trip()
    assert {name: count for name, count in carom.kube.restarts().items() if name in before} == before


def test_a_wedged_consumer_is_restarted_and_its_work_is_done(carom: Release, under_load: UnderLoad) -> None:
    [victim, *_] = carom.pods("executor")
    found = processes(victim)
    if not found:
        pytest.skip("the processes of pods cannot be stopped from here")

    def restarted() -> bool:
        pod = carom.kube.one("pod", name_of(victim))
        return restarts_of(pod) > restarts_of(victim) and is_ready(pod)

    with under_load(carom):
        signal_all(found, signal.SIGSTOP)
        until(lambda: not is_ready(carom.kube.one("pod", name_of(victim))), 90, "the wedged pod is unready", 1)
        until(restarted, WEDGED_SECONDS, "the wedged pod is restarted", 1)
