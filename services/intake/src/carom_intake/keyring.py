"""The API keys: those of a file, read again whenever it has changed, and those that were made through the API."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.adapters.store.keys import KeyStore
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_intake.domain.addresses import Address
from carom_intake.domain.keys import InvalidKeys, Key, Keys, Refusal, StoredKey, parse_keys, parse_stored

WATCH_SECONDS = 1.0
LOOK_TIMEOUT_SECONDS = 5.0
FIRST_LOOK_SECONDS = 2.0

log = get_logger()


class KeysUnknown(Exception):
    """The store has not been read yet, and a token may be of a key that is there."""


def read_keys(path: Path) -> tuple[bytes, Keys]:
    """What is in the file, and the keys in it; raises InvalidKeys with one line."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidKeys(f"{path}: {error.strerror}") from None
    return text, _parse(path, text)


def _parse(path: Path, text: bytes) -> Keys:
    try:
        return parse_keys(text)
    except InvalidKeys as error:
        raise InvalidKeys(f"{path}: {error}") from None


class KeyRing:
    """The keys as file and store last had them. The file's win; it is what it was when it was good last."""

    def __init__(self, path: Path | None, store: KeyStore) -> None:
        self.store = store
        self._path = path
        self._seen: bytes | str = b""
        """What was found last: the file's content, or why there is none."""
        self._file, self._stored = Keys(), Keys()
        self._version = ""
        if path is not None:
            self._seen, self._file = read_keys(path)
            metrics.file_rejected.labels("keys").set(0)
            log.info("keys_loaded", count=len(self._file))
        self._keys = self._file
        metrics.key_expiry.set_function(lambda: self._keys.next_expiry(datetime.now(UTC)))

    @property
    def of_file(self) -> Mapping[str, Key]:
        return self._file.by_id

    def verify(self, authorization: Sequence[str], address: Callable[[], Address | None]) -> Key | Refusal:
        """Raises KeysUnknown where the store alone could tell, and could not be asked since the start."""
        found = self._keys.verify(authorization, datetime.now(UTC), address)
        if found is Refusal.UNKNOWN and not self._version:
            raise KeysUnknown
        return found

    async def watch(self) -> None:
        """Follow file and store for ever; each is looked at once a second."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_store())
            if self._path is not None:
                group.create_task(self._watch_file(self._path))

    async def begin(self) -> None:
        """Look at the store before the first request does, if it answers at once."""
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_SECONDS):
                await self.look()

    async def look(self) -> None:
        """Ask the store once; raises StoreUnavailable."""
        version, entries = await self.store.look(self._version)
        if entries is not None:
            self._stored = Keys(_readable(entries))
            self._version = version
            self._merge()
            log.info("stored_keys_loaded", count=len(self._stored))

    def _merge(self) -> None:
        self._keys = Keys((*self._stored.by_id.values(), *self._file.by_id.values()))

    async def _watch_store(self) -> None:
        """While the store is away, what is known stays in force; runtime.watch says that it is away."""
        while True:
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
                    await self.look()
            await asyncio.sleep(WATCH_SECONDS)

    async def _watch_file(self, path: Path) -> None:
        """It is read, not only looked at: Kubernetes swaps a symlink above it, others write into it, and two changes
        of one size may share a time.
        """
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if (keys := await asyncio.to_thread(self._read_again, path)) is not None:
                self._file = keys
                self._merge()
                log.info("keys_loaded", count=len(keys))

    def _read_again(self, path: Path) -> Keys | None:
        """The keys of the file where it has changed and is good."""
        try:
            seen: bytes | str = path.read_bytes()
        except OSError as error:
            seen = f"{path}: {error.strerror}"
        if seen == self._seen:
            return None
        self._seen = seen
        try:
            if isinstance(seen, str):
                raise InvalidKeys(seen)
            keys = _parse(path, seen)
        except InvalidKeys as error:
            metrics.file_rejected.labels("keys").set(1)
            log.error("keys_rejected", reason=str(error), kept=len(self._file))
            return None
        metrics.file_rejected.labels("keys").set(0)
        return keys


def _readable(entries: Mapping[str, bytes]) -> list[StoredKey]:
    found = []
    for key_id, entry in entries.items():
        if (key := parse_stored(entry)) is not None:
            found.append(key)
        else:
            log.error("key_unreadable", key_id=key_id)
    return found
