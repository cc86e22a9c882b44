"""The egress as the settings of a service ask for it."""

from carom_common.adapters.egress.client import EgressClient
from carom_common.adapters.egress.transport import GuardedTransport
from carom_common.domain.address_policy import AddressPolicy
from carom_common.domain.outbound import Outbound
from carom_common.domain.proxy import parse_proxy
from carom_common.egress_settings import EgressSettings
from carom_common.tls_hosts import read_tls_hosts


def egress_client(settings: EgressSettings, outbound: Outbound) -> EgressClient:
    """To be made inside the event loop that will use it."""
    proxy = settings.egress_proxy
    transport = GuardedTransport(
        AddressPolicy.parse(settings.egress_allow, settings.egress_deny),
        outbound=outbound,
        proxy=parse_proxy(proxy.get_secret_value()) if proxy is not None else None,
        tls=read_tls_hosts(settings.egress_tls),
    )
    return EgressClient(transport, max_response_bytes=settings.max_response)
