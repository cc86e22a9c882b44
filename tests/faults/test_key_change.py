"""Encryption is switched on, and its key changed, by rollouts under load: old and new services beside each other."""

import base64

import pytest
from tests.support.load import Load
from tests.support.scenario import Scenario, assert_all_kept
from tests.support.servers import Servers, assert_no_work_left
from tests.support.witness import LoopThread, Witness

from devstack.services import KINDS

pytestmark = pytest.mark.fault

RATE = 40
A1, B1 = (f"{name}1:{base64.b64encode(name.encode() * 32).decode()}" for name in "ab")
ROLLOUTS = [f"clear,{A1}", A1, f"{A1},{B1}", f"{B1},{A1}"]
"""The settings of docs/operations/secrets.md from clear to a second key; the last step waits for what is kept."""


@pytest.mark.timeout(300)  # four rollouts of six processes, one after the other
def test_encryption_is_switched_on_and_its_key_changed(
    steady_servers: Servers, witness: Witness, loop_thread: LoopThread, scenario: Scenario
) -> None:
    with steady_servers.stack("key-change", dict.fromkeys(KINDS, 2)) as stack:
        scenario.load = load = Load(stack.api, witness, loop_thread)
        submitting = load.steady(RATE)
        scenario.broken()
        for keys in ROLLOUTS:
            for replica in range(2):
                for kind in KINDS:
                    service = stack.of(kind)[replica]
                    service.env["CAROM_ENCRYPTION_KEYS"] = keys
                    service.restart()
        scenario.recovered()
        load.stop()
        submitting.result(30)
        load.await_callbacks(45)

        assert_all_kept(load)
        assert not load.stale(load.settled_records())
        assert_no_work_left(steady_servers)
    logs = "".join(path.read_text() for path in (steady_servers.directory / "log-key-change").glob("*.log"))
    assert "consumer_started" in logs
    assert "message_parked" not in logs
    assert "record_sealed" not in logs
