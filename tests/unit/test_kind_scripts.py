"""scripts/kind-*: what they call, and what they say where something is missing. The tools are stand-ins."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.support import chart

import kindstubs

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("docker", "kind", "kubectl", "helm")
BASICS = ("bash", "env", "dirname", "grep", "sha256sum", "cut", "cat", "true")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with stand-ins for all tools; a test removes or replaces some."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in BASICS:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    for name in TOOLS:
        stand_in(folder, name, "")
    stand_in(folder, "docker", 'if [ "$1 $2" = "image inspect" ]; then echo sha256:1; fi')
    return folder


def stand_in(folder: Path, name: str, body: str) -> None:
    script = folder / name
    script.write_text(f'#!/bin/bash\necho "{name} $*" >> "{folder}/calls"\n{body}\n')
    script.chmod(0o755)


def run(folder: Path, *command: str) -> tuple[int, str, str, list[str]]:
    environment = {"PATH": str(folder), "HOME": os.environ.get("HOME", "/")}
    result = subprocess.run(
        [str(ROOT / "scripts" / command[0]), *command[1:]], env=environment, capture_output=True, text=True, check=False
    )
    calls = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
    return result.returncode, result.stdout, result.stderr, calls


@pytest.mark.parametrize("tool", TOOLS)
def test_a_missing_tool_is_named_in_one_line_before_anything_is_done(tools: Path, tool: str) -> None:
    (tools / tool).unlink()
    code, _, errors, calls = run(tools, "kind-up")
    assert code == 1
    assert errors == f"kind-up: {tool} is missing: install it and try again\n"
    assert not [call for call in calls if call != "docker info"]


def test_an_engine_that_does_not_answer_is_one_line(tools: Path) -> None:
    stand_in(tools, "docker", "exit 1")
    code, _, errors, _ = run(tools, "kind-up")
    assert code == 1
    assert errors == "kind-up: docker does not answer: start the Docker engine, or join the group docker\n"


def test_kind_up_goes_from_nothing_to_a_first_job(tools: Path) -> None:
    code, output, errors, calls = run(tools, "kind-up")
    assert code == 0, errors
    steps = [re.sub(r"dev-[0-9a-f]{12}", "TAG", call) for call in calls]
    assert "kind create cluster --name carom --config k8s/kind/dev.yaml --wait 3m" in steps
    for service in ("intake", "executor", "callback"):
        built = f"--build-arg SERVICE={service} --tag carom-{service}:dev ."
        assert f"docker build --quiet --file services/Dockerfile {built}" in steps
        assert f"kind load docker-image --name carom carom-{service}:TAG" in steps
    (install,) = [step for step in steps if step.startswith("helm upgrade")]
    assert "--install carom charts/carom --kube-context kind-carom --namespace carom" in install
    settings = dict(re.findall(r"--set (\S+)=(\S+)", install))
    assert settings == {"dependencies.dev.enabled": "true", "image.tag": "TAG"}
    assert chart.unknown(chart.nested(dict(settings))) == []
    assert steps[-1] == "helm test carom --kube-context kind-carom --namespace carom"
    assert "port-forward service/carom-intake 3000:3000" in output
    assert "KEY=$(kubectl --context kind-carom --namespace carom get secret carom-keys" in output
    assert '-H "Authorization: Bearer $KEY"' in output


def test_a_cluster_that_is_there_is_used(tools: Path) -> None:
    stand_in(tools, "kind", 'if [ "$1 $2" = "get clusters" ]; then echo carom; fi')
    code, output, errors, calls = run(tools, "kind-up", "cluster")
    assert code == 0, errors
    assert output == "kind-up: using the cluster carom\n"
    assert not [call for call in calls if "create" in call]


def test_a_job_that_does_not_come_back_fails(tools: Path) -> None:
    stand_in(tools, "helm", 'if [ "$1" = test ]; then exit 1; fi')
    code, _, errors, _ = run(tools, "kind-up")
    assert code == 1
    assert errors == "kind-up: the job did not come back: see above\n"


def test_kind_down_removes_the_cluster_or_says_that_there_is_none(tools: Path) -> None:
    code, output, _, _ = run(tools, "kind-down")
    assert (code, output) == (0, "kind-down: there is no cluster carom\n")
    stand_in(tools, "kind", 'if [ "$1 $2" = "get clusters" ]; then echo carom; fi')
    code, _, _, calls = run(tools, "kind-down")
    assert code == 0
    assert calls[-1] == "kind delete cluster --name carom"


def test_unknown_arguments_are_refused(tools: Path) -> None:
    assert run(tools, "kind-up", "all-of-it")[0] == 1
    assert run(tools, "kind-values", "missing.yaml")[2] == "kind-values: usage: scripts/kind-values FILE\n"


def test_a_file_with_dependencies_is_tested_without_the_ingress_that_kind_has_not(tools: Path) -> None:
    stand_in(tools, "kubectl", 'if [ "$3" = apply ]; then cat >/dev/null; fi')
    code, output, errors, calls = run(tools, "kind-values", "charts/carom/ci/httproute-values.yaml")
    assert code == 0, errors
    (install,) = [call for call in calls if call.startswith("helm upgrade")]
    assert "--values charts/carom/ci/httproute-values.yaml" in install
    assert "--set test.url= " in install
    assert calls[-1] == "helm test carom --kube-context kind-carom --namespace carom"
    assert output.endswith("is good\n")


# Stand-ins for foreign kinds


def test_foreign_kinds_get_definitions_and_our_own_do_not() -> None:
    objects = [{"apiVersion": version} for version in ("v1", "apps/v1", "keda.sh/v1alpha1", "policy/v1")]
    found = kindstubs.definitions(objects)
    assert [d["metadata"]["name"] for d in found] == ["scaledobjects.keda.sh", "triggerauthentications.keda.sh"]
    assert yaml.safe_load(yaml.safe_dump(found)) == found


def test_a_kind_that_nobody_knows_is_named() -> None:
    with pytest.raises(SystemExit, match=r"renders other\.example/v1"):
        kindstubs.definitions([{"apiVersion": "other.example/v1"}])


@pytest.mark.parametrize(("values", "brings"), [({}, False), ({"dependencies": {"dev": {"enabled": True}}}, True)])
def test_files_that_bring_their_dependencies(values: dict[str, object], brings: bool) -> None:
    assert kindstubs.brings_dependencies(values) is brings
