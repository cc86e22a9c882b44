"""What happens to a single RabbitMQ node, and to the connections to it."""

import time
from random import Random

from tests.chaos.auditing import Audit
from tests.chaos.driving import WITH_DEAD_CALLBACKS
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.support.servers import depths, working

from carom_common.adapters.amqp.publisher import CONFIRM_SECONDS
from carom_common.topology import CALLBACK_QUEUE, DELAY, EXCHANGES, EXECUTE_QUEUES
from devstack.process import wait_until

GROUP = "rabbitmq"
GONE_SECONDS = 2.0
MAX_ANSWER = CONFIRM_SECONDS + 2
"""Seconds within which intake says 503: those of a confirm that does not come, and a busy machine."""


def restart(stage: Stage, _rng: Random, seconds: float) -> None:
    with stage.fault("broker"):
        stage.rabbitmq.stop()
        time.sleep(seconds)
        stage.rabbitmq.start()


def kill(stage: Stage, _rng: Random, seconds: float) -> None:
    with stage.fault("broker"):
        stage.rabbitmq.kill()
        time.sleep(seconds)
        stage.rabbitmq.start()


def memory_alarm(stage: Stage, _rng: Random, seconds: float) -> None:
    with stage.fault("broker"):
        stage.rabbitmq.ctl("set_vm_memory_high_watermark", "0.0001")
        time.sleep(seconds)
        stage.rabbitmq.ctl("set_vm_memory_high_watermark", "0.4")


def disk_alarm(stage: Stage, _rng: Random, seconds: float) -> None:
    with stage.fault("broker"):
        stage.rabbitmq.ctl("set_disk_free_limit", "1000000GB")
        time.sleep(seconds)
        stage.rabbitmq.ctl("set_disk_free_limit", "50MB")


def delete_queue(stage: Stage, _rng: Random, _seconds: float) -> None:
    """A work queue goes while it is empty, then jobs come: what was in it nobody could bring back. Then the other."""
    [load] = stage.loads
    for queue in EXECUTE_QUEUES["normal"], CALLBACK_QUEUE:
        load.hold()
        load.await_callbacks(30)
        assert wait_until(lambda: not working(depths(stage.rabbitmq)), 30), "the queues do not get empty"
        with stage.fault("broker", queue):
            stage.rabbitmq.ctl("delete_queue", queue)
            load.hold(False)
            time.sleep(GONE_SECONDS)


def close_channels(stage: Stage, rng: Random, seconds: float) -> None:
    """Who publishes to an exchange that is gone has its channel closed by the broker."""
    end = time.monotonic() + seconds
    for exchange in [DELAY, *rng.sample(EXCHANGES, len(EXCHANGES))]:
        with stage.fault("broker", exchange):
            name = f'rabbit_misc:r(<<"/">>, exchange, <<"{exchange}">>)'
            stage.rabbitmq.ctl("eval", f'rabbit_exchange:delete({name}, false, <<"chaos">>).')
            time.sleep(2)
        if time.monotonic() > end:
            return


def close_connections(stage: Stage, rng: Random, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        with stage.fault("broker"):
            stage.rabbitmq.ctl("close_all_connections", "chaos")
        time.sleep(rng.uniform(0.5, 3))
        if time.monotonic() > end:
            return


def shed_in_time(stage: Stage, audit: Audit) -> None:
    """While the broker takes nothing, intake says so with 503, and soon; nobody hangs."""
    assert set(audit.answers) == {"202", "503"}, f"clients saw {dict(audit.answers)}"
    slowest = max(each.took for load in stage.loads for each in load.submissions)
    assert slowest < MAX_ANSWER, f"an answer took {slowest:.1f} s"
    assert all(each.told_when for load in stage.loads for each in load.submissions if each.answer == "503")


SCENARIOS = [
    Scenario(GROUP, "restart", restart, 0, 30),
    Scenario(GROUP, "kill", kill, 0, 30, kinds=WITH_DEAD_CALLBACKS),
    Scenario(GROUP, "memory-alarm", memory_alarm, 3, 60, check=shed_in_time),
    Scenario(GROUP, "disk-alarm", disk_alarm, 3, 60, check=shed_in_time),
    Scenario(GROUP, "queue-deleted", delete_queue),
    Scenario(GROUP, "channels-closed", close_channels, 0, 30),
    Scenario(GROUP, "connections-closed", close_connections, 3, 60),
]
