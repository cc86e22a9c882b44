"""What all dashboards have in common: variables, links, and panels that look alike and explain themselves.

A panel without words of its own takes them from the catalogue of metrics: what it means, what to do when it is high.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
)
from grafana_foundation_sdk.builders.common import VizTooltipOptions as Tooltip
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    FieldColor,
    QueryVariable,
    Row,
    TextBoxVariable,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from carom_common.telemetry.metrics import CATALOGUE

SOURCE = DataSourceRef("prometheus", "${datasource}")
TAG = "carom"
OURS = 'namespace=~"$namespace"'
LOGS = '{namespace=~"${namespace:regex}"} | json | tenant=~"${tenant:raw}" | level=~"warning|error|critical"'
TRACES = '{ resource.service.namespace = "carom" && span.carom.tenant =~ "${tenant:raw}" && status = error }'
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


@dataclass(frozen=True)
class Query:
    """PromQL and the name of its series; `exemplars` leads from a point to the trace behind it."""

    expr: str
    name: str = ""
    exemplars: bool = False


Levels = tuple[float, float] | None
"""From which value on a panel is yellow, and red. Red is where an alert fires, where one does, or yellow
where there is a warning before it."""


def ours(metric: str, where: str = "") -> str:
    """The series of a metric in the namespaces that were chosen."""
    return f"{metric}{{{', '.join(filter(None, (OURS, where)))}}}"


def total(metric: str, by: str = "", where: str = "", name: str = "") -> Query:
    """A gauge, added up over the pods."""
    grouped = f" by ({by})" if by else ""
    return Query(f"sum{grouped} ({ours(metric, where)})", name or _named(by))


def shared(metric: str, by: str = "", where: str = "", name: str = "") -> Query:
    """A gauge of which every replica tells the same."""
    return Query(f"max by ({', '.join(filter(None, ('namespace', by)))}) ({ours(metric, where)})", name or _named(by))


def rate(metric: str, by: str = "", where: str = "", name: str = "") -> Query:
    """A counter, a second."""
    grouped = f" by ({by})" if by else ""
    return Query(f"sum{grouped} (rate({ours(metric, where)}[$__rate_interval]))", name or _named(by))


def quantiles(metric: str, by: str = "", where: str = "", name: str = "", exemplars: bool = True) -> list[Query]:
    """Median and 99th percentile of a histogram, with the traces behind them."""
    grouped = ", ".join(filter(None, ("le", by)))
    label = name or _named(by)
    buckets = f"sum by ({grouped}) (rate({ours(f'{metric}_bucket', where)}[$__rate_interval]))"
    return [
        Query(
            f"histogram_quantile({share}, {buckets})",
            f"{label} {title}".strip(),
            exemplars and share == 0.99,
        )
        for share, title in ((0.5, "p50"), (0.99, "p99"))
    ]


def mean(metric: str, where: str = "", name: str = "") -> Query:
    """The average of a histogram."""
    parts = (f"sum (rate({ours(f'{metric}_{part}', where)}[$__rate_interval]))" for part in ("sum", "count"))
    return Query(" / ".join(parts), name)


def _named(by: str) -> str:
    return " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) if by else ""


def words(expr: str) -> str:
    """Of the first metric of ours in a query: what it means, and what to do when it is high."""
    described = {metric.name: metric for metric in CATALOGUE}
    for name in re.findall(r"\bcarom_\w+", expr):
        metric = described.get(name) or described.get(_SUFFIX.sub("", name))
        if metric:
            return f"{metric.meaning} High: {metric.high[0].lower() + metric.high[1:]}"
    raise ValueError(f"a panel without words, and no metric of ours: {expr}")


def graph(
    title: str,
    *queries: Query | Sequence[Query],
    unit: str,
    levels: Levels = None,
    says: str = "",
    stacked: bool = False,
    width: int = 8,
) -> TimeSeries:
    """Lines over time."""
    flat = _flat(queries)
    panel = (
        TimeSeries()
        .title(title)
        .description(says or words(flat[0].expr))
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(8)
        .fill_opacity(30 if stacked else 10)
        .show_points(VisibilityMode.NEVER)
        .legend(
            VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
        )
        .tooltip(Tooltip().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .thresholds(_thresholds(levels))
    )
    if levels:
        panel = panel.thresholds_style(GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    if stacked:
        panel = panel.stacking(StackingConfig().mode(StackingMode.NORMAL))
    for target in _targets(flat):
        panel = panel.with_target(target)
    return panel


def figure(
    title: str, *queries: Query | Sequence[Query], unit: str, levels: Levels = None, says: str = "", width: int = 4
) -> Stat:
    """The last value, large. `levels` that fall (0.5, 0.2) mean that less is worse."""
    flat = _flat(queries)
    panel = (
        Stat()
        .title(title)
        .description(says or words(flat[0].expr))
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(4)
        .graph_mode(BigValueGraphMode.AREA)
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .thresholds(_thresholds(levels))
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for target in _targets(flat):
        panel = panel.with_target(target)
    return panel


def _flat(queries: Sequence[Query | Sequence[Query]]) -> list[Query]:
    return [query for given in queries for query in ([given] if isinstance(given, Query) else given)]


def _targets(queries: Sequence[Query]) -> list[Dataquery]:
    made = []
    for query, letter in zip(queries, "ABCDEFGHIJKLMNOP", strict=False):
        target = Dataquery().expr(query.expr).ref_id(letter).range().legend_format(query.name or "__auto")
        made.append(target.exemplar(True) if query.exemplars else target)
    return made


def _thresholds(levels: Levels) -> ThresholdsConfig:
    steps = [Threshold(None, "green")]
    if levels and levels[0] <= levels[1]:
        steps += [Threshold(levels[0], "yellow"), Threshold(levels[1], "red")]
    elif levels:
        steps = [Threshold(None, "red"), Threshold(levels[1], "yellow"), Threshold(levels[0], "green")]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def board(uid: str, title: str, says: str) -> Dashboard:
    """A dashboard with what all of them have: sources, namespaces, a tenant for logs and traces, links."""
    return (
        Dashboard(f"Carom: {title}")
        .uid(f"carom-{uid}")
        .description(says)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .refresh("30s")
        .time("now-3h", "now")
        .with_variable(DatasourceVariable("datasource").label("Metrics").type("prometheus"))
        .with_variable(_namespaces("namespace", "Namespace", "carom_build_info"))
        .with_variable(DatasourceVariable("logs").label("Logs").type("loki"))
        .with_variable(DatasourceVariable("traces").label("Traces").type("tempo"))
        .with_variable(
            TextBoxVariable("tenant")
            .label("Tenant, of logs and traces")
            .default_value(".*")
            .current(VariableOption(value=".*", text=".*", selected=True))
            .description("For the links to logs and traces, a regular expression. Metrics name no tenant.")
        )
        .link(DashboardLink("Carom").type(DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True).include_vars(True))
        .link(_explore("Failures in the logs", "loki", "${logs}", f'"expr":{_text(LOGS)}'))
        .link(_explore("Traces with errors", "tempo", "${traces}", f'"queryType":"traceql","query":{_text(TRACES)}'))
    )


def other_namespaces(made: Dashboard, name: str, label: str, metric: str) -> Dashboard:
    """One more variable: where something that is not Carom runs."""
    return made.with_variable(_namespaces(name, label, metric))


def row(title: str) -> Row:
    return Row(title)


def _namespaces(name: str, label: str, metric: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": f"label_values({metric}, namespace)", "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(VariableOption(value="$__all", text="All", selected=True))
    )


def _text(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def _explore(title: str, kind: str, source: str, query: str) -> DashboardLink:
    """Explore with a query; Grafana fills in the variables of the link."""
    target = f'{{"refId":"A","datasource":{{"type":"{kind}","uid":"{source}"}},{query}}}'
    pane = f'{{"a":{{"datasource":"{source}","queries":[{target}],"range":{{"from":"${{__from}}","to":"${{__to}}"}}}}}}'
    url = f"/explore?schemaVersion=1&panes={quote(pane, safe='${}:_')}"
    return DashboardLink(title).type(DashboardLinkType.LINK).icon("external link").url(url).target_blank(True)
