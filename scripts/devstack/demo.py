"""`make demo`: one job whose target fails twice, followed from its acceptance to its callback."""

import argparse
import base64
import contextlib
import json
import os
import queue
import secrets
import signal
import sys
import time
import urllib.error
from collections.abc import Iterator
from datetime import datetime
from types import FrameType
from typing import Any

from devstack.errors import DevstackError
from devstack.lock import held_text
from devstack.paths import RUN_DIR
from devstack.peers import Received, Receiver, Target
from devstack.probe import call, status_of
from devstack.process import wait_until
from devstack.run import EXAMPLE, LOCK
from devstack.session import Session

SECONDS = 60


class Story:
    """Prints what happens with the time since the job was sent."""

    def __init__(self) -> None:
        self._start = time.time()
        self._status = self._told = ""
        self._attempts = 0

    def tell(self, text: str) -> None:
        print(f"  {time.time() - self._start:+7.2f} s  {text}", flush=True)

    def follow(self, job: dict[str, Any]) -> None:
        """Tell what is new in a job's record."""
        for attempt in job.get("attemptsLog", [])[self._attempts :]:
            self._attempts += 1
            outcome = "succeeded" if attempt.get("success") else "failed"
            reason = attempt.get("statusCode") or attempt.get("error") or "no answer"
            self.tell(f"attempt {attempt.get('attempt')} {outcome} with {reason}")
        if (status := str(job.get("status"))) != self._status:
            self._status = status
            self.tell(status)
        if (at := job.get("nextAttemptAt")) and at != self._told:
            self._told = at
            due = datetime.fromisoformat(at).timestamp() - self._start
            self.tell(f"next attempt at {at} ({due:+.2f} s)")


def main() -> int:
    argparse.ArgumentParser(prog="make demo", description=__doc__).parse_args()
    signal.signal(signal.SIGTERM, _on_signal)
    try:
        with _api() as api, Target(failures=2) as target, Receiver() as receiver:
            return _demo(api, target, receiver)
    except (DevstackError, PermissionError) as error:
        print(f"carom: {error}", file=sys.stderr)
    except urllib.error.HTTPError as error:
        print(f"carom: {error.url} answered {error.code}: {error.read(500).decode(errors='replace')}", file=sys.stderr)
    except OSError as error:
        print(f"carom: the API cannot be reached: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    return 1


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _api() -> Iterator[str]:
    """The API of the stack that `make run` has up, else of one that lives as long as the demo."""
    if held_text(LOCK) is not None:
        print("using the stack of make run", flush=True)
        if not wait_until(lambda: _running() is not None, SECONDS, 0.2):
            raise DevstackError("make run is not ready")
        yield _running() or ""
        return
    directory = RUN_DIR / "demo"
    # With a secret, so that the callback shows its signature.
    secret = os.environ.get("CAROM_CALLBACK_SECRET") or "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    env = {"CAROM_CALLBACK_SECRET": secret}
    with Session(directory, log=directory / "log", say=lambda text: print(text, flush=True), env=env) as session:
        yield session.stack.api
        print(f"stopping; the services' logs are in {(directory / 'log').relative_to(RUN_DIR.parent)}/", flush=True)


def _running() -> str | None:
    """Base URL of the stack of `make run` when all of it is ready."""
    with contextlib.suppress(ValueError, KeyError):
        state = json.loads(held_text(LOCK) or "")
        if all(status_of(f"{admin}/readyz") == 200 for admin in state["admin"]):
            return str(state["api"])
    return None


def _demo(api: str, target: Target, receiver: Receiver) -> int:
    job = EXAMPLE | {"targetUrl": target.url, "callbackUrl": receiver.url}
    print(f"POST {api}/api/jobs\n{json.dumps(job, indent=2)}\n(the target answers 503 twice, then 200)", flush=True)
    story = Story()
    accepted = call(f"{api}/api/jobs", job)
    story.tell(f"accepted: {json.dumps(accepted)}")
    deadline = time.monotonic() + SECONDS
    callback: Received | None = None
    while callback is None and time.monotonic() < deadline:
        story.follow(call(f"{api}/api/jobs/{accepted['jobId']}"))
        with contextlib.suppress(queue.Empty):
            callback = receiver.received.get(timeout=0.05)
    if callback is None:
        raise DevstackError(f"no callback within {SECONDS} s")
    story.follow(call(f"{api}/api/jobs/{accepted['jobId']}"))
    story.tell(f"callback received at {receiver.url}")
    for name, value in callback.headers.items():
        if name.startswith("webhook-"):
            print(f"{name}: {value}")
    print(json.dumps(callback.body, indent=2), flush=True)
    status = callback.body.get("status") or callback.body.get("data", {}).get("status")
    if status != "completed":
        raise DevstackError(f"the callback says {status}, not completed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
