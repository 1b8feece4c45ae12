"""The request that every way in builds, and how its story is told in the trace."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from auth.policy import Action, Mode
from auth.principals import Principal
from auth.trace import Draft, Kind
from camera_registry.clock import rfc3339
from halfgateway.errors import Refusal


class Via(StrEnum):
    """The way in by which a request came."""

    API = "api"
    RTSP = "rtsp"
    RTSPS = "rtsps"


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """One wish to watch one camera. ``reason`` is a purpose code (L16), ``source`` the requester's address.

    ``assertion`` names the entry that keeps the assertion of the agent for whom a machine asks: ``node/number``.
    ``start`` and ``end`` are where footage is to begin and to end; None for a live stream, or where it is not said.
    ``export``: the footage is to be kept as files.
    """

    principal: Principal
    camera: str
    profile: str | None
    mode: Mode
    reason: str
    reference: str | None
    source: str
    via: Via
    stream: str = field(default_factory=lambda: secrets.token_hex(8))
    ticket: str | None = None
    assertion: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    export: bool = False

    @property
    def action(self) -> Action:
        """What is asked to be done with the images."""
        return Action.EXPORT if self.export else Action(self.mode)

    def entry(self, kind: Kind, detail: Mapping[str, Any] | None = None, *, refusal: str | None = None) -> Draft:
        """A trace entry about this request; of a recording it says which period was asked for (C05)."""
        principal = self.principal
        about = {
            "via": self.via.value,
            "profile": self.profile,
            "role": principal.role.value,
            "service": principal.service,
            "site": principal.site,
            "reference": self.reference,
            "assertion": self.assertion,
            "start": rfc3339(self.start) if self.start is not None else None,
            "end": rfc3339(self.end) if self.end is not None else None,
            **(detail or {}),
        }
        return Draft(
            kind=kind,
            agent=principal.agent,
            account=principal.account,
            attribution=principal.attribution.value if principal.attribution else None,
            camera=self.camera,
            stream=self.stream,
            mode=self.mode.value,
            reason=self.reason,
            refusal=refusal,
            source=self.source,
            detail={name: value for name, value in about.items() if value is not None},
        )

    def holder(self, service: str | None) -> dict[str, str | int | bool | None]:
        """Who holds the slot, as the other nodes are shown it; ``service`` is the one for which it is asked."""
        principal = self.principal
        return {
            "camera": self.camera,
            "mode": self.mode.value,
            "account": principal.account,
            "service": service or "",
            "agent": principal.agent,
            "site": principal.site,
            "attribution": principal.attribution.value if principal.attribution else None,
            "reason": self.reason,
            "reference": self.reference,
        }

    def refused(self, refusal: Refusal) -> Draft:
        """The entry of this request's refusal."""
        about = {"article": refusal.article, "reason": refusal.reason}
        kind = Kind.EXPORT_REFUSED if self.export else Kind.STREAM_REFUSED
        return self.entry(kind, about, refusal=refusal.code)
