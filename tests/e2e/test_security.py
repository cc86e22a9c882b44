"""The restricted profile is enforced on the namespace, and inside the pods the processes have what it promises."""

import json

import pytest
from tests.e2e.kube import Object, name_of, sleeping_pod, until
from tests.e2e.release import Release
from tests.support.chart import SERVICES

INSIDE = """
import json, os, pathlib

def written(path):
    try:
        pathlib.Path(path, "e2e").write_text("")
    except OSError as error:
        return error.strerror
    return "written"

lines = pathlib.Path("/proc/1/status").read_text().splitlines()
status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
print(json.dumps({
    "status": status,
    "written": {path: written(path) for path in ("/", "/opt/carom", "/tmp", "/var/tmp", "/etc", os.getcwd())},
    "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "environment": sorted(os.environ),
}))
"""


def inside(carom: Release, component: str) -> Object:
    [pod, *_] = carom.pods(component)
    found: Object = json.loads(carom.kube.python(pod, INSIDE))
    return found


def test_the_namespace_refuses_a_pod_outside_the_restricted_profile(carom: Release) -> None:
    pod = sleeping_pod("root", "busybox:1.36")
    del pod["spec"]["containers"][0]["securityContext"]

    with pytest.raises(AssertionError, match="violates PodSecurity"):
        carom.kube("create", "--dry-run=server", "--filename", "-", stdin=json.dumps(pod))


def test_all_workloads_run_in_it(carom: Release) -> None:
    components = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in carom.kube.pods(release="carom")}

    assert components == {*SERVICES, "rabbitmq", "redis"}


def test_no_pod_has_a_token(carom: Release) -> None:
    for pod in carom.kube.pods(release="carom"):
        assert pod["spec"]["automountServiceAccountToken"] is False, name_of(pod)
        sources = [source for volume in pod["spec"].get("volumes", []) for source in volume]
        assert "projected" not in sources, name_of(pod)


@pytest.mark.parametrize("component", SERVICES)
def test_a_service_has_no_user_rights_or_writable_files(carom: Release, component: str) -> None:
    found = inside(carom, component)
    status = found["status"]

    assert set(status["Uid"].split()) == {"65532"}
    assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert set(found["written"].values()) == {"Read-only file system"}, found["written"]
    assert found["token"] is False


@pytest.mark.parametrize("component", SERVICES)
def test_a_service_knows_no_other_services_by_its_environment(carom: Release, component: str) -> None:
    """Links to every Service of the namespace would be environment variables that settings could take for theirs."""
    names = [name for name in inside(carom, component)["environment"] if name.startswith("CAROM_INTAKE_SERVICE")]

    assert not names


LOOK = """
import sys, urllib.error, urllib.request

try:
    print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.mark.parametrize("component", SERVICES)
def test_what_a_replica_does_is_told_inside_its_pod_alone(carom: Release, component: str) -> None:
    """Not at the pod's own address either, which is where network peers come in."""
    [pod, *_] = carom.pods(component)
    within = json.loads(carom.kube.python(pod, LOOK, "http://127.0.0.1:8081/debug/tasks"))

    assert within["service"] == component
    assert within["process"].startswith(name_of(pod)[:40])
    address = pod["status"]["podIP"]
    assert carom.kube.python(pod, LOOK, f"http://{address}:8081/debug/tasks").strip() == "403"


@pytest.mark.parametrize("component", ["rabbitmq", "redis"])
def test_a_database_for_trying_out_has_no_rights_either(carom: Release, component: str) -> None:
    [pod] = carom.pods(component)
    text = carom.kube("exec", name_of(pod), "--", "cat", "/proc/1/status")
    status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    assert set(status["Uid"].split()) == {"999"}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_the_store_keeps_no_payload_in_clear(carom: Release) -> None:
    """The id of the job is there, so what is not found was looked for in the right place."""
    job_id = carom.submit(carom.witness.target("200:20"), payload={"card": "planted-in-payload"})
    [redis] = carom.pods("redis")

    def files_with(text: str) -> str:
        search = f"grep -rla {text} /data || test $? = 1"
        return carom.kube("exec", name_of(redis), "--container=redis", "--", "sh", "-c", search)

    until(lambda: bool(files_with(job_id)), 30, "the job is in the files of Redis")
    assert not files_with("planted-in-payload")
