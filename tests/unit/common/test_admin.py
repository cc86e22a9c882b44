"""What the probes say."""

import asyncio

import httpx
import pytest
from prometheus_client import CollectorRegistry

from carom_common import admin
from carom_common.admin import Health, admin_app
from carom_common.telemetry import metrics


def client(health: Health) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(admin_app(health)), base_url="http://admin")


async def test_liveness_fails_when_a_loop_makes_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    health = Health({}, frozenset())
    health.beat("leases")
    health.beat("event loop")
    async with client(health) as admin_port:
        assert (await admin_port.get("/livez")).status_code == 200
        monkeypatch.setattr(admin, "STALL_SECONDS", 0.05)
        await asyncio.sleep(0.1)
        health.beat("event loop")
        answer = await admin_port.get("/livez")
    assert answer.status_code == 503
    assert "leases" in answer.text
    assert "event loop" not in answer.text


async def test_liveness_does_not_ask_others() -> None:
    health = Health({"broker": lambda: "not connected"}, frozenset({"broker"}))
    async with client(health) as admin_port:
        assert (await admin_port.get("/livez")).status_code == 200
        assert (await admin_port.get("/readyz")).status_code == 503


async def test_readiness_needs_what_is_required_and_ends_with_the_drain() -> None:
    states = {"broker": "ok", "store": "not connected"}
    health = Health({name: lambda name=name: states[name] for name in states}, frozenset({"broker"}))  # type: ignore[misc]
    async with client(health) as admin_port:
        assert (await admin_port.get("/readyz")).status_code == 200
        verbose = (await admin_port.get("/readyz?verbose")).json()
        assert verbose == {"ready": True, "broker": "ok", "store": "not connected", "draining": "no"}
        health.starting = True
        assert (await admin_port.get("/readyz")).status_code == 503
        health.starting = False
        health.draining = True
        assert (await admin_port.get("/readyz")).status_code == 503


async def test_metrics_are_in_the_text_format() -> None:
    registry = CollectorRegistry()
    metrics.begin("intake", registry)
    app = admin_app(Health({}, frozenset()), registry=registry)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://admin") as admin_port:
        answer = await admin_port.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert f"{metrics.jobs_submitted.name} 0.0" in answer.text
