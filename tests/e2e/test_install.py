"""From nothing to a first job: one `helm install`, a job from outside the cluster to a target outside it, and back."""

import base64
import json
import uuid
from typing import Any

import msgspec
import pytest
from tests.e2e.kube import name_of, run, until
from tests.e2e.release import Release
from tests.e2e.world import World
from tests.support.chart import CHART
from tests.support.collector import received
from tests.support.witness import Witness

from carom_common.topology import EXECUTE_QUEUES
from carom_intake.domain.keys import Scope, new_key

FOLLOWED_SECONDS = 150
"""The kubelet brings a changed Secret into a pod within its sync period, a minute, and what it keeps of it in mind."""


def test_a_job_goes_in_from_outside_and_its_callback_comes_out(carom: Release) -> None:
    job_id = carom.round_trip()

    status, _, record = carom.request(f"/api/jobs/{job_id}")
    assert (status, record["status"]) == (200, "completed")


def test_target_and_callback_are_found_by_name(carom: Release, world: World, witness: Witness) -> None:
    if not world.name:
        pytest.skip("this cluster's DNS has no name for this machine")
    base = witness.base.replace(world.address, world.name)

    job_id = carom.submit(f"{base}/attempt/200", f"{base}/callback/200")

    until(lambda: bool(witness.taken(job_id)), 60, f"a callback of {job_id}")


def test_a_trace_of_a_client_goes_through_all_pods(carom: Release, witness: Witness) -> None:
    """Its spans reach a collector that the policies let pods reach for nothing else."""
    trace = uuid.uuid4().hex
    body = {"targetUrl": witness.target("200"), "callbackUrl": witness.receiver()}

    status, _, _ = carom.request("/api/jobs", body, {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})

    def kinds() -> set[tuple[str, str]]:
        spans = [span for body in list(witness.exported) for _, found in received(body) for span in found]
        return {(span.service, span.kind) for span in spans if span.trace == trace}

    wanted = {
        *(("carom-intake", kind) for kind in ("server", "producer")),
        *((f"carom-{service}", kind) for service in ("executor", "callback") for kind in ("consumer", "client")),
    }
    assert status == 202
    until(lambda: kinds() >= wanted, 60, "spans of intake, executor and callback")


def test_helm_test_sends_a_job_through_the_release(carom: Release) -> None:
    output = carom.helm("test", "--logs", "--timeout", "3m")

    assert "was called back as completed" in output


def test_fsck_finds_nothing_wrong(carom: Release) -> None:
    """The CronJob's own pod: its rights, its policies, and consumers that answer it."""
    report = fsck(carom)

    assert report["notJudged"] == []
    assert [count["found"] for count in report["counts"].values()] == [0, 0, 0, 0]
    assert report["records"] > 0


def test_fsck_repairs_what_a_purged_queue_lost(carom: Release, witness: Witness) -> None:
    """With the RabbitMQ of the cluster, which is a major version ahead of that of the other tests."""
    executor, cronjob = f"deployment/{carom.full('executor')}", f"cronjob/{carom.full('fsck')}"
    [broker] = carom.pods("rabbitmq")
    carom.kube("patch", cronjob, "--patch", '{"spec": {"suspend": true}}')  # or it may be first
    carom.kube("scale", executor, "--replicas=0")
    try:
        carom.settle()
        job_id = carom.submit(witness.target("200"), witness.receiver(), priority="high")
        carom.kube("exec", name_of(broker), "--", "rabbitmqctl", "--quiet", "purge_queue", EXECUTE_QUEUES["high"])
    finally:
        carom.kube("scale", executor, "--replicas=2")
        carom.settle()
    assert not witness.called(job_id)

    report = fsck(carom, "--grace=5")

    assert report["notJudged"] == []
    lost = report["counts"]["job-without-message"]
    assert (lost["found"], lost["repaired"]) == (1, 1)
    until(lambda: bool(witness.taken(job_id)), 60, f"a callback of {job_id}")
    assert len(witness.called(job_id)) == 1
    carom.kube("patch", cronjob, "--patch", '{"spec": {"suspend": false}}')


def fsck(carom: Release, *options: str) -> Any:
    """What a run of the CronJob reports, with more options."""
    name = "fsck-by-hand"
    cronjob = f"--from=cronjob/{carom.full('fsck')}"
    job = json.loads(carom.kube("create", "job", name, cronjob, "--dry-run=client", "--output=json"))
    job["spec"]["template"]["spec"]["containers"][0]["args"] += options
    carom.kube("create", "--filename=-", stdin=json.dumps(job))
    try:
        carom.kube("wait", "--for=condition=Complete", "--timeout=120s", f"job/{name}", seconds=130)
        lines = carom.kube("logs", f"job/{name}").splitlines()
        (report,) = [json.loads(line) for line in lines if line.startswith('{"repair"')]
        return report
    finally:
        carom.kube("delete", "job", name, "--ignore-not-found")


@pytest.mark.parametrize("authorization", ["", "Bearer carom_admin_" + "x" * 48], ids=["empty", "wrong"])
def test_without_a_key_nobody_is_let_in(carom: Release, authorization: str) -> None:
    body = {"targetUrl": carom.witness.target("200"), "callbackUrl": None}

    status, headers, problem = carom.request("/api/jobs", body, {"Authorization": authorization})

    assert (status, headers.get("WWW-Authenticate"), problem["status"]) == (401, "Bearer", 401)


def test_an_upgrade_keeps_the_keys_of_the_chart(carom: Release) -> None:
    before = carom.kube.one("secret", carom.keys)["data"]

    run(
        *("helm", "upgrade", carom.name, str(CHART), "--namespace", carom.kube.namespace, "--reuse-values"),
        *("--wait", "--timeout", "5m"),
        seconds=320,
    )

    assert carom.kube.one("secret", carom.keys)["data"] == before


def test_a_key_counts_soon_after_it_is_in_the_secret(carom: Release) -> None:
    made = new_key("late", "late", [Scope.JOBS_READ])
    secret = carom.kube.one("secret", carom.keys)
    keys = json.loads(base64.b64decode(secret["data"]["keys.json"]))
    keys["keys"].append(json.loads(msgspec.json.encode(made.key)))
    patch = {"stringData": {"keys.json": json.dumps(keys)}}
    restarts = carom.kube.restarts()

    carom.kube("patch", "secret", carom.keys, "--patch", json.dumps(patch))

    def counts() -> bool:
        # Every pod must know it; two are asked in turn.
        answers = [carom.request("/api/jobs/none", more={"Authorization": f"Bearer {made.token}"})[0] for _ in range(6)]
        return set(answers) == {404}

    until(counts, FOLLOWED_SECONDS, "the new key is known", 2)
    assert carom.kube.restarts() == restarts
