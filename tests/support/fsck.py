"""`carom-fsck` as an operator runs it."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from devstack.process import clean_environment


class Ran(NamedTuple):
    """What it said and how it ended."""

    code: int
    report: dict[str, Any]
    log: str

    def found(self, what: str) -> int:
        return int(self.report["counts"][what]["found"])

    def repaired(self, what: str) -> int:
        return int(self.report["counts"][what]["repaired"])

    @property
    def all_found(self) -> int:
        return sum(count["found"] for count in self.report["counts"].values())


class Fsck:
    """Runs it in an environment; by default with little patience, for tests are in a hurry."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = clean_environment("CAROM_", "RABBITMQ_", "REDIS_") | {"CAROM_LOG_FORMAT": "json"} | dict(env)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        command = Path(sys.prefix) / "bin" / "carom-fsck"
        return await asyncio.create_subprocess_exec(
            command, *arguments, env=self._env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )

    async def __call__(self, *arguments: str, grace: float = 0, wait: float = 60, held: float = 60) -> Ran:
        patience = ("--grace", str(grace), "--wait", str(wait), "--held", str(held))
        process = await self.start("--json", *patience, *arguments)
        async with asyncio.timeout(120):
            out, log = await process.communicate()
        assert process.returncode in (0, 1, 2), log.decode()
        assert out.count(b"\n") == 1, (out, log)
        return Ran(process.returncode, json.loads(out), log.decode())
