"""A Redis of their own: the model's walks are replayed against the real scripts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.servers import Redis


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    directory: Path = tmp_path_factory.mktemp("model-redis")
    with Redis(directory) as redis:
        yield redis
