"""Settings of what may be called: intake refuses the rest at acceptance, executor and callback before each call."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from carom_common.domain.address_policy import AddressPolicy
from carom_common.domain.egress_rules import parse_egress_rules
from carom_common.domain.outbound import SCHEMES, Outbound
from carom_common.domain.ports import DEFAULT, Ports
from carom_common.domain.proxy import parse_proxy
from carom_common.settings import NameList, Settings
from carom_common.tls_hosts import read_tls_hosts


def _checked(parse: Callable[[str], object]) -> AfterValidator:
    def check(value: Any) -> Any:
        parse(value.get_secret_value() if isinstance(value, SecretStr) else value)
        return value

    return AfterValidator(check)


def _check_schemes(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not set(value) <= SCHEMES:
        raise ValueError("must be http, https, or both, comma separated")
    return value


class OutboundSettings(Settings):
    """What all three services know of what may be called."""

    egress_schemes: Annotated[NameList, AfterValidator(_check_schemes)] = Field(
        ("http", "https"), description="Schemes of URLs that may be called, comma separated."
    )
    egress_ports: NameList = Field(
        (), description="Ports that may be called, such as `443,8000-8999`; empty: all that are not blocked."
    )
    egress_blocked_ports: NameList = Field(
        (DEFAULT,),
        description="Ports that may never be called; `default` stands for those where other protocols than HTTP are "
        "spoken, such as 22, 25 and 6379.",
    )
    egress_rules: Annotated[str, _checked(parse_egress_rules)] = Field(
        "",
        description="Which hosts a tenant may call and call back, and which headers its jobs may send, as JSON by "
        "tenant, `*` for all; see docs/operations/egress.md.",
    )

    @model_validator(mode="after")
    def _check_ports(self) -> "OutboundSettings":
        for name, allow, blocked in (
            ("CAROM_EGRESS_PORTS", self.egress_ports, ()),
            ("CAROM_EGRESS_BLOCKED_PORTS", (), self.egress_blocked_ports),
        ):
            try:
                Ports(allow, blocked)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return self


def outbound_of(settings: OutboundSettings) -> Outbound:
    return Outbound(
        frozenset(settings.egress_schemes),
        Ports(settings.egress_ports, settings.egress_blocked_ports),
        parse_egress_rules(settings.egress_rules),
    )


class EgressSettings(OutboundSettings):
    """What the two services that call out read on top."""

    egress_allow: NameList = Field(
        (),
        description="CIDRs, addresses or host names, comma separated, that may be called although they are not public. "
        "A cloud metadata address is opened by itself only, not by a network or a name.",
    )
    egress_deny: NameList = Field(
        (), description="CIDRs, addresses or host names that may never be called; wins over the allow list."
    )
    egress_proxy: Annotated[SecretStr | None, BeforeValidator(lambda value: value or None)] = Field(
        None,
        description="`http://[user:password@]host:port` of a proxy through which every call goes, by CONNECT to the "
        "address that was checked. Names are looked up here, not by the proxy.",
    )
    egress_tls: Annotated[str, _checked(read_tls_hosts)] = Field(
        "",
        description="PEM files by host, as JSON: `ca` (trusted on top of the system's), `cert` and `key` (shown to the "
        'host), such as `{"api.example": {"ca": "/etc/carom/tls/ca.crt"}}`; `*.name` is every name below it.',
    )
    max_response: int = Field(
        65_536,
        ge=1024,
        le=1_048_576,
        description="Bytes of a response that are kept; the rest is cut off while streaming.",
    )

    @model_validator(mode="after")
    def _check_lists(self) -> "EgressSettings":
        for name, entries in (("CAROM_EGRESS_ALLOW", self.egress_allow), ("CAROM_EGRESS_DENY", self.egress_deny)):
            try:
                AddressPolicy.parse(entries, ())
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        if self.egress_proxy is not None:
            try:
                parse_proxy(self.egress_proxy.get_secret_value())
            except ValueError as error:
                raise ValueError(f"CAROM_EGRESS_PROXY: {error}") from error
        return self
