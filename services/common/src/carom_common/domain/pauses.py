"""What is paused: all jobs of a tenant, those for a host, or those with a label. Pure."""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct


class LabelSelector(Struct, frozen=True, forbid_unknown_fields=True):
    """Jobs that have this label with this value."""

    key: str
    value: str


class Selector(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which jobs of a tenant: all, or those for a host, or those with a label; not both."""

    host: str | None = None
    label: LabelSelector | None = None


class Pause(Struct, frozen=True, omit_defaults=True):
    """A pause in force; `since` in Unix milliseconds."""

    tenant: str
    selector: Selector
    since: int

    @property
    def id(self) -> str:
        return pause_id(self.tenant, self.selector)


def pause_id(tenant: str, selector: Selector) -> str:
    """Names a pause: pausing twice is one pause."""
    if selector.host is not None:
        return f"{tenant}|host|{selector.host}"
    if selector.label is not None:
        return f"{tenant}|label|{selector.label.key}={selector.label.value}"
    return f"{tenant}|all"


encode_pause = msgspec.json.Encoder().encode
decode_pause = msgspec.json.Decoder(Pause).decode


class Pauses:
    """All pauses in force, made for asking quickly. False when there is none."""

    def __init__(self, pauses: Iterable[Pause] = ()) -> None:
        self.all = tuple(sorted(pauses, key=lambda pause: (pause.since, pause.id)))
        self.tenants = frozenset(p.tenant for p in self.all if p.selector.host is None and p.selector.label is None)
        self._hosts = frozenset((p.tenant, p.selector.host) for p in self.all if p.selector.host is not None)
        labels = [(p.tenant, p.selector.label) for p in self.all if p.selector.label is not None]
        self._labels = frozenset((tenant, label.key, label.value) for tenant, label in labels)

    def __bool__(self) -> bool:
        return bool(self.all)

    def hold(self, tenant: str, host: str, labels: Mapping[str, str]) -> bool:
        """Whether a job is paused."""
        if tenant in self.tenants or (tenant, host) in self._hosts:
            return True
        return bool(self._labels) and any((tenant, key, value) in self._labels for key, value in labels.items())
