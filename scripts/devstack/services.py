"""Carom's three services as processes: one by one, or together as a stack."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.errors import DevstackError
from devstack.paths import service_command
from devstack.ports import free_port, require_free
from devstack.probe import status_of
from devstack.process import Log, Process, clean_environment, wait_until

KINDS = ("intake", "executor", "callback")
_EGRESS_ALLOW = "127.0.0.0/8,::1,localhost"


class Service(Process):
    """One replica of one service. `env` is all that it sees of CAROM_*, RABBITMQ_URL and REDIS_URL."""

    def __init__(
        self,
        kind: str,
        env: Mapping[str, str],
        *,
        log: Log,
        name: str | None = None,
        port: int | None = None,
        admin_port: int | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.kind = kind
        self.port = (port or free_port()) if kind == "intake" else None
        self.admin_port = admin_port or free_port()
        environment = clean_environment("CAROM_", "RABBITMQ_", "REDIS_") | {"PYTHONUNBUFFERED": "1"}
        # Without keys on the loopback interface: what is tried out here has no other callers.
        environment |= {"CAROM_HOST": "127.0.0.1", "CAROM_AUTH": "off"} | dict(env)
        environment |= {"CAROM_PORT": str(self.port or ""), "CAROM_ADMIN_PORT": str(self.admin_port)}
        if self.port is None:
            del environment["CAROM_PORT"]
        super().__init__(name or kind, command or [str(service_command(kind))], environment, log)

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def url(self) -> str:
        """Base URL of the API; only intake has one."""
        if self.port is None:
            raise DevstackError(f"{self.name} has no API")
        return f"http://127.0.0.1:{self.port}"

    @property
    def ready(self) -> bool:
        return self.alive and status_of(f"{self.admin}/readyz") == 200

    def start(self, *, wait: bool = True, seconds: float = 30) -> None:
        for port in (self.admin_port, self.port):
            if port:
                require_free(port, f"carom-{self.name}")
        self.spawn()
        if wait:
            self.wait_ready(seconds)

    def wait_ready(self, seconds: float = 30) -> None:
        ready = wait_until(lambda: self.ready or not self.alive, seconds, 0.1)
        if not self.alive:
            raise DevstackError(f"carom-{self.name} ended with code {self.exit_code} before it was ready{self._see()}")
        if not ready:
            raise DevstackError(f"carom-{self.name} is not ready after {seconds:.0f} s{self._see()}")

    def restart(self) -> None:
        self.terminate()
        self.start()

    def _see(self) -> str:
        return f"; see {self.log}" if isinstance(self.log, Path) else ""


class Stack:
    """All three services on one RabbitMQ and one Redis.

    `log` is a directory (one file a replica) or a function; `env` is for all, `service_env` for one kind;
    `commands` replaces the command of a kind, `replicas` is 1 where nothing else is said.
    """

    def __init__(
        self,
        rabbitmq_url: str,
        redis_url: str,
        *,
        log: Log,
        env: Mapping[str, str] | None = None,
        service_env: Mapping[str, Mapping[str, str]] | None = None,
        replicas: Mapping[str, int] | None = None,
        commands: Mapping[str, Sequence[str]] | None = None,
        api_port: int | None = None,
        admin_ports: Mapping[str, int] | None = None,
    ) -> None:
        self._log = log
        self._env = {"RABBITMQ_URL": rabbitmq_url, "REDIS_URL": redis_url, "CAROM_EGRESS_ALLOW": _EGRESS_ALLOW}
        self._env |= dict(env or {})
        self._service_env = service_env or {}
        self._commands = commands or {}
        self.services: list[Service] = []
        for kind in KINDS:
            for _ in range((replicas or {}).get(kind, 1)):
                first = not self.of(kind)
                admin_port = (admin_ports or {}).get(kind) if first else None
                self.add(kind, port=api_port if first else None, admin_port=admin_port)

    def add(self, kind: str, *, port: int | None = None, admin_port: int | None = None) -> Service:
        """One more replica, not started yet."""
        name = f"{kind}-{len(self.of(kind)) + 1}" if self.of(kind) else kind
        service = Service(
            kind,
            self._env | dict(self._service_env.get(kind, {})),
            log=self._log / f"{name}.log" if isinstance(self._log, Path) else self._log,
            name=name,
            port=port,
            admin_port=admin_port,
            command=self._commands.get(kind),
        )
        self.services.append(service)
        return service

    def of(self, kind: str) -> list[Service]:
        return [service for service in self.services if service.kind == kind]

    @property
    def intake(self) -> Service:
        return self.of("intake")[0]

    @property
    def executor(self) -> Service:
        return self.of("executor")[0]

    @property
    def callback(self) -> Service:
        return self.of("callback")[0]

    @property
    def api(self) -> str:
        return self.intake.url

    def start(self, seconds: float = 60) -> None:
        """Start all at once and wait until each is ready; leaves nothing running when one is not."""
        try:
            for service in self.services:
                service.start(wait=False)
            for service in self.services:
                service.wait_ready(seconds)
        except BaseException:
            self.kill()
            raise

    def stop(self, seconds: float = 40) -> dict[str, int | None]:
        """SIGTERM to all at once; gives each exit code."""
        with ThreadPoolExecutor(len(self.services)) as pool:
            codes = pool.map(lambda service: service.terminate(seconds), self.services)
            return dict(zip((service.name for service in self.services), codes, strict=True))

    def kill(self) -> None:
        for service in self.services:
            service.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
