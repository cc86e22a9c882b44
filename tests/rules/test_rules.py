"""The rules of the chart: `promtool` runs the cases beside this file, and every alert has cases, reasons and a "
"runbook."""

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.observability import RULES, RUNBOOKS, alerts, names, rules

from carom_intake.openapi.document import document

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*.yaml"))
REFERENCE = RUNBOOKS.parents[1] / "reference"
SECTIONS = ["What it means", "Look", "Do", "If that does not help"]
EVENTS = set(re.findall(r"^\| `(\w+)` \|", (REFERENCE / "events.md").read_text(), re.MULTILINE))
SETTINGS = set(re.findall(r"^\| `(\w+)` \|", (REFERENCE / "config.md").read_text(), re.MULTILINE))


def promtool(*arguments: str | Path) -> str:
    """What it prints; fails when it does."""
    binary = shutil.which("promtool")
    assert binary, "promtool is missing: run scripts/install-servers --tests"
    result = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=100, cwd=HERE, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@functools.cache
def cases() -> list[dict[str, Any]]:
    return [case for path in CASES for case in yaml.safe_load(path.read_text())["tests"]]


def outcomes(name: str) -> list[bool]:
    """For each question whether an alert fires: what the case expects."""
    return [
        bool(asked["exp_samples"])
        for case in cases()
        if case["name"].startswith(f"{name} ")
        for asked in case["promql_expr_test"]
        if f'alertname="{name}"' in asked["expr"] and 'alertstate="firing"' in asked["expr"]
    ]


def test_the_files_are_good() -> None:
    found = promtool("check", "rules", *RULES)
    assert len(re.findall(r"SUCCESS: \d+ rules found", found)) == len(RULES)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_otherwise(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path.name)


def test_a_wrong_case_fails(tmp_path: Path) -> None:
    """promtool looks at what the cases say."""
    wrong = HERE / "jobs.yaml"
    document = yaml.safe_load(wrong.read_text())
    document["rule_files"] = [str(path) for path in RULES]
    document["tests"] = [document["tests"][0]]
    document["tests"][0]["promql_expr_test"][0]["exp_samples"] = []
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(AssertionError, match="CaromSubmissionsUnavailable"):
        promtool("test", "rules", tmp_path / "wrong.yaml")


@pytest.mark.parametrize("name", names())
def test_every_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    assert set(outcomes(name)) == {True, False}


def test_every_severity_of_an_alert_has_a_case_that_fires() -> None:
    expected = " ".join(
        sample["labels"] for case in cases() for asked in case["promql_expr_test"] for sample in asked["exp_samples"]
    )
    for alert in alerts():
        severity = alert["labels"]["severity"]
        assert re.search(rf'alertname="{alert["alert"]}"[^}}]*severity="{severity}"', expected), alert["alert"]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: f"{alert['alert']}, {alert['labels']['severity']}")
def test_alerts_say_what_to_do_and_why(alert: dict[str, Any]) -> None:
    notes = alert["annotations"]
    assert alert["alert"].startswith("Carom")
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert notes.keys() == {"summary", "description", "rationale", "runbook_url"}
    assert "$labels.namespace" in notes["summary"]
    assert len(notes["description"]) > 80
    assert len(notes["rationale"]) > 40
    assert notes["runbook_url"] == f"docs/operations/runbooks/{alert['alert']}.md"
    for event in re.findall(r"`(\w+_\w+)`", notes["description"]):
        assert event in EVENTS, event


def test_recording_rules_are_used() -> None:
    text = "".join(path.read_text() for path in RULES)
    board = (RULES[0].parents[1] / "dashboards/overview.json").read_text()
    for record in {rule["record"] for rule in rules() if "record" in rule}:
        assert len(re.findall(rf"{record}\b", text)) > 1 or record in board, record


# Runbooks


def runbook(name: str) -> str:
    return (RUNBOOKS / f"{name}.md").read_text()


def test_there_is_a_runbook_for_each_alert_and_none_left_over() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {"README", *names()}


@pytest.mark.parametrize("name", names())
def test_a_runbook_has_its_parts(name: str) -> None:
    parts = re.split(r"^## (.+)\n", runbook(name), flags=re.MULTILINE)
    assert parts[0].strip() == f"# {name}"
    assert parts[1::2] == SECTIONS
    for title, text in zip(SECTIONS, parts[2::2], strict=True):
        assert len(text.strip()) > 60, title
    assert re.search(r"^ {4,}\S", parts[4], re.MULTILINE), "nothing to type under Look"


@pytest.mark.parametrize("name", names())
def test_what_a_runbook_names_exists(name: str) -> None:
    """Endpoints with their methods, log events, settings. Values, metrics, links: tests/unit/test_operations.py."""
    text = runbook(name)
    paths = {re.sub(r"\{\w+\}", "{}", path): methods for path, methods in document()["paths"].items()}

    def known(path: str) -> str | None:
        given = re.sub(r"\{\w+\}", "{}", path)
        fitting = [p for p in paths if p == given or re.fullmatch(re.escape(p).replace(r"\{\}", "[^/{}]+"), given)]
        return min(fitting, key=lambda p: p.count("{}"), default=None)

    for method, path in re.findall(r"`(GET|POST|PUT|DELETE) (/api/[\w/{}.-]+)", text):
        found = known(path)
        assert found, path
        assert method.lower() in paths[found], f"{method} {path}"
    for line in re.findall(r"^ +(curl .*)$", text, re.MULTILINE):
        path = known(re.search(r"localhost:3000(/[\w/.-]*)", line)[1])  # type: ignore[index]
        assert path, line
        method = re.search(r"--request (\w+)", line)
        wanted = method[1] if method else ("POST" if "--data" in line else "GET")
        assert wanted.lower() in paths[path], line
    for pattern in re.findall(r"grep -E '([^']+)'", text):
        for event in re.findall(r"[a-z]+(?:_[a-z]+)+", pattern):
            assert event in EVENTS, event
    for event in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text):
        if not event.startswith(("carom_", "key_id", "stream_queue")):
            assert event in EVENTS, event
    assert set(re.findall(r"\bCAROM_[A-Z_]+", text)) <= SETTINGS
