"""What a check found and did, for people and for programs."""

from typing import Literal

import msgspec
from msgspec import Struct

What = Literal["job-without-message", "callback-not-published", "dead-letter-without-record", "record-not-in-index"]
KEPT_EXAMPLES = 1000
SHOWN_EXAMPLES = 20

OK, FOUND, FAILED = 0, 1, 2
"""Exit codes: nothing is wrong (any more); something is, and was not repaired; not all could be looked at."""

_TITLES: dict[What, str] = {
    "job-without-message": "jobs that are due, and whose message is gone",
    "callback-not-published": "callbacks that are due, and whose message is gone",
    "dead-letter-without-record": "dead letters whose job the store does not know",
    "record-not-in-index": "records that lists do not find",
}


class Example(Struct, rename="camel", omit_defaults=True):
    """One job that something is wrong with; `why` it was not repaired."""

    what: What
    job_id: str
    repaired: bool = False
    why: str = ""


class NotJudged(Struct):
    """What could not be looked at. `expected`: an operator wanted it so, such as a pause."""

    what: str
    why: str
    expected: bool = False


class Count(Struct):
    found: int = 0
    repaired: int = 0


class Report(Struct, rename="camel"):
    """All of it. `records` were read, `suspects` of them asked about."""

    repair: bool
    records: int = 0
    suspects: int = 0
    counts: dict[What, Count] = msgspec.field(default_factory=lambda: {what: Count() for what in _TITLES})
    examples: list[Example] = msgspec.field(default_factory=list)
    not_judged: list[NotJudged] = msgspec.field(default_factory=list)
    seconds: float = 0.0

    def add(self, what: What, job_id: str, *, repaired: bool, why: str = "") -> None:
        count = self.counts[what]
        count.found += 1
        count.repaired += repaired
        if len(self.examples) < KEPT_EXAMPLES:
            self.examples.append(Example(what, job_id, repaired, why))

    def leave_out(self, what: str, why: str, *, expected: bool = False) -> None:
        self.not_judged.append(NotJudged(what, why, expected))

    @property
    def found(self) -> int:
        return sum(count.found for count in self.counts.values())

    @property
    def repaired(self) -> int:
        return sum(count.repaired for count in self.counts.values())

    @property
    def complete(self) -> bool:
        """All could be looked at that was to."""
        return all(left.expected for left in self.not_judged)

    @property
    def exit_code(self) -> int:
        if self.found > self.repaired:
            return FOUND
        return OK if self.complete else FAILED

    def text(self) -> str:
        """For people."""
        lines = [f"{self.records} records read, {self.suspects} asked about, in {self.seconds:.1f} s"]
        for what, count in self.counts.items():
            done = f", {count.repaired} repaired" if self.repair and count.found else ""
            lines.append(f"{count.found:>7}  {_TITLES[what]}{done}")
        for example in self.examples[:SHOWN_EXAMPLES]:
            state = "repaired" if example.repaired else example.why or "not repaired"
            lines.append(f"         {example.job_id}  {example.what}: {state}")
        if len(self.examples) > SHOWN_EXAMPLES:
            lines.append("         ... (--json names more)")
        lines += [f"not judged: {left.what}: {left.why}" for left in self.not_judged]
        if self.exit_code == FOUND and not self.repair:
            lines.append("Nothing was changed. With --repair all of this is repaired.")
        return "\n".join(lines)

    def json(self) -> str:
        """For programs: one line."""
        return msgspec.json.encode(self).decode()
