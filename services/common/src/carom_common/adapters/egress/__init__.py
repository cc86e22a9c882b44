"""The guarded egress: every outgoing call, to targets and to callbacks, goes through here."""

from carom_common.adapters.egress.client import EgressClient, OutboundRequest, OutboundResponse
from carom_common.adapters.egress.errors import AddressRefused, EgressError
from carom_common.adapters.egress.transport import GuardedTransport

__all__ = ["AddressRefused", "EgressClient", "EgressError", "GuardedTransport", "OutboundRequest", "OutboundResponse"]
