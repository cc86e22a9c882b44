"""The network of the tests on bypasses."""

from collections.abc import Iterator

import pytest
from tests.support.everywhere import CannotBeHad, Everywhere


@pytest.fixture(scope="session")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everywhere]:
    try:
        network = Everywhere(tmp_path_factory.mktemp("everywhere"))
    except CannotBeHad as error:
        pytest.skip(str(error))
    yield network
    network.close()
