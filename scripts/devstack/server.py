"""What the private servers share: a data directory that only one server uses, a port, readiness."""

import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from devstack.errors import DevstackError
from devstack.lock import FileLock
from devstack.ports import free_port, require_free
from devstack.process import Process, wait_until


class Place(NamedTuple):
    """Where a server is: its address, and what its commands begin with to be there (nsenter, for a namespace)."""

    host: str = "127.0.0.1"
    within: tuple[str, ...] = ()


HERE = Place()


class Server(ABC):
    """One private server; its data lives in `directory` and is found again by the next start there."""

    label: str
    start_seconds = 60.0
    stop_seconds = 30.0

    def __init__(self, directory: Path, port: int | None, place: Place = HERE) -> None:
        self.place = place
        self.directory = directory.absolute()
        self.port = port or free_port()
        self._process: Process | None = None
        self._lock = FileLock(self.directory / ".lock")

    @property
    @abstractmethod
    def url(self) -> str: ...

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    def start(self) -> None:
        """Start and wait until clients are answered."""
        if self.alive:
            return
        # An earlier run may still be on its way out.
        if not wait_until(self._lock.acquire, 5):
            raise DevstackError(f"{self.label}: {self.directory} is in use by another server")
        try:
            require_free(self.port, self.label)
            self._process = self._prepare()
            # The server inherits the lock: it is held for as long as anything of it lives, also when we are gone.
            self._process.spawn(pass_fds=[self._lock.descriptor])
            if not wait_until(lambda: self._is_ready() or not self.alive, self.start_seconds) or not self.alive:
                raise DevstackError(f"{self.label} did not start{self._last_words()}; see {self.log}")
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        if self._process:
            self._process.terminate(self.stop_seconds)
        self._lock.release()

    def kill(self) -> None:
        """SIGKILL to the server itself: a power cut."""
        if self._process:
            self._process.kill()
        self._lock.release()

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        if self._process:
            self._process.freeze()

    def resume(self) -> None:
        if self._process:
            self._process.resume()

    def wipe(self) -> None:
        """Delete the data of a stopped server."""
        if self.alive:
            raise DevstackError(f"{self.label} runs: stop it before its data is deleted")
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @abstractmethod
    def _prepare(self) -> Process: ...

    @abstractmethod
    def _is_ready(self) -> bool: ...

    def _last_words(self) -> str:
        code = self._process.exit_code if self._process else None
        return f" (it ended with code {code})" if code is not None else f" within {self.start_seconds:.0f} s"
