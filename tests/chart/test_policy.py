"""checkov over all that the files in ci/ render; charts/carom/.checkov.yaml has the exceptions and their reasons.

checkov pins dependencies that exclude ours, so it lives in an environment of its own: that of `make policy`, on
PATH, or named in CHECKOV. What it would say about the pods' security is checked in test_workloads too.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.support import helm

CONFIG = helm.CHART / ".checkov.yaml"


def checkov() -> str:
    named = os.environ.get("CHECKOV") or shutil.which("checkov")
    if not named:
        pytest.skip("no checkov: make policy, or name it in CHECKOV")
    return named


def test_each_exception_has_its_reason() -> None:
    lines = CONFIG.read_text().splitlines()
    skipped = yaml.safe_load(CONFIG.read_text())["skip-check"]
    assert len(skipped) == len(set(skipped))
    for number, line in enumerate(lines):
        if re.fullmatch(r"  - CKV\w+", line):
            assert re.match(r"  (# .{20}|- CKV)", lines[number - 1]), line


@pytest.mark.timeout(300)
def test_policies(tmp_path: Path) -> None:
    for path in helm.CI:
        (tmp_path / f"{path.stem}.yaml").write_text(helm.template(path))
    command = [checkov(), "--directory", str(tmp_path), "--framework", "kubernetes", "--config-file", str(CONFIG)]
    result = subprocess.run(
        [*command, "--quiet", "--compact", "--skip-download"], capture_output=True, text=True, timeout=280, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
