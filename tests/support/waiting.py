"""Waiting for something to become true, with a deadline and a reason to print when it does not."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

WITHIN = 20.0
"""Seconds that a busy machine may take for what normally takes milliseconds."""


@overload
async def eventually(
    ask: Callable[[], Awaitable[T | None]], what: str, within: float = WITHIN, interval: float = 0.01
) -> T: ...


@overload
async def eventually(ask: Callable[[], T | None], what: str, within: float = WITHIN, interval: float = 0.01) -> T: ...


async def eventually(ask: Callable[[], Any], what: str, within: float = WITHIN, interval: float = 0.01) -> Any:
    """The first true answer of `ask`; fails with `what` after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        answer = ask()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}")
        await asyncio.sleep(interval)
