"""Whether this node lives, may serve, and how it fares: for monitors, without a login."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from halfgateway.api.operation import Call, Text, operation
from halfgateway.api.ports import Health
from halfgateway.api.problems import NotReady
from halfgateway.api.shapes import Alive, Ready

HEALTH_PATH, READINESS_PATH, METRICS_PATH = "/healthz", "/readyz", "/metrics"

METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format, which every scraper reads."""

_NOT_AN_ACT = "tells the node's health, and nothing of streams or people"


class HealthRoutes:
    """What the plain HTTP port serves, in production too."""

    def __init__(self, health: Health, registry: CollectorRegistry) -> None:
        self._health = health
        self._registry = registry

    @operation("GET", HEALTH_PATH, summary="Tell that the process answers", roles=None, untraced=_NOT_AN_ACT)
    async def tell_alive(self, call: Call) -> Alive:
        """Answer."""
        return Alive()

    @operation(
        "GET",
        READINESS_PATH,
        summary="Tell whether the node may serve, or what it waits for",
        roles=None,
        errors=(NotReady,),
        untraced=_NOT_AN_ACT,
    )
    async def tell_ready(self, call: Call) -> Ready:
        """Answer, or name what is missing."""
        missing = await self._health.missing()
        if missing:
            raise NotReady(missing)
        return Ready()

    @operation(
        "GET",
        METRICS_PATH,
        summary="Give the metrics in Prometheus' text format",
        roles=None,
        untraced=_NOT_AN_ACT,
        media_type=METRICS_MEDIA_TYPE,
    )
    async def give_metrics(self, call: Call) -> Text:
        """Give every metric of the registry."""
        return Text(generate_latest(self._registry).decode())
