"""One line for each scenario, and the table of docs/reliability.md."""

from collections.abc import Sequence
from typing import NamedTuple

from tests.chaos.auditing import Audit, named
from tests.chaos.scenario import Scenario

from devstack.paths import ROOT

PAGE = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"


class Verdict(NamedTuple):
    scenario: Scenario
    seed: int
    fault_seconds: float
    audit: Audit
    recovery: float | None
    problems: list[str]

    @property
    def lost_nothing(self) -> bool:
        """Whether every job came to its right end and was called back."""
        return not (self.audit.lost or self.audit.wrong or self.audit.missing)

    @property
    def kept(self) -> bool:
        """The same, and what was called again was for a known cause."""
        return self.lost_nothing and not self.audit.unexplained

    @property
    def line(self) -> str:
        a = self.audit
        return (
            f"{self.scenario.title:<34} accepted {a.accepted:<5} refused {refused(a):<5} lost {len(a.lost)}  "
            f"wrong {len(a.wrong)}  missing {len(a.missing)}  calls twice {twice(a)}  "
            f"callbacks twice {a.repeated_callbacks}  recovery {seconds(self.recovery)}  "
            + ("FAILED: " + "; ".join(self.problems) if self.problems else "ok")
        )

    @property
    def row(self) -> str:
        a = self.audit
        cells = (
            f"`{self.scenario.title}`",
            self.seed,
            f"{self.fault_seconds:g}",
            a.accepted,
            refused(a),
            len(a.lost),
            len(a.wrong),
            len(a.missing),
            twice(a),
            a.repeated_callbacks,
            seconds(self.recovery),
        )
        return "| " + " | ".join(map(str, cells)) + " |"


COLUMNS = (
    "scenario",
    "seed",
    "seconds",
    "accepted",
    "refused",
    "lost",
    "final state wrong",
    "callbacks missing",
    "calls made twice",
    "callbacks twice",
    "recovery",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def refused(audit: Audit) -> int:
    return sum(audit.answers.values()) - audit.answers["202"]


def twice(audit: Audit) -> str:
    if not audit.duplicates:
        return str(len(audit.unexplained))
    causes = ", ".join(f"{cause} {count}" for cause, count in sorted(audit.duplicates.items()))
    return f"{audit.duplicates.total() + len(audit.unexplained)} ({causes})"


def seconds(recovery: float | None) -> str:
    return "never" if recovery is None else f"{recovery:.1f} s" if recovery else "at once"


def problems(scenario: Scenario, audit: Audit) -> list[str]:
    """What breaks a promise."""
    found = [
        f"{what}: {named(jobs)}"
        for what, jobs in (
            ("lost", audit.lost),
            ("final state wrong", audit.wrong),
            ("callback missing", audit.missing),
            ("called twice without a cause", audit.unexplained),
        )
        if jobs
    ]
    if not audit.accepted:
        found.append("no job was accepted")
    if scenario.causes is not None and (others := set(audit.duplicates) - scenario.causes):
        found.append(f"calls repeated because of: {named(sorted(others))}")
    return found


def write(verdicts: Sequence[Verdict]) -> None:
    """Put the rows into the page's table, in place of those of the same scenarios."""
    before, rest = PAGE.read_text().split(BEGIN)
    table, after = rest.split(END)
    rows = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
    rows |= {verdict.scenario.title: verdict.row for verdict in verdicts}
    lines = "\n".join((HEAD, *(rows[title] for title in sorted(rows))))
    PAGE.write_text(f"{before}{BEGIN}\n{lines}\n{END}{after}")
