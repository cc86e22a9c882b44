"""Carom on private, fresh servers, with nginx as target and receiver: what the own measurements run on."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.nginx import Nginx
from bench.report import say
from devstack.certificates import Authority
from devstack.paths import ROOT
from devstack.process import Process, clean_environment
from devstack.servers import USUAL_TICK_MS, RabbitMQ, Redis
from devstack.services import KINDS, Stack

OURS = ROOT / "bench" / "ours.json"
COMPONENTS = (*KINDS, "RabbitMQ", "Redis")
NOTHING: Mapping[str, str] = {}


class Stand:
    """Servers and services on free ports with data in a temporary directory, which stays after an error.

    `env` is set on top of that of `ours.json`; with an `authority` both servers speak TLS alone.
    """

    def __init__(
        self,
        directory: Path | None = None,
        env: Mapping[str, str] = NOTHING,
        authority: Authority | None = None,
        replicas: Mapping[str, int] | None = None,
    ) -> None:
        self.directory = directory or Path(tempfile.mkdtemp(prefix="carom-bench-"))
        tls = authority.server("127.0.0.1") if authority else None
        self.rabbitmq = RabbitMQ(self.directory / "rabbitmq", tls=tls, tick_ms=USUAL_TICK_MS)
        self.redis = Redis(self.directory / "redis", tls=tls)
        settings: dict[str, str] = json.loads(OURS.read_text())["env"] | dict(env)
        if authority:
            settings |= authority.client_env()
        self.stack = Stack(
            self.rabbitmq.url, self.redis.url, log=self.directory / "log", env=settings, replicas=replicas
        )
        self.target = Nginx(self.directory / "target")
        self.receiver = Nginx(self.directory / "receiver")
        self._helpers: list[Process] = []

    def pids(self) -> dict[str, int]:
        """Process ids of what runs."""
        pids = {service.name: service.pid for service in self.stack.services}
        pids |= {"RabbitMQ": self.rabbitmq.pid, "Redis": self.redis.pid}
        return {name: pid for name, pid in pids.items() if pid}

    def helper(self, name: str, command: list[str]) -> Process:
        """A process that ends with the stand; its output goes to `output(name)`."""
        output = self.directory / f"{name}.out"
        output.unlink(missing_ok=True)
        process = Process(name, command, clean_environment(), output)
        process.spawn()
        self._helpers.append(process)
        return process

    def output(self, name: str) -> str:
        return (self.directory / f"{name}.out").read_text()

    def queues(self) -> dict[str, int]:
        """Messages by queue, empty queues left out."""
        lines = self.rabbitmq.ctl("-q", "list_queues", "--no-table-headers", "name", "messages").splitlines()
        depths = {name: int(messages) for name, messages in (line.split("\t") for line in lines)}
        return {name: messages for name, messages in depths.items() if messages}

    def complaints(self) -> list[str]:
        """What the services logged as an error."""
        logs = sorted((self.directory / "log").glob("*.log"))
        lines = (line for log in logs for line in log.read_text(errors="replace").splitlines())
        return [line for line in lines if '"level":"error"' in line or "Traceback" in line]

    def __enter__(self) -> Self:
        try:
            self.target.__enter__()
            self.receiver.__enter__()
            self.rabbitmq.start()
            self.redis.start()
            self.stack.start()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for helper in self._helpers:
            helper.kill()
        if error is None:
            codes: dict[str, Any] = self.stack.stop()
            if unclean := {name: code for name, code in codes.items() if code}:
                say(f"  ended with another code than 0: {unclean}")
        else:
            self.stack.kill()
        self.rabbitmq.kill()
        self.redis.kill()
        self.receiver.__exit__(None, None, None)
        self.target.__exit__(None, None, None)
        if isinstance(error, Exception):
            say(f"  logs are in {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
