"""`GET /api/stats`: how much there is to do and how it goes; the same as gauges for Prometheus."""

import asyncio
import contextlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.adapters.store.batch import Batcher, StoreUnavailable
from carom_common.adapters.store.inventory import Inventory
from carom_common.adapters.store.stats import COUNTED, Stats
from carom_common.adapters.store.tenants import Tenants
from carom_common.telemetry import metrics
from carom_intake.answers import json_answer
from carom_intake.auth import require
from carom_intake.domain.figures import WINDOWS, window_document
from carom_intake.domain.keys import Scope
from carom_intake.reading import refuse_parameters

GAUGES_SECONDS = 10.0
_GAUGES_READ = 2000


class StatsRoutes:
    """Shows a tenant its own figures."""

    def __init__(self, batcher: Batcher) -> None:
        self._tenants = Tenants(batcher)
        self._stats = Stats(batcher)
        self._watched = Stats(batcher)
        """For the gauges alone: each look goes on from the one before, and requests come in between."""
        self._inventory = Inventory(batcher)

    def routes(self) -> list[Route]:
        return [Route("/api/stats", self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        caller = require(request, Scope.JOBS_READ)
        refuse_parameters(request)
        now = await self._stats.now(caller.tenant)
        lately = await self._stats.lately(caller.tenant, tuple(WINDOWS.values()))
        document = {
            "depth": {"open": now.open, "kept": now.kept},
            "oldestReadyAgeMs": now.oldest_ready_ms,
            "running": now.running,
            "held": now.held,
            "dead": {"execute": now.dead_execute, "callback": now.dead_callback},
            "windows": {
                name: window_document(*window, names=COUNTED) for name, window in zip(WINDOWS, lately, strict=True)
            },
        }
        return json_answer(document)

    async def keep_gauges(self) -> None:
        """Set the gauges of all tenants together, every 10 s; never returns."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                names = await self._tenants.known()
                share = max(1, _GAUGES_READ // len(names))
                figures = [await self._watched.now(name, share) for name in names]
                metrics.dead_letter_jobs.labels("execute").set(sum(now.dead_execute for now in figures))
                metrics.dead_letter_jobs.labels("callback").set(sum(now.dead_callback for now in figures))
                metrics.running_jobs.set(sum(now.running for now in figures))
                metrics.held_jobs.set(sum(now.held for now in figures))
                metrics.owed_messages.set(await self._stats.owed())
                metrics.oldest_ready_age.set(max(now.oldest_ready_ms for now in figures) / 1000)
                if (checked := await self._inventory.last_check()) is not None:
                    metrics.fsck_unrepaired.set(checked.unrepaired)
                    metrics.fsck_completed.set(checked.at)
            await asyncio.sleep(GAUGES_SECONDS)
