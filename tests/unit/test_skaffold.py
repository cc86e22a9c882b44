"""skaffold.yaml against the tree: paths, build arguments and chart values that it names exist; each profile applies.

Skaffold itself does not run where these tests do, so the keys that are used are checked by hand.
"""

import copy
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import chart

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("intake", "executor", "callback")
PROFILES = ("dev", "e2e", "observability")
TOP = {"apiVersion", "kind", "metadata", "build", "manifests", "deploy", "portForward", "profiles"}
RELEASE = {
    "name", "chartPath", "remoteChart", "namespace", "createNamespace", "skipBuildDependencies", "setValues",
    "setValueTemplates", "valuesFiles", "wait",
}  # fmt: skip
RELOAD = ROOT / "k8s/kind/reload.yaml"


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    return document


def profile(base: dict[str, Any], *names: str) -> dict[str, Any]:
    """The configuration with profiles applied, whose patches are JSON patches of the one operation `add`."""
    config = copy.deepcopy(base)
    by_name = {profile["name"]: profile for profile in config.pop("profiles")}
    for name in names:
        assert set(by_name[name]) <= {"name", "activation", "patches"}, "a section could replace more than it says"
        for patch in by_name[name]["patches"]:
            assert patch["op"] == "add"
            *parents, last = patch["path"].removeprefix("/").split("/")
            node: Any = config
            for parent in parents:
                node = node[int(parent)] if isinstance(node, list) else node[parent]
            if isinstance(node, list):
                node.insert(len(node) if last == "-" else int(last), patch["value"])
            else:
                node[last] = patch["value"]
    return config


def releases(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {release["name"]: release for release in config["deploy"]["helm"]["releases"]}


def test_structure(base: dict[str, Any]) -> None:
    assert base["apiVersion"].startswith("skaffold/v4")
    assert base["kind"] == "Config"
    assert set(base) <= TOP
    assert [profile["name"] for profile in base["profiles"]] == list(PROFILES)
    assert [artifact["image"] for artifact in base["build"]["artifacts"]] == [f"carom-{name}" for name in SERVICES]


@pytest.mark.parametrize("name", SERVICES)
def test_artifacts_come_from_the_one_dockerfile(base: dict[str, Any], name: str) -> None:
    (artifact,) = [a for a in base["build"]["artifacts"] if a["image"] == f"carom-{name}"]
    assert set(artifact) == {"image", "context", "docker"}
    assert artifact["docker"]["buildArgs"] == {"SERVICE": name}
    dockerfile = ROOT / artifact["context"] / artifact["docker"]["dockerfile"]
    assert set(artifact["docker"]["buildArgs"]) <= set(re.findall(r"^ARG (\w+)", dockerfile.read_text(), re.MULTILINE))
    assert (ROOT / artifact["context"] / "services" / name).is_dir()


@pytest.mark.parametrize("names", [(), *((name,) for name in PROFILES), ("dev", "observability")], ids="+".join)
def test_releases_name_what_there_is(base: dict[str, Any], names: tuple[str, ...]) -> None:
    """Values are known to the chart, files exist, templates name the image of the service they are for."""
    config = profile(base, *names)
    for release in releases(config).values():
        assert set(release) <= RELEASE, release["name"]
        assert ("chartPath" in release) != ("remoteChart" in release)
        for file in release.get("valuesFiles", []):
            assert (ROOT / file).exists(), file
    ours = releases(config)["carom"]
    assert (ROOT / ours["chartPath"] / "Chart.yaml").exists()
    assert chart.unknown(chart.nested(ours["setValues"])) == []
    assert chart.unknown(chart.nested(ours["setValueTemplates"])) == []
    for file in ours.get("valuesFiles", []):
        assert chart.unknown(yaml.safe_load((ROOT / file).read_text())) == [], file
    repositories = {
        key.split(".")[0]: value for key, value in ours["setValueTemplates"].items() if key.endswith(".repository")
    }
    assert repositories == {name: f"{{{{.IMAGE_REPO_carom_{name}}}}}" for name in SERVICES}


def test_dev_syncs_the_sources_of_each_service(base: dict[str, Any]) -> None:
    config = profile(base, "dev")
    for artifact in config["build"]["artifacts"]:
        rules = artifact["sync"]["manual"]
        sources = [f"services/{part}/src/" for part in ("common", artifact["image"].removeprefix("carom-"))]
        assert [rule["strip"] for rule in rules] == sources
        for rule in rules:
            assert set(rule) == {"src", "strip", "dest"}
            assert rule["src"].startswith(rule["strip"])
            assert (ROOT / rule["strip"]).is_dir()
    assert config["deploy"]["kubectl"] == {}
    for file in config["manifests"]["rawYaml"]:
        assert (ROOT / file).exists()


def test_dev_mounts_what_it_syncs_into(base: dict[str, Any]) -> None:
    config = profile(base, "dev")
    values = yaml.safe_load((ROOT / releases(config)["carom"]["valuesFiles"][0]).read_text())["defaults"]
    mounts = {mount["name"]: mount["mountPath"] for mount in values["extraVolumeMounts"]}
    environment = {variable["name"]: variable["value"] for variable in values["extraEnv"]}
    assert environment == {"PYTHONPATH": mounts["reload"], "CAROM_RELOAD_DIRECTORY": mounts["src"]}
    assert {rule["dest"] for a in config["build"]["artifacts"] for rule in a["sync"]["manual"]} == {mounts["src"]}
    volumes = {volume["name"]: volume for volume in values["extraVolumes"]}
    assert "emptyDir" in volumes["src"]
    namespace, config_map = yaml.safe_load_all(RELOAD.read_text())
    assert volumes["reload"]["configMap"]["name"] == config_map["metadata"]["name"]
    assert (
        config_map["metadata"]["namespace"] == namespace["metadata"]["name"] == releases(config)["carom"]["namespace"]
    )


def test_forwarded_services_exist(base: dict[str, Any]) -> None:
    (forward,) = base["portForward"]
    release = releases(base)["carom"]
    assert forward["resourceName"] == f"{release['name']}-intake"
    assert forward["namespace"] == release["namespace"]
    assert forward["port"] == chart.values()["intake"]["service"]["port"]


def test_a_synced_change_starts_the_service_anew(tmp_path: Path) -> None:
    """The sitecustomize of the dev profile, with a service whose file changes."""
    _, config_map = yaml.safe_load_all(RELOAD.read_text())
    reload, copied = tmp_path / "reload", tmp_path / "src"
    reload.mkdir()
    copied.mkdir()
    (reload / "sitecustomize.py").write_text(config_map["data"]["sitecustomize.py"])
    script = tmp_path / "carom-service"
    script.write_text(
        "import os, time, carom_common\nprint(os.getpid(), carom_common.__file__, flush=True)\ntime.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": str(reload), "CAROM_RELOAD_DIRECTORY": str(copied)}
    with subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            changed = copied / "carom_common/__init__.py"
            assert first == f"{process.pid} {changed}\n"
            time.sleep(1)
            changed.write_text("__file__ = 'changed'\n")
            assert process.stdout.readline() == "reload: starting anew\n"
            assert process.stdout.readline() == f"{process.pid} changed\n"
        finally:
            process.kill()
