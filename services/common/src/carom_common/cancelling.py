"""Cancellations that a library has swallowed.

Some do in one iteration of the loop, as asyncio.wait_for before Python 3.12 (gh-86296): the task goes on as if nobody
had told it to end, and what has the timer waits for ever.
"""

import asyncio


def cancellations() -> int:
    """How often the running task was told to end, by a timeout or by somebody, and has not answered yet."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def answer_cancellation(before: int) -> None:
    """Raises CancelledError where the task was told to end since `cancellations()` was `before`."""
    if cancellations() > before:
        raise asyncio.CancelledError
