"""Servers and services together, as `make run` and `make demo` need them."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack import ports
from devstack.process import Log
from devstack.server import Server
from devstack.servers import RabbitMQ, Redis
from devstack.services import Stack


class Session:
    """RABBITMQ_URL and REDIS_URL, when set, are used; otherwise private servers keep their data in `directory`."""

    def __init__(
        self,
        directory: Path,
        *,
        log: Log,
        say: Callable[[str], None],
        api_port: int | None = None,
        fixed_ports: bool = False,
        management: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.servers: list[Server] = []
        self._say = say
        rabbitmq_url, redis_url = os.environ.get("RABBITMQ_URL"), os.environ.get("REDIS_URL")
        self.management_url: str | None = None
        if not rabbitmq_url:
            port = ports.RABBITMQ if fixed_ports else None
            rabbitmq = RabbitMQ(directory / "rabbitmq", port=port, management=management)
            rabbitmq_url = rabbitmq.url
            self.servers.append(rabbitmq)
            if rabbitmq.management_port:
                self.management_url = f"http://127.0.0.1:{rabbitmq.management_port} (guest / guest)"
        if not redis_url:
            redis = Redis(directory / "redis", port=ports.REDIS if fixed_ports else None)
            redis_url = redis.url
            self.servers.append(redis)
        # The admin ports follow the API's, so that CAROM_PORT moves all four.
        admin = {kind: api_port + 1 + n for n, kind in enumerate(ports.ADMIN)} if api_port else None
        inherited = {name: value for name, value in os.environ.items() if name.startswith("CAROM_")}
        self.rabbitmq_url, self.redis_url = rabbitmq_url, redis_url
        self.stack = Stack(
            rabbitmq_url,
            redis_url,
            log=log,
            env=inherited | dict(env or {}),
            api_port=api_port,
            admin_ports=admin,
        )

    def start(self) -> None:
        try:
            for server in self.servers:
                self._say(f"starting {server.label} on port {server.port}")
                server.start()
            self._say("starting intake, executor and callback")
            self.stack.start()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Services first: they drain into servers that still answer."""
        self.stack.stop()
        for server in reversed(self.servers):
            server.stop()

    def kill(self) -> None:
        self.stack.kill()
        for server in self.servers:
            server.kill()

    def ended(self) -> str | None:
        """What ended although nobody asked it to, in words."""
        for service in self.stack.services:
            if not service.alive:
                return f"carom-{service.name} ended with code {service.exit_code}"
        for server in self.servers:
            if not server.alive:
                return f"{server.label} ended; see {server.log}"
        return None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
