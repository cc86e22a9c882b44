"""The stage: the whole stack on servers of its own, who restarts what dies, and notes of all that was done to it."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from types import TracebackType
from typing import ClassVar, NamedTuple, Self

import psutil
from tests.chaos import driving
from tests.support.balancer import Balancer
from tests.support.load import Kind, Load
from tests.support.servers import STACK_ENV
from tests.support.witness import LoopThread, Witness

from devstack.errors import DevstackError
from devstack.process import wait_until
from devstack.servers import RabbitMQ, Redis
from devstack.services import KINDS, Service, Stack

RESTART_SECONDS = 0.5
"""How long a process that died is left dead: who starts it again needs some time."""
PRE_STOP_SECONDS = 1.0
"""Between a replica's end as the balancer sees it, and its SIGTERM: the chart's preStop."""
STOP_SECONDS = 40.0
"""After SIGTERM, before SIGKILL: more than CAROM_SHUTDOWN_TIMEOUT."""


class Mark(NamedTuple):
    """Something that was done: what may have made a call happen twice."""

    cause: str
    whom: str
    at: float
    until: float


class Death(NamedTuple):
    """A process that ended although nobody made it."""

    name: str
    code: int | None


class Letters(NamedTuple):
    """Dead letters, by what they are of."""

    jobs: int = 0
    callbacks: int = 0

    def __sub__(self, before: "Letters") -> "Letters":
        return Letters(self.jobs - before.jobs, self.callbacks - before.callbacks)


class Stage:
    """`with Stage(directory) as stage`. A scenario that needs another stack has a subclass of it.

    Whatever a scenario does is done through `fault()`, or through a method here that does so: an audit takes no other
    reason for a call that was made twice.
    """

    replicas: ClassVar[Mapping[str, int]] = dict.fromkeys(KINDS, 2)
    env: ClassVar[Mapping[str, str]] = {}
    service_env: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    redis_settings: ClassVar[Mapping[str, str]] = {}

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.thread = LoopThread()
        self.witness = Witness(self.thread)
        self.rabbitmq = RabbitMQ(directory / "rabbitmq")
        self.redis = Redis(directory / "redis", settings=self.redis_settings)
        self.marks: list[Mark] = []
        self.deaths: list[Death] = []
        self.loads: list[Load] = []
        self.letters = Letters()
        """Dead letters that were there before the scenario."""
        self._killed: set[str] = set()
        self._held: set[str] = set()
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._restarter = threading.Thread(target=self._restart_the_dead, daemon=True)
        self._exits = contextlib.ExitStack()

    # What a subclass may replace

    def start_servers(self) -> None:
        self._exits.enter_context(self.rabbitmq)
        self._exits.enter_context(self.redis)

    def broker_url(self) -> str:
        """As the services reach it."""
        return self.rabbitmq.url

    def store_url(self) -> str:
        return self.redis.url

    def furnish(self, service: Service) -> None:
        """What one replica has for itself, before it is started for the first time."""

    # Life

    def __enter__(self) -> Self:
        try:
            self._exits.enter_context(self.thread)
            self._exits.enter_context(self.witness)
            self.start_servers()
            self.stack = Stack(
                self.broker_url(),
                self.store_url(),
                log=self.directory / "log",
                env=STACK_ENV | dict(self.env),
                service_env=self.service_env,
                replicas=self.replicas,
            )
            for service in self.services:
                self.furnish(service)
            self._exits.enter_context(self.stack)
            self.balancer = self._exits.enter_context(Balancer(self.thread, self.stack.of("intake")))
        except BaseException:
            self._exits.close()
            raise
        self._restarter.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._closing.set()
        self._restarter.join(30)
        for service in self.services:
            service.resume()
        self._exits.__exit__(kind, error, tb)

    # Load

    def drive(self, rng: Random, kinds: Mapping[Kind, int] = driving.MIXTURE) -> Load:
        """A load of this mixture through the balancer, whose jobs are audited with all others of the scenario."""
        load = Load(
            self.balancer.url,
            self.witness,
            self.thread,
            driving.drawn(rng, kinds),
            answer_seconds=driving.ANSWER_SECONDS,
            keep_alive=False,
            refusals=(502, 503),
        )
        load.records_api = self.stack.api  # not through the balancer, for which each is a connection of its own
        self.loads.append(load)
        return load

    def begin(self, seed: str = "") -> None:
        """Forget the scenario before; what a stage does by chance comes from the seed."""
        for load in self.loads:
            for job_id in load.accepted:
                self.witness.calls.pop(job_id, None)
                self.witness.callbacks.pop(job_id, None)
        self.marks.clear()
        self.deaths.clear()
        self.loads.clear()

    # Doing harm

    @contextlib.contextmanager
    def fault(self, cause: str, whom: str = "") -> Iterator[None]:
        """Whatever is repeated while this lasts, or across it, has this cause."""
        at, place = time.monotonic(), len(self.marks)
        self.marks.append(Mark(cause, whom, at, float("inf")))
        try:
            yield
        finally:
            self.marks[place] = Mark(cause, whom, at, time.monotonic())

    @property
    def services(self) -> list[Service]:
        return self.stack.services

    def pick(self, rng: Random, *kinds: str) -> Service:
        """One replica, of one of these services."""
        return rng.choice([service for service in self.services if service.kind in (kinds or KINDS)])

    def kill(self, *services: Service) -> None:
        """kill -9, of all at once; they are started again."""
        with self._lock:
            for service in services:
                with self.fault("killed", service.name):
                    self._killed.add(service.name)
                    service.kill()

    @contextlib.contextmanager
    def frozen(self, service: Service) -> Iterator[None]:
        """SIGSTOP, and SIGCONT afterwards."""
        with self.fault("zombie", service.name):
            service.freeze()
            try:
                yield
            finally:
                service.resume()

    def cut(self, service: Service) -> None:
        """The broker closes the connections of one process."""
        ports = [each.laddr.port for each in psutil.Process(service.pid).net_connections("tcp") if each.raddr]
        ask = "rabbit_networking:connection_info_all([pid, peer_port])"
        close = 'rabbit_networking:close_connection(P, "chaos")'
        with self.fault("broker", service.name):
            done = self.rabbitmq.ctl(
                "eval", f"[{close} || [{{pid, P}}, {{peer_port, N}}] <- {ask}, lists:member(N, {ports})]."
            )
            assert "ok" in done, f"{service.name} has no connection to the broker"

    def roll(self, *services: Service) -> None:
        """What rollouts do to one replica of each service, at once."""
        with ThreadPoolExecutor(len(services)) as pool:
            list(pool.map(self._roll, services))

    def _roll(self, service: Service) -> None:
        """Out of the balancer, SIGTERM, and a new one that is let in when it is ready."""
        with self.out(service), self.fault("stopped", service.name):
            self.balancer.withdraw(service)
            time.sleep(PRE_STOP_SECONDS)
            code = service.terminate(STOP_SECONDS)
            assert code == 0, f"{service.name} ended with code {code} after SIGTERM"
            service.start()
            self.balancer.restore(service)

    @contextlib.contextmanager
    def out(self, service: Service) -> Iterator[None]:
        """Nobody starts it again meanwhile; it runs afterwards, with whatever command and environment it then has."""
        with self._lock:
            self._held.add(service.name)
        try:
            yield
        finally:
            with self._lock:
                if not service.alive:
                    self._killed.add(service.name)
                self._held.discard(service.name)

    def logged(self, service: Service, event: str) -> int:
        """How often one replica has logged this."""
        return (self.directory / "log" / f"{service.name}.log").read_text(errors="replace").count(f'"{event}"')

    def await_ready(self, seconds: float = 60) -> None:
        """Until every replica runs and is ready."""
        assert wait_until(lambda: all(service.ready for service in self.services), seconds, 0.2), (
            f"not ready after {seconds:.0f} s: {[service.name for service in self.services if not service.ready]}"
        )

    def _restart_the_dead(self) -> None:
        while not self._closing.wait(RESTART_SECONDS):
            for service in self.services:
                with self._lock:
                    if service.alive or service.name in self._held:
                        continue
                    if service.name not in self._killed:
                        self.deaths.append(Death(service.name, service.exit_code))
                    self._killed.discard(service.name)
                    with contextlib.suppress(DevstackError):
                        service.start(wait=False)
