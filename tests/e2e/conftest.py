"""The cluster that KUBECONFIG names, a witness outside it, and releases to break. Started by scripts/e2e."""

import base64
import json
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.e2e.kube import Kube, Object, dump, sleeping_pod
from tests.e2e.release import PROXY_REFUSALS, Release
from tests.e2e.world import World
from tests.support.load import Load
from tests.support.scenario import Scenario, assert_all_kept, print_scenarios, scenarios_of
from tests.support.witness import LoopThread, Witness

RATE = 8
"""Jobs a second: the cluster and its load share two cores."""
BEFORE, AFTER = 3.0, 3.0
"""Seconds of load before the fault and after it: as long as the longest job, so that some are in every state."""
CALLED_BACK_SECONDS = 240
ENCRYPTION = "carom-encryption"
"""The Secret with the keys that jobs are encrypted with."""
DUMPS = 3
"""Failures whose cluster is written down; those that follow are mostly of the same cause."""


ORDER = ("server_dry_run", "install", "security", "network", "probes", "faults", "second_release", "mistakes")
"""Of the files: what all else rests on comes first. No test needs another to have run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    for item in ours:
        item.add_marker("e2e")
    places = [place for place, item in enumerate(items) if item in ours]
    ours.sort(key=lambda item: ORDER.index(item.path.stem.removeprefix("test_")))
    for place, item in zip(places, ours, strict=True):
        items[place] = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and item.session.testsfailed < DUMPS:
        directory = Path(tempfile.mkdtemp(prefix=f"carom-e2e-{item.name[:40]}-"))
        try:
            dump(directory)
        except Exception as error:
            report.sections.append(("state of the cluster", f"could not be kept in full: {error}"))
        report.sections.append(("state of the cluster", f"events, pods and logs are in {directory}"))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    print_scenarios(terminalreporter, config, "e2e: what became of the jobs answered with 202")


@pytest.fixture(scope="session")
def world() -> World:
    if "E2E_TAG" not in os.environ:
        pytest.fail("these tests need a cluster: run them with make e2e", pytrace=False)
    return World.from_environment()


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    with LoopThread() as thread:
        yield thread


@pytest.fixture(scope="session")
def witness(world: World, loop_thread: LoopThread) -> Iterator[Witness]:
    with Witness(loop_thread, world.listen(), world.address) as made:
        yield made


MakeRelease = Callable[[str, str], AbstractContextManager[Release]]


@pytest.fixture(scope="session")
def new_release(world: World, witness: Witness, loop_thread: LoopThread) -> MakeRelease:
    """Gives a name for a release in a namespace that exists until the end; nothing is installed yet."""

    @contextmanager
    def made(name: str, namespace: str) -> Iterator[Release]:
        with Kube.in_namespace(namespace) as kube:
            yield Release(name, kube, world, witness, loop_thread)

    return made


@pytest.fixture(scope="session")
def main_release(new_release: MakeRelease, world: World) -> Iterator[Release]:
    """Two pods of each service behind an Ingress, with jobs encrypted at rest and a collector of spans out there."""
    with new_release("carom", "carom-main") as release:
        sealing = f"e1:{base64.b64encode(os.urandom(32)).decode()}"
        release.kube("create", "secret", "generic", ENCRYPTION, f"--from-literal=keys={sealing}")
        values: Object = {"defaults": {"replicas": 2}, "encryption": {"existingSecret": ENCRYPTION}}
        values["tracing"] = {"endpoint": release.witness.collector}
        port = urlsplit(release.witness.base).port
        values["networkPolicy"] = {"collector": {"to": [{"ipBlock": {"cidr": f"{world.address}/32"}}], "ports": [port]}}
        if world.ingress:
            values["ingress"] = {"enabled": True, "hosts": [release.host]}
        if storage := os.environ.get("E2E_STORAGE_CLASS"):
            values["dependencies"] = {name: {"storageClassName": storage} for name in ("rabbitmq", "redis")}
        release.install(values)
        yield release


@pytest.fixture
def carom(main_release: Release) -> Release:
    """The main release, with all its pods ready."""
    main_release.settle()
    return main_release


@pytest.fixture(scope="session")
def outsider(world: World) -> Iterator[tuple[Kube, Object]]:
    """A pod in another namespace that no NetworkPolicy limits."""
    with Kube.in_namespace("carom-outsider") as kube:
        kube("create", "--filename", "-", stdin=json.dumps(sleeping_pod("outsider", f"carom-intake:{world.tag}")))
        kube("wait", "--for=condition=Ready", "pod/outsider", "--timeout=150s", seconds=160)
        yield kube, kube.one("pod", "outsider")


@pytest.fixture
def scenario(request: pytest.FixtureRequest) -> Scenario:
    made = Scenario(request.node.name.removeprefix("test_"))
    scenarios_of(request.config).append(made)
    return made


UnderLoad = Callable[..., AbstractContextManager[Load]]


@pytest.fixture
def under_load(scenario: Scenario) -> UnderLoad:
    """Breaks things in the middle of steady load; at its end every job answered with 202 must have come back."""

    @contextmanager
    def loaded(release: Release, proxy_may_refuse: bool = True) -> Iterator[Load]:
        scenario.load = load = release.load(refusals=PROXY_REFUSALS if proxy_may_refuse else ())
        running = load.steady(RATE)
        try:
            time.sleep(BEFORE)
            scenario.broken()
            yield load
            scenario.recovered()
            time.sleep(AFTER)
        finally:
            load.stop()
        running.result(60)
        load.await_callbacks(CALLED_BACK_SECONDS)
        assert_all_kept(load)
        scenario.stale = len(load.stale(load.settled_records()))
        scenario.note = ", ".join(f"{count} x {answer}" for answer, count in sorted(load.answers.items()))

    return loaded
