"""What operators and processes tell each other through Redis: pauses, rules, open circuits, permits and tokens.

`carom:{control}:*` holds what concerns all, `carom:{dest:<host>}:*` what concerns one destination; Lua: scripts/*.lua.
All methods raise StoreUnavailable; asking again is safe.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.index import index_key
from carom_common.adapters.store.inventory import ASKED_KEY
from carom_common.adapters.store.replies import pairs
from carom_common.adapters.store.tenants import Tenants
from carom_common.domain.pauses import Pause, decode_pause, encode_pause
from carom_common.domain.rules import Rule, decode_rule, encode_rule

PERMIT_LEASE_MS = 5000
PROBE_LEASE_MS = 30_000
MAX_PAUSES = 1000
MAX_RULES = 10_000
MAX_COUNTED = 10_000

_VERSION, _PAUSES, _RULES = "carom:{control}:version", "carom:{control}:pauses", "carom:{control}:destinations"
_OPEN, _CLOSED, _PROVEN = "carom:{control}:open", "carom:{control}:closed", "carom:{control}:proven"


class Found(NamedTuple):
    """What a look found. `pauses` and `rules` are None while their version is the known one.

    Of hosts: when their circuit opened or closed, or when they answered, in ms before now. `asked`: the question of a
    check (inventory.py) that is open, or nothing.
    """

    now: int
    version: str
    pauses: list[Pause] | None
    rules: dict[str, Rule] | None
    opened: list[tuple[str, int]]
    closed: list[tuple[str, int]]
    proven: list[tuple[str, int]]
    asked: str = ""


class Live(NamedTuple):
    """One destination now: calls under way or about to be in all processes, and ms since its circuit opened.

    `at` is when that was, in Unix milliseconds by the store's clock, which leases run by.
    """

    permits: int
    waiting: int
    opened_ago: int | None
    at: int


class ControlStore:
    """The shared part of pauses, limits and circuits; `process` names this process in it."""

    def __init__(self, batcher: Batcher, process: str = "") -> None:
        self._batcher = batcher
        self._process = process
        self.tenants = Tenants(batcher)
        register = batcher.register
        self._control, self._circuit = register("control"), register("circuit")
        self._permits, self._tokens = register("permits"), register("tokens")

    @property
    def healthy(self) -> bool:
        return self._batcher.healthy

    async def look(self, version: str, last: int, proven: Sequence[str] = ()) -> Found:
        """What changed since the look that gave `version` and `last`; tells others of hosts that answered."""
        keys = (_VERSION, _PAUSES, _RULES, _OPEN, _CLOSED, _PROVEN, ASKED_KEY)
        reply = await self._batcher.run("EVALSHA", self._control, len(keys), *keys, version, last, *proven)
        now, found = int(reply[0]), reply[1].decode()
        changed = found != version
        opened, closed, proven_lately = (
            [(host.decode(), max(0, now - int(float(at)))) for host, at in pairs(part)] for part in reply[4:7]
        )
        return Found(
            now,
            found,
            [decode_pause(value) for value in reply[2]] if changed else None,
            {host.decode(): decode_rule(rule) for host, rule in pairs(reply[3])} if changed else None,
            opened,
            closed,
            proven_lately,
            reply[7].decode(),
        )

    # Permits, tokens and circuits of one destination

    async def permits(self, host: str, used: int, wanted: int, limit: int, *, waits: bool) -> tuple[int, int]:
        """Borrow permits for 5 s, or give back; gives how many calls it may have now, and how many others wait.

        Fewer than are used where the limit was lowered.
        """
        args = (self._process, used, wanted, limit, PERMIT_LEASE_MS, int(waits))
        got, waiting = await self._batcher.run("EVALSHA", self._permits, 1, f"carom:{{dest:{host}}}:permits", *args)
        return int(got), int(waiting)

    async def tokens(self, host: str, rate: float, burst: int, count: int) -> tuple[int, int]:
        """Take at most `count` tokens; gives how many there were, and ms until the next."""
        key = f"carom:{{dest:{host}}}:tokens"
        taken, wait = await self._batcher.run("EVALSHA", self._tokens, 1, key, rate, burst, count)
        return int(taken), int(wait)

    async def open(self, host: str) -> None:
        await self._on_circuit("open", host)

    async def close(self, host: str) -> None:
        await self._on_circuit("close", host)

    async def probe(self, host: str, open_seconds: float) -> bool:
        """Whether this process may make the one call that finds out; for 30 s."""
        return bool(await self._on_circuit("probe", host, int(open_seconds * 1000)))

    async def give_back_probe(self, host: str) -> None:
        await self._on_circuit("give-back", host)

    async def _on_circuit(self, what: str, host: str, open_ms: int = 0) -> Any:
        keys = (_OPEN, _CLOSED, f"carom:{{control}}:probe:{host}")
        return await self._batcher.run(
            "EVALSHA", self._circuit, 3, *keys, *(what, host, self._process, PROBE_LEASE_MS, open_ms)
        )

    async def live(self, host: str) -> Live:
        """One destination as it is now."""
        entries = await self._batcher.run("HGETALL", f"carom:{{dest:{host}}}:permits")
        seconds, micros = await self._batcher.run("TIME")
        opened = await self._batcher.run("ZSCORE", _OPEN, host)
        now = int(seconds) * 1000 + int(micros) // 1000
        counts = {b"h": 0, b"w": 0}
        for name, value in pairs(entries):
            number, _, until = value.partition(b":")
            if int(until) > now:
                counts[name[:1]] += int(number) if name[:1] == b"h" else 1
        return Live(counts[b"h"], counts[b"w"], None if opened is None else max(0, now - int(float(opened))), now)

    async def held_for(self, host: str, tenant: str) -> int:
        """Jobs of a tenant for this destination that are held, whatever for; at most 10,000 are counted."""
        keys = (index_key(tenant, f"host:{host}"), index_key(tenant, "held"))
        return int(await self._batcher.run("ZINTERCARD", 2, *keys, "LIMIT", MAX_COUNTED))

    # What operators set

    async def set_rule(self, host: str, rule: Rule) -> None:
        await self._change("HSET", _RULES, host, encode_rule(rule))

    async def drop_rule(self, host: str) -> bool:
        """Back to the defaults; False when nothing was set."""
        return bool(await self._change("HDEL", _RULES, host))

    async def rules(self) -> dict[str, Rule]:
        return {host.decode(): decode_rule(rule) for host, rule in pairs(await self._batcher.run("HGETALL", _RULES))}

    async def rule(self, host: str) -> Rule | None:
        """What was set for one destination."""
        found = await self._batcher.run("HGET", _RULES, host)
        return None if found is None else decode_rule(found)

    async def pause(self, pause: Pause) -> None:
        """Begin a pause, unless it is in force already."""
        await self._change("HSETNX", _PAUSES, pause.id, encode_pause(pause))

    async def resume(self, pause_id: str) -> None:
        await self._change("HDEL", _PAUSES, pause_id)

    async def _change(self, *command: Any) -> Any:
        # Random, not counted: after a loss of data a count would begin anew, and might seem to be the known one.
        return await self._batcher.run(*command, also=(("SET", _VERSION, os.urandom(8).hex()),))

    async def pauses(self) -> list[Pause]:
        return [decode_pause(value) for value in await self._batcher.run("HVALS", _PAUSES)]
