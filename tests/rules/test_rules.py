"""The rules of the chart: `promtool` runs the cases beside this file, and every alert has cases and reasons."""

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.observability import EVENTS, RULES, alerts, names, rules, unknown

from carom_common.telemetry.metrics import CATALOGUE

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*.yaml"))


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


def test_cases_are_of_series_that_exist() -> None:
    """A rule is not tried with a series that nobody tells: labels and their values, and whose it is."""
    given = {each["series"] for case in cases() for each in case["input_series"] if each["series"].startswith("carom_")}
    assert [
        wrong for each in given for wrong in unknown(each) if not wrong.startswith("carom_build_info{version")
    ] == []
    telling = {metric.name + suffix: metric.by for metric in CATALOGUE for suffix in metric.suffixes}
    for each in given:
        service = re.search(r'job="carom-(\w+)"', each)
        assert not service or service[1] in telling[each.split("{")[0]], each


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
