"""From nothing to a first job: one `helm install`, a job from outside the cluster to a target outside it, and back."""

import base64
import json
import uuid

import msgspec
import pytest
from tests.e2e.kube import run, until
from tests.e2e.release import Release
from tests.e2e.world import World
from tests.support.chart import CHART
from tests.support.collector import received
from tests.support.witness import Witness

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
    carom.kube("create", "job", f"--from=cronjob/{carom.full('fsck')}", "fsck-by-hand")
    try:
        carom.kube("wait", "--for=condition=Complete", "--timeout=120s", "job/fsck-by-hand", seconds=130)
        lines = carom.kube("logs", "job/fsck-by-hand").splitlines()
        (report,) = [json.loads(line) for line in lines if line.startswith('{"repair"')]
        assert report["notJudged"] == []
        assert [count["found"] for count in report["counts"].values()] == [0, 0, 0, 0]
        assert report["records"] > 0
    finally:
        carom.kube("delete", "job", "fsck-by-hand", "--ignore-not-found")


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
