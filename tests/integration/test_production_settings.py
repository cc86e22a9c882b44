"""The broker's and the store's settings of k8s/, on the real servers."""

import re
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from devstack import servers
from devstack.servers import RabbitMQ, Redis

pytestmark = pytest.mark.stack

K8S = Path(__file__).resolve().parents[2] / "k8s"


def spec(path: str, kind: str) -> dict[str, Any]:
    documents = yaml.safe_load_all((K8S / path).read_text())
    return next(document for document in documents if document["kind"] == kind)


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_rabbitmq_starts_with_the_settings_of_the_cluster(tmp_path: Path) -> None:
    rabbitmq = spec("rabbitmq/cluster.yaml", "RabbitmqCluster")["spec"]["rabbitmq"]
    settings = dict(line.split(" = ") for line in lines(rabbitmq["additionalConfig"]))
    # What is free on a test machine is not 4 GB for sure.
    free = settings.pop("disk_free_limit.absolute")
    assert re.fullmatch(r"\d+GB", free)
    with RabbitMQ(tmp_path, settings=settings | {"disk_free_limit.absolute": "1MB"}) as broker:
        environment = broker.ctl("eval", "application:get_all_env(rabbit).")
    assert "{consumer_timeout,1800000}" in environment
    assert re.search(r"\{queue_leader_locator,(<<)?\"balanced\"", environment)
    # The private servers of tests and demo run with the same advanced settings.
    assert rabbitmq["advancedConfig"] == servers._ADVANCED
    assert "{dead_letter_worker_publisher_confirm_timeout,10000}" in environment


def test_redis_starts_with_the_settings_of_the_example(tmp_path: Path) -> None:
    text = spec("redis/replication.yaml", "ConfigMap")["data"]["redis-additional.conf"]
    settings = {name: value.strip('"') for name, value in (line.split(" ", 1) for line in lines(text))}
    with Redis(tmp_path, settings=settings) as store, redis.Redis.from_url(store.url, decode_responses=True) as client:
        effective = client.config_get("*")
    assert effective["appendonly"] == "yes"
    assert effective["maxmemory-policy"] == "noeviction"
    assert effective["maxmemory"] == str(2 * 1024**3)
    assert effective["save"] == ""
    for name, value in settings.items():
        assert name == "maxmemory" or effective[name] == value
