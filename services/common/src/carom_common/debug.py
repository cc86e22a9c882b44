"""`/debug/tasks`: what this process is doing. Names, numbers and places in the code; no value of any variable.

Nothing of a request, a job's payload or a setting that somebody wrote as text is in it.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_origin

from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.store import Store
from carom_common.admin import Health
from carom_common.domain.clock import now_ms, rfc3339
from carom_common.settings import Settings
from carom_common.version import USER_AGENT

MAX_TASKS = 1000
MAX_DEPTH = 12
LAG_SECONDS = 0.01
LAG_SAMPLES = 5

Parts = Mapping[str, Callable[[], Any]]


def connections(store: Store, publisher: Publisher) -> Parts:
    """What waits for the broker and for the store."""

    def broker() -> dict[str, Any]:
        count, oldest = publisher.unconfirmed
        return {"unconfirmed": count, "oldestUnconfirmedSeconds": round(oldest, 3)}

    return {"broker": broker, "store": lambda: {"waiting": store.batcher.waiting}}


class Debug:
    """`parts` are what this service adds: each gives JSON, at once."""

    def __init__(self, service: str, process: str, settings: Settings, health: Health, parts: Parts) -> None:
        self._head = {"service": service, "process": process, "version": USER_AGENT}
        self._settings = settings
        self._health = health
        self._parts = parts
        self._started = time.monotonic()

    async def report(self) -> dict[str, Any]:
        """All of it, as of now; takes as long as the loop lags, and 50 ms."""
        lag = await _lag()
        tasks = sorted(asyncio.all_tasks(), key=asyncio.Task.get_name)
        return {
            **self._head,
            "at": rfc3339(now_ms()),
            "upSeconds": round(time.monotonic() - self._started, 3),
            "loopLagMs": round(lag * 1000, 3),
            "loops": {name: round(age, 3) for name, age in self._health.ages().items()},
            "state": self._health.state(),
            **{name: part() for name, part in self._parts.items()},
            "tasksTotal": len(tasks),
            "tasks": [{"name": task.get_name(), "stack": stack_of(task)} for task in tasks[:MAX_TASKS]],
            "settings": plain_settings(self._settings),
        }


async def _lag() -> float:
    """By how many seconds the loop is late at most, in a few short sleeps."""
    loop, most = asyncio.get_running_loop(), 0.0
    for _ in range(LAG_SAMPLES):
        due = loop.time() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        most = max(most, loop.time() - due)
    return most


def stack_of(task: asyncio.Task[Any]) -> list[str]:
    """Where a task stands, outermost first: `module:line function` of each coroutine that waits for the next."""
    return list(_frames(task.get_coro()))


def _frames(coroutine: Any) -> Iterator[str]:
    for _ in range(MAX_DEPTH):
        frame = _first(coroutine, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            yield f"{frame.f_globals.get('__name__', '?')}:{frame.f_lineno} {frame.f_code.co_name}"
        coroutine = _first(coroutine, "cr_await", "gi_yieldfrom", "ag_await")
        if coroutine is None:
            return


def _first(thing: Any, *names: str) -> Any:
    return next((found for name in names if (found := getattr(thing, name, None)) is not None), None)


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Numbers, switches and choices from a list; never text that somebody wrote, which may hold a secret."""
    found = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        numbers = isinstance(value, tuple) and bool(value) and all(isinstance(each, int | float) for each in value)
        if isinstance(value, bool | int | float) or numbers or get_origin(field.annotation) is Literal:
            found[name] = value
    return found
