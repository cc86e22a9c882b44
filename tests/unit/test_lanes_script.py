"""scripts/lanes: what fails beside the other lane may pass alone, but what was lost stays lost."""

import subprocess
from pathlib import Path

import pytest

from devstack.paths import ROOT

FAILS_ONCE = """#!/bin/bash
[ -e ran ] && exit 0
touch ran
echo "FAILED tests/a.py::test_a"
{said}
exit 1
"""


@pytest.mark.parametrize(("said", "code"), [("", 0), ("echo 'final: redis/restart lost something'", 1)])
def test_a_second_run_decides_unless_something_is_final(tmp_path: Path, said: str, code: int) -> None:
    runner = tmp_path / ".venv/bin/pytest"
    runner.parent.mkdir(parents=True)
    runner.write_text(FAILS_ONCE.format(said=said))
    runner.chmod(0o755)
    lanes = [str(ROOT / "scripts/lanes"), "first: tests/a.py"]
    ended = subprocess.run(lanes, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert ended.returncode == code, ended.stdout
    assert "FAILED tests/a.py::test_a" in ended.stdout.rpartition("== failed at least once:")[2]
    assert ("lost something" in ended.stdout.rpartition("== not to be taken back:")[2]) == bool(said)
