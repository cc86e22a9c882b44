"""What every test needs: that a failure can be reported."""

import gc
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Nothing is collected while a failure is reported.

    To show the source pytest parses it; a collected task whose exception nobody asked for is logged with a traceback,
    which parses too, and Python 3.11's parser fails when it is entered twice (SystemError, gh-106905): pytest ends.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
