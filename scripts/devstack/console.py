"""Output of several processes on one terminal."""

import os
import sys
import threading

_COLOURS = {"carom": "1", "intake": "36", "executor": "33", "callback": "35"}
_lock = threading.Lock()


def _is_coloured() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def show(name: str, line: str) -> None:
    """One line under the name of who says it."""
    prefix = f"{name:<8} |"
    if _is_coloured():
        prefix = f"\x1b[{_COLOURS.get(name.partition('-')[0], '37')}m{prefix}\x1b[0m"
    with _lock:
        print(prefix, line, flush=True)


def say(line: str) -> None:
    show("carom", line)


def complain(line: str) -> None:
    with _lock:
        print(f"carom: {line}", file=sys.stderr, flush=True)
