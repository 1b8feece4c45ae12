"""People whom a test designates, enrols and lets watch, through a running gateway's API."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from auth.demo_authority import DemoAuthority
from tests.e2e.conftest import Gateway, credentials_of
from tests.raw_player import RawPlayer
from tests.rights import SITE

_numbers = itertools.count()


@dataclass
class Person:
    """An operator of a service of their own, for whom an order of their own names one camera."""

    gateway: Gateway
    agent: str
    service: str
    order: str
    camera: str
    habilitation: str

    async def officer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What the officer does; it is done."""
        status, answer = await self.gateway.call("officer", "POST", path, body)
        assert status < 300, answer
        return answer

    async def asks(self) -> tuple[int, dict[str, Any]]:
        """Ask for the camera."""
        wish = {"camera": self.camera, "mode": "live", "reason": "L251-2-5"}
        return await self.gateway.call(self.agent, "POST", "/streams", wish)

    async def watches(self, player_of: Any) -> tuple[RawPlayer, str]:
        """Take a ticket and play it; the player, and the stream's id."""
        status, ticket = await self.asks()
        assert status == 201, ticket
        player: RawPlayer = await player_of(self.gateway.player(credentials_of(ticket)))
        path = f"/live/{self.camera}"
        assert (await player.set_up(path)).status == 200
        assert (await player.play(path)).status == 200
        await player.packets_until(3)
        return player, ticket["id"]


async def person(gateway: Gateway, *, site: str = SITE, lasts: timedelta | None = None) -> Person:
    """Designate, habilitate and enrol an operator, with an order; ``lasts`` bounds the habilitation."""
    number = next(_numbers)
    now = datetime.now(UTC)
    agent, service, reference = f"pp-e2e-{number}", f"service-{number}", f"78-e2e-{number}"
    camera = gateway.cameras[number % len(gateway.cameras)]
    decided = {"authority": "préfet de police", "reference": "PP-e2e", "start": now.isoformat()}
    someone = Person(gateway, agent, service, reference, camera, "")
    await someone.officer("/agents", {"id": agent, "administration": "PP", "service": service, **decided})
    end = {"end": (now + lasts).isoformat()} if lasts is not None else {}
    granted = await someone.officer("/habilitations", {"agent": agent, "role": "operator", **decided, **end})
    someone.habilitation = granted["id"]
    await someone.officer("/orders", order_of(reference, camera, service))
    card = DemoAuthority.open(gateway.data / "ca", now).client(agent, now)
    body = {"kind": "card", "role": "operator", "site": site, "certificate": card.certificate_path.read_text()}
    enrolled = await someone.officer(f"/agents/{agent}/factors", body)
    gateway.ready["accounts"][agent] = {
        "id": enrolled["account"],
        "password": enrolled["password"],
        "certificate": str(card.certificate_path),
        "key": str(card.key_path),
    }
    return someone


def order_of(reference: str, camera: str, service: str, **changes: Any) -> dict[str, Any]:
    """An order, as the API takes it."""
    return {
        "reference": reference,
        "type": "normal",
        "perimeter": {"cameras": [camera]},
        "place": "voie publique",
        "recipients": [service],
        "live": True,
        "recorded": True,
        "retention_min_days": 10,
        "retention_max_days": 30,
        "signed_on": "2025-10-21",
        "last_day": "2035-10-20",
        **changes,
    }
