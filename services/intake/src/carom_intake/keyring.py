"""The file of API keys, read at start and again whenever it has changed."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from carom_common.telemetry.logging import get_logger
from carom_intake.domain.keys import InvalidKeys, Key, Keys, Refusal, parse_keys

WATCH_SECONDS = 1.0

log = get_logger()


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
    """The keys as the file last had them when it was good."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: bytes | str
        """What was found last: the file's content, or why there is none."""
        self._seen, self._keys = read_keys(path)
        log.info("keys_loaded", count=len(self._keys))

    def verify(self, authorization: list[str]) -> Key | Refusal:
        return self._keys.verify(authorization, datetime.now(UTC))

    async def watch(self) -> None:
        """Follow the file for ever. It is read, not only looked at: Kubernetes swaps a symlink above it, others write
        into it, and two changes of one size may share a time.
        """
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await asyncio.to_thread(self._look)

    def _look(self) -> None:
        try:
            seen: bytes | str = self._path.read_bytes()
        except OSError as error:
            seen = f"{self._path}: {error.strerror}"
        if seen == self._seen:
            return
        self._seen = seen
        try:
            if isinstance(seen, str):
                raise InvalidKeys(seen)
            self._keys = _parse(self._path, seen)
        except InvalidKeys as error:
            log.error("keys_rejected", reason=str(error), kept=len(self._keys))
        else:
            log.info("keys_loaded", count=len(self._keys))
