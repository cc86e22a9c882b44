"""Replicas of intake that want keys, beside the session's own stack, and clients of them."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from tests.support.client import Api, connected

from carom_intake.domain.keys import NewKey
from devstack.services import Service


def keys_text(*keys: NewKey) -> str:
    """A file of keys."""
    return json.dumps({"keys": [msgspec.to_builtins(made.key) for made in keys]})


class Intakes:
    """Some replicas on the same broker and store."""

    def __init__(self, services: list[Service]) -> None:
        self.services = services
        self._clients: list[Api] = []

    def api(self, token: str | None, replica: int = 0) -> Api:
        client = Api(self.services[replica].url)
        if token:
            client.http.headers["Authorization"] = f"Bearer {token}"
        self._clients.append(client)
        return client

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()
        for service in self.services:
            service.terminate()


@asynccontextmanager
async def intakes(
    directory: Path, env: Mapping[str, str], *keys: NewKey, replicas: int = 1, wait: bool = True
) -> AsyncIterator[Intakes]:
    """Start them with a file of these keys; logs go to `<directory>/intake-<n>.log`."""
    env = {**env, "CAROM_AUTH": "keys", "CAROM_KEYS_FILE": _written(directory, keys)}
    services = [Service("intake", env, log=directory / f"intake-{n}.log") for n in range(replicas)]
    started = Intakes(services)
    try:
        for service in services:
            service.start()
        if wait:
            for service in services:
                await connected(service)
        yield started
    finally:
        await started.aclose()


def _written(directory: Path, keys: tuple[NewKey, ...]) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "keys.json"
    file.write_text(keys_text(*keys))
    return str(file)
