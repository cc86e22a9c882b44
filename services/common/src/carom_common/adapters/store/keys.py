"""API keys that were made through the API, as bytes that intake alone can read.

carom:{keys}:entries   hash: id -> JSON, with the hash of the secret, never the secret
carom:{keys}:version   another text after every change; replicas look at it once a second
"""

import os
from typing import Any, Literal, NamedTuple

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.replies import pairs

_VERSION, _ENTRIES = "carom:{keys}:version", "carom:{keys}:entries"


class Looked(NamedTuple):
    """`entries` is None while the version is the known one."""

    version: str
    entries: dict[str, bytes] | None


class KeyStore:
    """Every method raises StoreUnavailable when Redis cannot be asked; asking again is safe."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    async def look(self, version: str) -> Looked:
        """The keys, unless they are those of the known version."""
        # In this order: entries may be newer than the version, which the next look then sees.
        found = (await self._batcher.run("GET", _VERSION) or b"0").decode()
        return Looked(found, None if found == version else await self.all())

    async def all(self) -> dict[str, bytes]:
        return {name.decode(): entry for name, entry in pairs(await self._batcher.run("HGETALL", _ENTRIES))}

    async def fetch(self, key_id: str) -> bytes | None:
        entry: bytes | None = await self._batcher.run("HGET", _ENTRIES, key_id)
        return entry

    async def add(self, key_id: str, entry: bytes) -> Literal["made", "exists"]:
        """Keep a key under an id that has none."""
        made = await self._change("HSETNX", _ENTRIES, key_id, entry)
        # The batcher may send a command again whose reply was lost: then it is there, and ours.
        return "made" if made or await self.fetch(key_id) == entry else "exists"

    async def drop(self, key_id: str) -> None:
        await self._change("HDEL", _ENTRIES, key_id)

    async def _change(self, *command: Any) -> Any:
        # Random, not counted: after a loss of data a count would begin anew, and might seem to be the known one.
        return await self._batcher.run(*command, also=(("SET", _VERSION, os.urandom(8).hex()),))
