"""`make model`: search the larger configurations too, and show how each weakened protocol fails."""

import sys
import time

from model.search import search
from model.settings import LONG, SHORT
from model.weaknesses import WEAKNESSES


def main() -> int:
    failed = 0
    for weakness in WEAKNESSES:
        found = search(weakness.setting)
        failed += found.broken != weakness.breaks
        print(f"\nwithout a rule: {weakness.what}\n{found}")
    print()
    for setting in (*SHORT, *LONG):
        began = time.process_time()
        found = search(setting)
        failed += bool(found.broken)
        print(f"{setting.name}: {found} ({time.process_time() - began:.0f} s)", flush=True)
    return int(failed > 0)


sys.exit(main())
