"""Retries that storm at one host are told, and the host is named in the log alone."""

import asyncio
from typing import Any

import pytest

from carom_common import registry
from carom_common.control import Control
from carom_common.domain.rules import Limits, RuleBook
from carom_common.registry import STORM_SECONDS, Registry
from carom_common.telemetry import metrics


class Log:
    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event, **fields})


async def test_the_host_with_the_most_retries_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(registry, "log", log)
    control = Control(store=None, rules=RuleBook(Limits(10), {}))  # type: ignore[arg-type]
    known: Registry[object] = Registry(control, lambda host: None)
    began = asyncio.get_running_loop().time()
    gauge = metrics.destination_retries.labels()
    known.of("calm.example:443").retries = 3
    known.of("storm.example:443").retries = 90
    known.look_for_storms(began + STORM_SECONDS / 2)
    assert log.lines == []
    known.look_for_storms(began + STORM_SECONDS)
    assert gauge.read() == pytest.approx(6, rel=0.01)
    assert log.lines == [{"event": "retries_storming", "host": "storm.example:443", "per_second": 6.0}]
    known.of("calm.example:443").retries = 3
    known.look_for_storms(began + 2 * STORM_SECONDS)
    assert gauge.read() == pytest.approx(0.2, rel=0.01)
    assert len(log.lines) == 1
