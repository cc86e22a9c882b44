"""`make run`: the whole of Carom on this machine until Ctrl-C. Data stays in .run/."""

import argparse
import json
import os
import signal
import sys
import time
from types import FrameType

from devstack import ports
from devstack.console import complain, say, show
from devstack.errors import DevstackError
from devstack.lock import FileLock, held_text
from devstack.paths import RUN_DIR
from devstack.session import Session

LOCK = RUN_DIR / "lock"

EXAMPLE = {
    "targetUrl": "https://httpbin.org/post",
    "method": "POST",
    "headers": {"Content-Type": "application/json"},
    "payload": {"hello": "world"},
    "callbackUrl": "https://example.com/callback",
    "maxRetries": 3,
    "retryDelay": 1000,
}


class _Stop(BaseException):
    """SIGINT, SIGTERM or SIGHUP came."""


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    raise _Stop


def api_port() -> int:
    text = os.environ.get("CAROM_PORT", str(ports.API))
    if not text.isdecimal() or not 0 < int(text) < 65_533:
        raise DevstackError(f"CAROM_PORT={text} is not a port")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--management", action="store_true", help="start RabbitMQ's management UI too")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    try:
        return _run(management=options.management)
    except (DevstackError, PermissionError) as error:
        complain(str(error))
        return 1
    except _Stop:
        say("stopped before it was up")
        return 0


def _run(*, management: bool) -> int:
    port = api_port()
    lock = FileLock(LOCK)
    if not lock.acquire():
        running = json.loads(held_text(LOCK) or "{}")
        raise DevstackError(f"it is running already (process {running.get('pid', '?')}, {running.get('api', '?')})")
    lock.write(json.dumps({"pid": os.getpid()}))
    ports.require_free(port, "API", f"CAROM_PORT={port + 10} make run takes another")
    for offset, kind in enumerate(ports.ADMIN, start=1):
        ports.require_free(port + offset, f"admin port of {kind}", f"CAROM_PORT={port + 10} make run takes others")
    session = Session(
        RUN_DIR,
        log=show,
        say=say,
        api_port=port,
        fixed_ports=True,
        management=management,
        env={"CAROM_LOG_FORMAT": os.environ.get("CAROM_LOG_FORMAT", "console")},
    )
    session.start()
    ended = None
    try:
        state = {"pid": os.getpid(), "api": session.stack.api, "admin": [s.admin for s in session.stack.services]}
        lock.write(json.dumps(state))
        _introduce(session)
        while not (ended := session.ended()):
            time.sleep(0.2)
        complain(f"{ended}: stopping the rest")
    except _Stop:
        say("stopping (Ctrl-C again: at once)")
    try:
        session.stop()
    except _Stop:
        session.kill()
        return 130
    say("stopped; data stays in .run/ (make clean removes it)")
    return 1 if ended else 0


def _introduce(session: Session) -> None:
    body = json.dumps(EXAMPLE, indent=2).replace("\n", "\n  ")
    say(f"ready: API {session.stack.api}")
    for service in session.stack.services:
        say(f"  {service.name}: {service.admin}/readyz, {service.admin}/metrics")
    if session.management_url:
        say(f"  RabbitMQ management: {session.management_url}")
    say("a first job:")
    print(f"\ncurl -X POST {session.stack.api}/api/jobs -H 'Content-Type: application/json' -d '{body}'\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
