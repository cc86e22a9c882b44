"""Two replicas of every service, some of them dead, and an API behind whichever intake is alive."""

import itertools
import time
from typing import Any

import httpx
from tests.support.waiting import WITHIN

from devstack.process import wait_until
from devstack.services import Service, Stack


class Unknown(Exception):
    """Nobody knows whether a request was taken: its connection broke, or it was answered with 503."""


class Replicas:
    """Kills, restarts and asks them. Not for several threads, but for `ask_one`."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._turns = itertools.count()
        self._clients: dict[str, httpx.Client] = {}

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def pick(self, kind: str, which: int) -> Service:
        return self.stack.of(kind)[which]

    def down(self) -> list[Service]:
        return [service for service in self.stack.services if not service.alive]

    def may_go(self, service: Service) -> bool:
        """One intake stays, or there is nobody to ask."""
        others = [s for s in self.stack.of("intake") if s.alive and s is not service]
        return service.alive and (service.kind != "intake" or bool(others))

    def start(self, service: Service) -> None:
        """Start a replica that is down; an intake until it has its broker."""
        if service.kind == "intake" and service.name in self._clients:
            self._clients.pop(service.name).close()
        service.start()
        if service.kind == "intake":
            assert wait_until(lambda: self._is_connected(service), WITHIN), f"{service.name} is not connected"

    def _is_connected(self, service: Service) -> bool:
        checks = httpx.get(f"{service.admin}/readyz?verbose", trust_env=False).json()
        return bool(checks["broker"] == checks["store"] == "ok")

    def intakes(self) -> list[Service]:
        """Those that are alive, each time another one first."""
        alive = [service for service in self.stack.of("intake") if service.alive]
        turn = next(self._turns) % len(alive)
        return alive[turn:] + alive[:turn]

    def new_client(self, service: Service) -> httpx.Client:
        return httpx.Client(base_url=service.url, trust_env=False, timeout=30)

    def client(self, service: Service) -> httpx.Client:
        if service.name not in self._clients:
            self._clients[service.name] = self.new_client(service)
        return self._clients[service.name]

    def ask_one(self, client: httpx.Client, method: str, path: str, **how: Any) -> httpx.Response:
        """One request; raises Unknown."""
        try:
            answer = client.request(method, path, **how)
        except httpx.TransportError as error:
            raise Unknown(f"{type(error).__name__}") from error
        if answer.status_code == 503:
            raise Unknown(answer.text)
        assert answer.status_code < 500, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Ask one intake after the other until one answers: for what may safely be asked twice."""
        deadline = time.monotonic() + WITHIN
        while True:
            try:
                return self.ask_one(self.client(self.intakes()[0]), method, path, **how)
            except Unknown:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def get(self, path: str) -> dict[str, Any]:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def pages(self, path: str, name: str) -> list[dict[str, Any]]:
        """A whole list, in small pages."""
        found: list[dict[str, Any]] = []
        page = self.get(f"{path}&limit=20")
        while True:
            found += page[name]
            if page["nextCursor"] is None:
                return found
            page = self.get(f"{path}&limit=20&cursor={page['nextCursor']}")
