"""`python -m tests.chaos`: the long version of every scenario, one line of verdict for each, and the table."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import verdict
from tests.chaos.running import run
from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import ALL
from tests.chaos.stages import Stages


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("names", nargs="*", help="groups, or scenarios as <group>/<name>; all of them by default")
    parser.add_argument("--seed", type=int, default=1, help="what all random choices come from (default 1)")
    parser.add_argument("--seconds", type=float, help="of each fault, instead of its long time")
    parser.add_argument("--short", action="store_true", help="the short times, as make chaos-short has them")
    parser.add_argument("--write", action="store_true", help=f"put the table into {verdict.PAGE.name}")
    options = parser.parse_args()
    chosen = [s for s in ALL if not options.names or {s.group, s.title} & set(options.names)]
    if not chosen:
        parser.error(f"there are {', '.join(scenario.title for scenario in ALL)}")
    print(f"seed {options.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="carom-chaos-"))
    verdicts = []
    with Stages(lambda: Path(tempfile.mkdtemp(dir=directory))) as stages:
        for scenario in chosen:
            if scenario.obstacle:
                print(f"{scenario.title:<34} left out: {scenario.obstacle}", flush=True)
                continue
            seconds = options.seconds if options.seconds is not None else _seconds(scenario, options.short)
            start = time.monotonic()
            verdicts.append(run(scenario, stages.take(scenario.stage), options.seed, seconds))
            print(f"{verdicts[-1].line}  ({time.monotonic() - start:.0f} s)", flush=True)
            if options.write and not verdicts[-1].problems:
                verdict.write(verdicts[-1:])
    failed = [each for each in verdicts if each.problems]
    print(f"{len(verdicts) - len(failed)} of {len(verdicts)} kept every promise")
    if failed:
        print(f"logs: {directory}")
    else:
        shutil.rmtree(directory)
    return 1 if failed else 0


def _seconds(scenario: Scenario, short: bool) -> float:
    return scenario.short if short else scenario.long


if __name__ == "__main__":
    sys.exit(main())
