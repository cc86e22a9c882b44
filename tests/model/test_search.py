"""The protocol keeps its promises in every state of small configurations, and each of its rules is needed for one."""

import logging

import pytest
from model.search import search
from model.settings import SHORT
from model.shapes import Setting
from model.weaknesses import WEAKNESSES, Weakness

log = logging.getLogger(__name__)
MOST = 40_000
"""States of one configuration: more take too long here, and belong among the long ones."""
_WHOLE = {weakness.setting._replace(name="", weak=frozenset()): weakness.setting for weakness in WEAKNESSES}
WHOLE_SETTINGS = tuple(setting._replace(weak=frozenset()) for setting in _WHOLE.values())


@pytest.mark.parametrize("setting", SHORT, ids=lambda setting: setting.name)
def test_every_promise_holds(setting: Setting) -> None:
    found = search(setting, MOST)
    assert not found.broken, str(found)
    assert found.states > 100


@pytest.mark.parametrize("weakness", WEAKNESSES, ids=lambda weakness: weakness.name)
def test_without_a_rule_a_promise_breaks(weakness: Weakness) -> None:
    found = search(weakness.setting, MOST)
    log.info("%s:\n%s", weakness.what, found)
    assert found.broken == weakness.breaks, str(found)
    assert found.trace


@pytest.mark.parametrize("setting", WHOLE_SETTINGS, ids=lambda setting: setting.name)
def test_with_the_rule_it_holds(setting: Setting) -> None:
    """What breaks is the fault of the rule left out, not of the configuration."""
    found = search(setting, MOST)
    assert not found.broken, str(found)
