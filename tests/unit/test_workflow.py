"""The workflows: pinned actions, no rights by default, and what they call exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z0-9.-]+):", MAKEFILE, re.MULTILINE))
MAKE = re.compile(r"\bmake((?: [\w.=-]+)+)")
PATHS = re.compile(r"(?<![\w./-])((?:scripts|charts|k8s|tests|services)/[\w./*-]+)")


def load(path: Path) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(path.read_text())
    return document


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{path.name}: {name}", job) for path in WORKFLOWS for name, job in load(path)["jobs"].items()]


def commands() -> list[str]:
    return [step["run"] for _, job in jobs() for step in job["steps"] if "run" in step]


def test_there_is_one() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_nothing_is_allowed_by_default_and_old_runs_are_cancelled(path: Path) -> None:
    document = load(path)
    assert document["permissions"] == {}
    assert document["concurrency"]["group"]
    # YAML 1.1 reads the key `on` as true.
    assert "pull_request_target" not in document[True]


@pytest.mark.parametrize(("name", "job"), jobs(), ids=[name for name, _ in jobs()])
def test_jobs_are_limited(name: str, job: dict[str, Any]) -> None:
    assert 0 < job["timeout-minutes"] <= 60
    assert job["permissions"] in ({}, {"contents": "read"})
    for step in job["steps"]:
        assert ("run" in step) != ("uses" in step)
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        # What comes from outside goes through the environment, never into the text of a script.
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_say_which_version_that_is(path: Path) -> None:
    lines = re.findall(r"^ +(?:- )?uses: (.+)$", path.read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    pins = {line.split("@")[0]: line for line in lines}
    assert set(lines) == set(pins.values()), "one version of each action"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_node_images_are_pinned_by_digest(path: Path) -> None:
    images = re.findall(r"image: (kindest/.+)$", path.read_text(), re.MULTILINE)
    versions = re.findall(r"version: (v1\..+)$", path.read_text(), re.MULTILINE)
    assert images
    for image, version in zip(images, versions, strict=True):
        assert re.fullmatch(rf"kindest/node:{version}@sha256:[0-9a-f]{{64}}", image)


def test_make_targets_exist() -> None:
    called = {word for text in commands() for words in MAKE.findall(text) for word in words.split() if "=" not in word}
    assert called == {"check", "test", "policy", "faults", "chaos-short", "audit", "sbom", "e2e", ".venv", "kind-down"}
    assert called - TARGETS == set()


def test_paths_exist() -> None:
    text = "\n".join(path.read_text() for path in WORKFLOWS)
    named = set(PATHS.findall(text))
    assert {"scripts/kind-up", "charts/carom/ci/*-values.yaml", "k8s/kind/three-zones.yaml"} <= named
    for pattern in named:
        assert list(ROOT.glob(pattern)), pattern


def test_all_green_waits_for_every_other_job() -> None:
    for path in WORKFLOWS:
        all_jobs = load(path)["jobs"]
        last = all_jobs["all-green"]
        assert set(last["needs"]) == all_jobs.keys() - {"all-green"}
        assert last["if"] == "always()"
