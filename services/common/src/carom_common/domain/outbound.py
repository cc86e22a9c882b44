"""What may be called at all, whoever asks: schemes, ports, and the rules of tenants. Pure."""

from functools import lru_cache
from typing import Final, NamedTuple

from yarl import URL

from carom_common.domain.destinations import origin_of
from carom_common.domain.egress_rules import NO_RULES, EgressRules
from carom_common.domain.ports import Ports

SCHEMES: Final = frozenset({"http", "https"})
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Outbound(NamedTuple):
    """As configured."""

    schemes: frozenset[str]
    ports: Ports
    rules: EgressRules

    def refusal(self, scheme: str, port: int | None) -> str | None:
        """Why a URL of this scheme and port must not be called; None if it may be. No port: the scheme's own."""
        if scheme not in self.schemes:
            return (
                f"the scheme {scheme} is not allowed" if scheme in SCHEMES else "its scheme is neither http nor https"
            )
        return self.ports.refusal(port if port is not None else DEFAULT_PORTS[scheme])


ANYTHING: Final = Outbound(SCHEMES, Ports(), NO_RULES)


def called_host(url: str) -> str:
    """The host as the egress reads it, empty where it reads none: two readers of one URL are a way round a list."""
    return _host_in(origin_of(url))


@lru_cache(maxsize=4096)
def _host_in(origin: str) -> str:
    try:
        return URL(origin).raw_host or ""
    except ValueError:
        return ""
