"""One child process that cannot outlive us: start, stop, kill, freeze, and its output."""

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from devstack.errors import DevstackError

Log = Path | Callable[[str, str], None]
"""Where output goes: a file to append to, or a function that gets (name of the process, line)."""

_spawns: "queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]"
_spawns = queue.SimpleQueue()
_spawner_lock = threading.Lock()
_spawner: threading.Thread | None = None


def clean_environment(*prefixes: str) -> dict[str, str]:
    """Our environment without what would steer the child by accident."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def wait_until(ready: Callable[[], bool], seconds: float, interval: float = 0.05) -> bool:
    """Poll until `ready()`; False when it is not after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


def _spawn(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    # The kernel sends the death signal when the *thread* that forked ends, so all forks come from one that never does.
    global _spawner
    with _spawner_lock:
        if _spawner is None or not _spawner.is_alive():
            _spawner = threading.Thread(target=_serve_spawns, name="devstack-spawner", daemon=True)
            _spawner.start()
    future: Future[subprocess.Popen[bytes]] = Future()
    _spawns.put((start, future))
    return future.result()


def _serve_spawns() -> None:
    while True:
        start, future = _spawns.get()
        try:
            future.set_result(start())
        except BaseException as error:
            future.set_exception(error)


class Process:
    """A child process in a session of its own, so that Ctrl-C reaches only us and we choose the order of stopping."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Log) -> None:
        self.name = name
        self.command = list(command)
        self.env = dict(env)
        self.log = log
        self._popen: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen else None

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """As the shell tells it (negative: the signal); None while it runs or before it ran."""
        return self._popen.poll() if self._popen else None

    def spawn(self, pass_fds: Sequence[int] = ()) -> None:
        if self.alive:
            raise DevstackError(f"{self.name} runs already")
        guard = shutil.which("setpriv")
        command = [guard, "--pdeathsig", "KILL", "--", *self.command] if guard else self.command
        with contextlib.ExitStack() as stack:
            if isinstance(self.log, Path):
                self.log.parent.mkdir(parents=True, exist_ok=True)
                stdout: int = stack.enter_context(self.log.open("ab")).fileno()
            else:
                stdout = subprocess.PIPE

            def start() -> subprocess.Popen[bytes]:
                return subprocess.Popen(
                    command,
                    env=self.env,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=pass_fds,
                )

            try:
                self._popen = _spawn(start)
            except OSError as error:
                raise DevstackError(f"{self.name} cannot be started: {error}") from error
        if not isinstance(self.log, Path):
            self._reader = threading.Thread(target=self._relay, args=(self._popen, self.log), daemon=True)
            self._reader.start()

    def terminate(self, seconds: float = 30) -> int | None:
        """SIGTERM, then SIGKILL after `seconds`; gives the exit code."""
        if self._popen is None:
            return None
        if self.alive:
            self.resume()
            self._popen.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(seconds)
        return self.kill()

    def kill(self) -> int | None:
        """SIGKILL to the process and to whatever it started."""
        if self._popen is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        code = self._popen.wait()
        if self._reader:
            self._reader.join(5)
            self._reader = None
        return code

    def freeze(self) -> None:
        """SIGSTOP: alive and silent, like a node in trouble."""
        if self._popen and self.alive:
            self._popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._popen and self.alive:
            self._popen.send_signal(signal.SIGCONT)

    def _relay(self, popen: subprocess.Popen[bytes], sink: Callable[[str, str], None]) -> None:
        assert popen.stdout is not None
        with popen.stdout as lines:
            for line in lines:
                sink(self.name, line.decode(errors="replace").rstrip())
