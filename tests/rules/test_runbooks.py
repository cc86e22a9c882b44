"""Runbooks: each alert has one, and what it tells somebody who was just woken to type can be typed."""

import functools
import itertools
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.support import helm
from tests.support.observability import EVENTS, REFERENCE, ROOT, RUNBOOKS, names
from tests.support.pages import commands

from carom_intake.openapi.document import document
from devstack.errors import DevstackError
from devstack.paths import rabbitmq_binary, redis_binary, service_command

SECTIONS = ["What it means", "Look", "Do", "If that does not help"]
SETTINGS = set(re.findall(r"^\| `(\w+)` \|", (REFERENCE / "config.md").read_text(), re.MULTILINE))
PAGES = sorted(RUNBOOKS.glob("*.md"))
K8S = ROOT / "k8s"
ELSEWHERE = [*RUNBOOKS.parent.glob("*.md"), *K8S.rglob("*.md")]
FILTERS = {"grep", "tail", "sed", "python3"}
RUNBOOKS_ALONE = {"scale"}
"""What only runbooks do with kubectl."""


def runbook(name: str) -> str:
    return (RUNBOOKS / f"{name}.md").read_text()


def test_there_is_a_runbook_for_each_alert_and_none_left_over() -> None:
    assert {path.stem for path in PAGES} == {"README", *names()}


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


# Commands


def stages(line: str) -> list[list[str]]:
    """The words of each command of a pipe."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&>")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word == "|":
            found.append([])
        elif word != "&":
            found[-1].append(word)
    return found


def typed(text: str) -> list[list[str]]:
    """Every command of a page, those that run inside a pod or a shell too."""
    waiting = [words for line in commands(text) for words in stages(line)]
    found = []
    while waiting:
        words = waiting.pop(0)
        found.append(words)
        if words[0] == "kubectl" and "--" in words:
            waiting.append(words[words.index("--") + 1 :])
        elif words[:2] == ["sh", "-c"]:
            waiting += stages(words[2])
    return found


def verb(words: list[str], *valued: str) -> str:
    """The first word that is no option, nor the value of one, nor a variable."""
    rest = iter(words)
    for word in rest:
        if word in valued:
            next(rest)
        elif not word.startswith("-"):
            return word
    raise AssertionError(f"{words} does nothing")


@functools.cache
def documented_verbs() -> set[str]:
    """What other pages do with kubectl."""
    return {found for page in ELSEWHERE for found in re.findall(r"kubectl --namespace \S+ ([a-z-]+)", page.read_text())}


@functools.cache
def help_of(*command: str) -> str:
    """What a program says of one of its commands; empty where it has none of that name."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return result.stdout if result.returncode == 0 else ""


@functools.cache
def vhost() -> str:
    return str(yaml.safe_load((K8S / "rabbitmq/vhost.yaml").read_text())["spec"]["name"])


def wrong(words: list[str]) -> str:
    """Why a command cannot be typed; empty if it can."""
    environment = list(itertools.takewhile(re.compile(r"[A-Z_]+=").match, words))
    program, *rest = words[len(environment) :]
    if program in FILTERS or program.endswith("/python"):
        return ""
    check = CHECKS.get(program)
    if check:
        return check(rest, environment)
    if program.startswith("carom-"):
        try:
            command = str(service_command(program.removeprefix("carom-")))
        except DevstackError as error:
            return str(error)
        return "" if help_of(command, *rest[:1], "--help") else f"{program} has no {rest[0]}"
    return f"{program} is nowhere in the documents"


def wrong_kubectl(words: list[str], environment: list[str]) -> str:
    if "--namespace" not in words:
        return "no namespace"
    known = documented_verbs() | RUNBOOKS_ALONE
    return "" if verb(words, "--namespace") in known else f"no page but this one does that with kubectl: {words}"


def wrong_rabbitmqctl(words: list[str], environment: list[str]) -> str:
    usage = help_of(rabbitmq_binary("rabbitmqctl"), "--quiet", "help", verb(words))
    if not usage:
        return f"rabbitmqctl has no {verb(words)}"
    named = f"--vhost {vhost()}" in " ".join(words)
    return "" if named or "[--vhost" not in usage else f"no --vhost {vhost()}"


def wrong_redis_cli(words: list[str], environment: list[str]) -> str:
    if environment != ["REDISCLI_AUTH=$REDIS_PASSWORD"]:
        return "the password is asked for"
    command = words[words.index("-h") + 2 :] if "-h" in words else words
    helped = [help_of(redis_binary("redis-cli"), "help", *command[:count]).strip() for count in (1, 2)]
    return "" if any(helped) else f"Redis has no {command}"


def wrong_helm(words: list[str], environment: list[str]) -> str:
    return "" if help_of(helm.binary(), "help", words[0]) else f"helm has no {words[0]}"


def wrong_curl(words: list[str], environment: list[str]) -> str:
    """Its path is looked at above."""
    return "" if any("http://localhost:3000/" in word for word in words) else "not the port that is forwarded"


def fine(words: list[str], environment: list[str]) -> str:
    return ""


CHECKS = {
    "kubectl": wrong_kubectl,
    "rabbitmqctl": wrong_rabbitmqctl,
    "redis-cli": wrong_redis_cli,
    "helm": wrong_helm,
    "curl": wrong_curl,
    "sh": fine,
    "export": fine,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_only_commands_that_exist_are_to_be_typed(page: Path) -> None:
    assert {shlex.join(words): why for words in typed(page.read_text()) if (why := wrong(words))} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_in_the_text_exist(page: Path) -> None:
    for name, rest in re.findall(r"`(carom-\w+)( [\w -]+)?`", page.read_text()):
        if (Path(service_command("intake")).parent / name).exists():
            assert wrong([name, *rest.split()]) == "", name


@pytest.mark.parametrize(
    "line",
    [
        "kubectl get pods",
        "kubectl --namespace carom annihilate pods",
        "kubectl --namespace mq exec mq-0 -- rabbitmqctl --quiet list_queues name",
        "kubectl --namespace mq exec mq-0 -- rabbitmqctl --quiet list_queues --vhost other name",
        "kubectl --namespace mq exec mq-0 -- rabbitmqctl lose_queues --vhost carom",
        "kubectl --namespace redis exec carom-redis-0 -- redis-cli dbsize",
        "kubectl --namespace redis exec carom-redis-0 -- sh -c 'REDISCLI_AUTH=$REDIS_PASSWORD redis-cli lose all'",
        "helm undo carom --namespace carom",
        "curl http://localhost:8080/api/stats",
        "carom-intake lose-key",
        "carom-nobody",
        "reboot",
    ],
)
def test_a_command_that_does_not_exist_would_be_found(line: str) -> None:
    assert [why for words in typed(f"    {line}\n") if (why := wrong(words))] != []


def test_servers_are_where_the_manifests_put_them() -> None:
    """Namespace and name of what commands go to: `cluster.yaml` and `replication.yaml`."""
    homes = {}
    for file in ("rabbitmq/cluster.yaml", "redis/replication.yaml"):
        metadata = next(yaml.safe_load_all((K8S / file).read_text()))["metadata"]
        homes[metadata["name"]] = metadata["namespace"]
    gone_to = set()
    for page in PAGES:
        for namespace, pod in re.findall(r"^ +kubectl --namespace (\S+) exec (\S+)-\d", page.read_text(), re.MULTILINE):
            gone_to.add((pod.removesuffix("-server"), namespace))
    assert gone_to == set(homes.items())
