"""What the machine draws from: jobs of every sort, and how they look on the wire."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from tests.properties.model import REPORTS, Spec
from tests.support.witness import Witness

TEAMS = ("red", "blue")

_ANSWERS: Sequence[tuple[int, ...]] = (
    (200,),
    (503, 200),
    (503, 503, 200),
    (503, 503, 503, 503, 200),  # dead at first, redriven with success
    (503,),
    (404, 200),
)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """A job of one sort or another; most run at once, and end soon."""
    sort = draw(st.sampled_from(("soon", "soon", "soon", "slow", "later", "ahead", "patient", "hurried")))
    common: dict[str, Any] = {
        "answers": draw(st.sampled_from(_ANSWERS)),
        "takes": draw(st.sampled_from((10, 10, 120))),
        "max_retries": draw(st.integers(0, 2)),
        "priority": draw(st.sampled_from(("normal", "low", "high"))),
        "team": draw(st.sampled_from(TEAMS)),
        "report": REPORTS[draw(st.sampled_from(tuple(REPORTS)))],
    }
    match sort:
        case "slow":
            common |= {"takes": draw(st.sampled_from((600, 1500)))}
        case "later":
            common |= {"delay": draw(st.sampled_from((200, 700, 1500)))}
        case "ahead":
            common |= {"delay": 10_000}
        case "patient":
            common |= {"retry_delay": 6000, "answers": draw(st.sampled_from(_ANSWERS[1:5])), "max_retries": 3}
        case "hurried":
            common |= {"ttl": 700}
            if draw(st.booleans()):
                common |= {"answers": (503,), "retry_delay": 3000, "max_retries": 2}
            else:
                common |= {"takes": 1500}
    return Spec(**common)


def body_of(spec: Spec, labels: dict[str, str], witness: Witness) -> dict[str, Any]:
    """The body of `POST /api/jobs`."""
    report, receiver = spec.report, witness.receiver(spec.report.answers)
    body: dict[str, Any] = {
        "targetUrl": witness.target(spec.plan),
        "method": "POST",
        "payload": {"labels": labels},
        "maxRetries": spec.max_retries,
        "retryDelay": spec.retry_delay,
        "retry": {"strategy": "fixed"},
        "labels": {**labels, "team": spec.team},
        "priority": spec.priority,
    }
    if spec.delay:
        body["delay"] = spec.delay
    if spec.ttl is not None:
        body["ttl"] = spec.ttl
    if not report.events:
        return body | {"callbackUrl": None}
    if report.plain:
        return body | {"callbackUrl": receiver}
    retry = {} if report.retries is None else {"retry": {"maxRetries": report.retries}}
    return body | {"callback": {"url": receiver, "events": list(report.events), **retry}}
