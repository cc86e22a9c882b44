"""From nothing to a first job: one `helm install`, a job from outside the cluster to a target outside it, and back."""

import pytest
from tests.e2e.kube import until
from tests.e2e.release import Release
from tests.e2e.world import World
from tests.support.witness import Witness


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


def test_helm_test_sends_a_job_through_the_release(carom: Release) -> None:
    output = carom.helm("test", "--logs", "--timeout", "3m")

    assert "was called back as completed" in output
