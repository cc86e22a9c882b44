"""Counters, gauges and histograms that cost a fraction of a microsecond, as collectors of prometheus-client.

The client's own take a lock and walk through the buckets: 1 to 4 us each, ten times a job. These are for the thread of
the event loop alone, which is also the one that renders them. The client still writes both exposition formats.

Every series is declared, and a value that is not counts as `other`: nothing that is sent makes a series. Counters and
histograms are there, at 0, from the start of the services that tell them: `increase()` sees the first one too.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Generic, Literal, NamedTuple, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

Service = Literal["intake", "executor", "callback"]
INTAKE: tuple[Service, ...] = ("intake",)
EXECUTOR: tuple[Service, ...] = ("executor",)
CALLBACK: tuple[Service, ...] = ("callback",)
CONSUMERS: tuple[Service, ...] = ("executor", "callback")
ALL: tuple[Service, ...] = ("intake", "executor", "callback")

KINDS: dict[Service, str] = {"intake": "accept", "executor": "execute", "callback": "callback"}
"""The label `kind` of what a service works on."""
OTHER = "other"


class Labels(NamedTuple):
    """Names of labels, and every series: one value for each of them."""

    names: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ((),)


def one_of(name: str, *values: str) -> Labels:
    """One label with these values."""
    return Labels((name,), tuple((value,) for value in values))


class Count:
    """One series of a counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        self.value += amount


class Level:
    """One series of a gauge: what was set last, or what a function says when it is asked."""

    __slots__ = ("ask", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.ask: Callable[[], float] | None = None

    def set(self, value: float) -> None:
        self.value = value

    def set_function(self, ask: Callable[[], float]) -> None:
        self.ask = ask

    def read(self) -> float:
        return self.value if self.ask is None else float(self.ask())


class Buckets:
    """One series of a histogram. `trace` is the id of a sampled trace: it becomes the exemplar of its bucket."""

    __slots__ = ("bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.exemplars: dict[int, tuple[str, float, float]] = {}

    def observe(self, value: float, trace: str = "") -> None:
        place = bisect_left(self.bounds, value)
        self.counts[place] += 1
        self.sum += value
        if trace:
            self.exemplars[place] = (trace, value, time.time())

    @property
    def count(self) -> int:
        return sum(self.counts)


C = TypeVar("C", Count, Level, Buckets)


class Described(Collector, Generic[C]):
    """A metric: its name, what it means, what to do when it is high, and which services tell it."""

    kind: ClassVar[Literal["counter", "gauge", "histogram"]]
    suffixes: ClassVar[tuple[str, ...]] = ("",)
    """Of the names that Prometheus stores."""

    def __init__(self, name: str, meaning: str, high: str, by: Sequence[Service], labels: Labels = Labels()) -> None:  # noqa: B008
        self.name = name
        self.meaning = meaning
        self.high = high
        self.by = tuple(by)
        self.label_names = labels.names
        self.declared = labels.series
        self._children: dict[tuple[str, ...], C] = {}
        CATALOGUE.append(self)

    def _new(self) -> C:
        raise NotImplementedError

    def labels(self, *values: str) -> C:
        """The series of these values; hot paths keep it."""
        if values not in self.declared:
            if len(values) != len(self.label_names):
                raise ValueError(f"{self.name} has the labels {self.label_names}")
            known = [{series[i] for series in self.declared} for i in range(len(values))]
            values = tuple(v if v in all_ else OTHER for v, all_ in zip(values, known, strict=True))
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._new()
        return child

    def begin(self, service: Service) -> None:
        """Make the declared series of a service. A gauge has none before it was set: 0 would be a claim."""
        if self.kind == "gauge":
            return
        for series in self.declared:
            if len(self.by) == 1 or self.label_names[:1] != ("kind",) or series[0] == KINDS[service]:
                self.labels(*series)

    def describe(self) -> Iterator[Metric]:
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        family = self._family()
        for values, child in self._children.items():
            self._add(family, values, child)
        yield family

    def _family(self) -> Metric:
        raise NotImplementedError

    def _add(self, family: Metric, values: tuple[str, ...], child: C) -> None:
        raise NotImplementedError


class Counter(Described[Count]):
    """Only grows. The name ends in `_total`."""

    kind = "counter"

    def _new(self) -> Count:
        return Count()

    def inc(self, amount: float = 1) -> None:
        self.labels().inc(amount)

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily(self.name, self.meaning, labels=self.label_names)

    def _add(self, family: Metric, values: tuple[str, ...], child: Count) -> None:
        assert isinstance(family, CounterMetricFamily)
        family.add_metric(values, child.value)


class Gauge(Described[Level]):
    """Goes up and down."""

    kind = "gauge"

    def _new(self) -> Level:
        return Level()

    def set(self, value: float) -> None:
        self.labels().set(value)

    def set_function(self, ask: Callable[[], float]) -> None:
        self.labels().set_function(ask)

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(self.name, self.meaning, labels=self.label_names)

    def _add(self, family: Metric, values: tuple[str, ...], child: Level) -> None:
        assert isinstance(family, GaugeMetricFamily)
        family.add_metric(values, child.read())


class Histogram(Described[Buckets]):
    """Counts by upper bound."""

    kind = "histogram"
    suffixes = ("_bucket", "_sum", "_count")

    def __init__(
        self,
        name: str,
        meaning: str,
        high: str,
        by: Sequence[Service],
        bounds: tuple[float, ...],
        labels: Labels = Labels(),  # noqa: B008
    ) -> None:
        super().__init__(name, meaning, high, by, labels)
        self.bounds = bounds
        self._upper = [*map(_bound, bounds), "+Inf"]

    def _new(self) -> Buckets:
        return Buckets(self.bounds)

    def observe(self, value: float, trace: str = "") -> None:
        self.labels().observe(value, trace)

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self.name, self.meaning, labels=self.label_names)

    def _add(self, family: Metric, values: tuple[str, ...], child: Buckets) -> None:
        assert isinstance(family, HistogramMetricFamily)
        total, buckets = 0, []
        for place, upper in enumerate(self._upper):
            total += child.counts[place]
            seen = child.exemplars.get(place)
            exemplar = Exemplar({"trace_id": seen[0]}, seen[1], seen[2]) if seen is not None else None
            buckets.append((upper, total, exemplar))
        family.add_metric(values, buckets, child.sum)  # type: ignore[arg-type]


CATALOGUE: list[Described[Count] | Described[Level] | Described[Buckets]] = []
"""Every metric, in the order of the modules."""


def _bound(value: float) -> str:
    return repr(float(value))
