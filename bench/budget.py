"""Where the CPU of a job goes: the services sampled while bursts are worked off, and their stacks put into rows.

What a burst costs is measured without samples, before and after: sampling stops a process for a moment each time.
"""

import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from bench.bursts import Contender, Way
from bench.report import say, table, title
from bench.stand import Stand
from devstack.errors import DevstackError
from devstack.process import wait_until
from devstack.services import KINDS

BURSTS, SAMPLED_BURSTS, BURST_JOBS = 6, 4, 2000
SAMPLES_PER_SECOND = 250
START_SECONDS, WRITE_SECONDS = 5, 20


class Row(NamedTuple):
    """What functions do, by the starts of `file function`: the innermost of a stack that is named here decides."""

    name: str
    functions: tuple[str, ...]


_ADAPTERS = "carom_common/adapters"
_STEPS = "carom_common/steps.py FourSteps."
_TO_STORE = tuple(
    f"{_ADAPTERS}/store/{module}.py"
    for module in ("executions", "callbacks", "transitions", "index", "stats", "tenants", "keys")
)
_REDIS = (f"{_ADAPTERS}/store/", "redis/", "hiredis/")
_SHARED = (
    Row("metrics", ("carom_common/telemetry/metrics/", "carom_common/telemetry/marks.py", f"{_STEPS}_mark_claimed")),
    Row("events, traces", ("carom_common/telemetry/", "structlog/")),
)
_CONSUMER = (
    Row("consume: frames, decode", (f"{_ADAPTERS}/amqp/", "carom_common/contracts/message.py decode_")),
    Row("publish, confirm", (f"{_ADAPTERS}/amqp/publisher.py", f"{_ADAPTERS}/amqp/connection.py Connection._flush",
        f"{_ADAPTERS}/amqp/wire.py content", f"{_ADAPTERS}/amqp/channel.py Channel.publish",
        f"{_ADAPTERS}/amqp/channel.py Channel._on_confirm", f"{_STEPS}_finish", f"{_STEPS}_publish")),
    Row("ack", (f"{_ADAPTERS}/amqp/acks.py", "carom_common/work.py Work.ack")),
    Row("gate, slots", ("carom_common/gate.py", "carom_common/hosts.py", "carom_common/lending.py",
        "carom_common/workloop.py", "carom_common/domain/bulkhead.py", "carom_common/domain/circuit.py",
        "carom_common/domain/pauses.py", "carom_common/domain/destinations.py")),
    Row("claim, settle: what to say", _TO_STORE),
    Row("claim, settle: Redis", _REDIS),
    Row("call: guard, timeout, body", (f"{_ADAPTERS}/egress/",)),
    Row("call: aiohttp", ("aiohttp/", "aiohappyeyeballs/", "yarl/", "multidict/")),
    Row("sign", ("carom_common/domain/signatures.py", "carom_common/signing.py")),
    Row("judge, compose", ("carom_executor/subscribers.py", "carom_executor/domain.py", "carom_executor/detail.py",
        "carom_callback/subscribers.py", "carom_callback/domain.py", "carom_common/domain/",
        "carom_common/contracts/")),
    Row("four steps", ("carom_common/steps.py", "carom_common/work.py")),
)  # fmt: skip
ROWS: dict[str, tuple[Row, ...]] = {
    "intake": (
        Row("HTTP: uvicorn", ("uvicorn/", "carom_intake/protocol.py")),
        Row("HTTP: Starlette", ("starlette/", "carom_intake/middleware.py", "carom_intake/api.py")),
        Row("caller, limits", ("carom_intake/auth.py", "carom_intake/keyring.py", "carom_intake/rates.py",
            "carom_intake/admission.py", "carom_intake/domain/keys.py", "carom_intake/quotas.py",
            f"{_ADAPTERS}/store/backlog.py")),
        Row("parse, validate", ("carom_intake/reading.py", "carom_intake/domain/", "carom_common/domain/",
            "carom_common/contracts/")),
        Row("record: what to say", _TO_STORE),
        Row("record: Redis", _REDIS),
        Row("publish, confirm", (f"{_ADAPTERS}/amqp/", "carom_intake/sending.py")),
        Row("accept", ("carom_intake/accepting.py", "carom_intake/once.py", "carom_intake/lanes.py",
            "carom_intake/routes/")),
        *_SHARED,
    ),
    "executor": _CONSUMER + _SHARED,
    "callback": _CONSUMER + _SHARED,
}  # fmt: skip
LOOP = Row("event loop, sockets", ("asyncio/", "uvloop/"))

_FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^():]+)(:\d+)?\)")


def row_of(frames: Iterable[str], rows: tuple[Row, ...]) -> str | None:
    """Which row a stack belongs to, innermost frame first, each as `file function`; None off the event loop.

    Threads that wait for work are sampled as if they had some.
    """
    on_loop = False
    for frame in frames:
        # The longest start that fits, so that one function of a file can have a row of its own.
        fits = [(len(start), row.name) for row in rows for start in row.functions if frame.startswith(start)]
        if fits:
            return max(fits)[1]
        on_loop = on_loop or frame.startswith(LOOP.functions)
    return LOOP.name if on_loop else None


def shares(stacks: str, rows: tuple[Row, ...]) -> dict[str, float]:
    """The part of each row in all samples, from py-spy's `raw` format: a stack a line, outermost frame first."""
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [f"{m['file']} {m['function']}" for part in stack.split(";") if (m := _FRAME.fullmatch(part))]
        if (row := row_of(reversed(frames), rows)) is not None:
            counts[row] += int(count)
    total = counts.total() or 1
    return {name: count / total for name, count in counts.most_common()}


class Samples:
    """The stacks of the services of a stand, for as long as the block lasts."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self.stacks: dict[str, str] = {}

    def __enter__(self) -> "Samples":
        spy = str(Path(sys.executable).parent / "py-spy")
        pids = self._stand.pids()
        options = ["--rate", str(SAMPLES_PER_SECOND), "--format", "raw", "--duration", "unlimited"]
        self._spies = {
            kind: self._stand.helper(f"py-spy-{kind}", [spy, "record", "--pid", str(pids[kind]), *options,
                                                        "--output", str(self._file(kind))])
            for kind in KINDS
        }  # fmt: skip
        wait_until(lambda: all("Sampling" in self._stand.output(f"py-spy-{kind}") for kind in KINDS), START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        for kind, spy in self._spies.items():
            if spy.pid is not None and spy.alive:
                os.kill(spy.pid, signal.SIGINT)  # upon which it writes
            wait_until(lambda spy=spy: not spy.alive, WRITE_SECONDS)  # type: ignore[misc]
            if not self._file(kind).is_file():
                raise DevstackError(f"py-spy took no samples: {self._stand.output(f'py-spy-{kind}')[-300:]}")
            self.stacks[kind] = self._file(kind).read_text()

    def _file(self, kind: str) -> Path:
        return self._stand.directory / f"{kind}.stacks"


def measure() -> dict[str, Any]:
    """CPU-us a job by component and row."""
    title(f"Where the CPU goes: {BURSTS} bursts of {BURST_JOBS} jobs, and {SAMPLED_BURSTS} that are sampled")
    with ExitStack() as until:
        stack = Contender("budget", lambda _: Way({}), until)
        for _ in range(BURSTS // 2):
            stack.burst(BURST_JOBS)
        costs = list(stack.bursts)
        with Samples(stack.stand) as samples:
            for _ in range(SAMPLED_BURSTS):
                stack.burst(BURST_JOBS)
        before = len(stack.bursts)
        for _ in range(BURSTS - BURSTS // 2):
            stack.burst(BURST_JOBS)
        costs += stack.bursts[before:]
        wrong = stack.problems()
    cost = {part: 1000 * sum(burst[part] for burst in costs) / len(costs) for part in costs[0]}
    rows = {kind: shares(samples.stacks[kind], ROWS[kind]) for kind in KINDS}
    budget = {kind: {name: cost[kind] * share for name, share in rows[kind].items()} for kind in KINDS}
    _print(cost, budget)
    return {"cpu_us_per_job": cost, "budget_us": budget, "problems": wrong}


def _print(cost: dict[str, float], budget: dict[str, dict[str, float]]) -> None:
    rows: list[tuple[str, float, float]] = []
    for part, us in cost.items():
        rows.append((part, us, 100 * us / cost["stack"]))
        rows += [(f"  {name}", of, 100 * of / cost["stack"]) for name, of in budget.get(part, {}).items()]
    table(["CPU a job", "us", "% of the stack"], rows)
    say()
