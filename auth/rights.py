"""Who may: designations, habilitations, orders and blocks, as one frozen value that the policy reads.

A node keeps one such value in memory and replaces it whole when the records change; nothing here reads a clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TypeVar

from auth.principals import Role
from camera_registry.cameras import Camera
from camera_registry.orders import Order, Perimeter

LOCAL = "local"
"""The source of what is asked on the machine itself, and not from the network."""

Network = IPv4Network | IPv6Network
Key = TypeVar("Key")
Item = TypeVar("Item")


class Administration(StrEnum):
    """Whose agent one is: each administration designates its own (C09)."""

    PP = "PP"
    SYN = "SYN"


class Action(StrEnum):
    """What is asked to be done with a camera's images.

    Whoever relieves a colleague at a running stream is asked what the stream itself was asked.
    """

    LIVE = "live"
    RECORDED = "recorded"
    EXPORT = "export"
    BULK = "bulk"


USUAL_ACTIONS = frozenset({Action.LIVE, Action.RECORDED})
"""What a habilitation allows unless it says more: export and bulk transfer are rights of their own (S14)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Designation:
    """One agent's designation by the head of their own administration (C09, L01).

    ``agent`` is opaque, never a name (C17). ``end`` is the end foreseen, None where none is; ``ended_at`` the instant
    at which it was recorded as ended, ``ended_reason`` why.
    """

    agent: str
    administration: Administration
    service: str
    authority: str
    reference: str
    start: datetime
    end: datetime | None = None
    recorded_at: datetime
    recorded_by: str
    ended_at: datetime | None = None
    ended_reason: str | None = None
    ended_reference: str | None = None

    @property
    def until(self) -> datetime | None:
        """The first instant at which it holds no more, as far as is known."""
        return earliest(self.end, self.ended_at)

    def holds(self, now: datetime) -> bool:
        """Whether it is in force."""
        return _within(self.start, self.until, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habilitation:
    """What one agent may do, where, and for how long. An empty ``territory`` is the whole perimeter (P10).

    ``sources`` are the networks from which alone it may be used; empty is anywhere. ``confirmed_at`` is when a review
    last found it still needed.
    """

    id: str
    agent: str
    role: Role
    territory: Perimeter
    actions: frozenset[Action] = USUAL_ACTIONS
    sources: tuple[Network, ...] = ()
    start: datetime
    end: datetime | None = None
    authority: str
    reference: str
    recorded_at: datetime
    recorded_by: str
    confirmed_at: datetime | None = None
    ended_at: datetime | None = None
    ended_reason: str | None = None
    ended_reference: str | None = None

    @property
    def until(self) -> datetime | None:
        """The first instant at which it holds no more, as far as is known."""
        return earliest(self.end, self.ended_at)

    def holds(self, now: datetime) -> bool:
        """Whether it is in force."""
        return _within(self.start, self.until, now)

    def covers(self, camera: Camera) -> bool:
        """Whether the camera is in its territory."""
        return self.territory.is_empty or self.territory.names(camera)

    def usable_from(self, source: str | None) -> bool:
        """Whether it may be used from this address; from this machine itself it always may."""
        if not self.sources or source in {None, LOCAL}:
            return True
        try:
            address = ip_address((source or "").partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.sources)


class BlockKind(StrEnum):
    """What may be blocked at once, without touching anybody's designation."""

    AGENT = "agent"
    SERVICE = "service"
    CAMERA = "camera"
    SITE = "site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A person's or a thing's temporary exclusion: ``subject`` is an agent, a service, a camera or a viewing site."""

    id: str
    kind: BlockKind
    subject: str
    ground: str
    reason: str
    set_at: datetime
    set_by: str
    expires_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it is in force."""
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Slots that PP keeps free for one of its services, until an instant (S16).

    ``made_by`` is the account of PP's supervisor. ``passed_from`` is the reservation of which it was a part, where
    another service had it before.
    """

    id: str
    service: str
    slots: int
    until: datetime
    made_at: datetime
    made_by: str
    passed_from: str | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it is in force."""
        return now < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class ConventionOnRecord:
    """What the parties have recorded of the convention itself, as far as an access depends on it.

    ``accepted``: an acceptance record opened it (C23). ``ended_at`` is the end that a person recorded (C18).
    ``charter`` is the version of annex 7 in force, ``charter_read_by`` the agents who have acknowledged it (L25).
    ``orders`` are those that annex 8 in force lists (C07). ``pvpp_until`` is when the PVPP's own authorisation is over
    (C22). None is "nothing on record", and forbids nothing by itself.
    """

    accepted: bool = False
    ended_at: datetime | None = None
    charter: int | None = None
    charter_read_by: frozenset[str] = frozenset()
    orders: frozenset[str] | None = None
    pvpp_until: datetime | None = None


@dataclass(frozen=True)
class Rights:
    """All of it at one instant. ``sites`` are the viewing sites that PP has declared (annex 6).

    ``ended_accounts`` have ended, ``revoked_assertion_keys`` are keys whose signatures count no more,
    ``fallen_certificates`` the names of certificates that some node has found good no longer.
    ``reservations`` were not ended, and may have lapsed.
    """

    designations: Mapping[str, Designation] = field(default_factory=dict)
    habilitations: tuple[Habilitation, ...] = ()
    orders: tuple[Order, ...] = ()
    blocks: tuple[Block, ...] = ()
    sites: frozenset[str] = frozenset()
    ended_accounts: frozenset[str] = frozenset()
    revoked_assertion_keys: frozenset[str] = frozenset()
    fallen_certificates: frozenset[str] = frozenset()
    reservations: tuple[Reservation, ...] = ()
    on_record: ConventionOnRecord = field(default_factory=ConventionOnRecord)
    revision: int = 0

    def designation(self, agent: str | None) -> Designation | None:
        """The agent's latest designation, in force or not."""
        return self.designations.get(agent) if agent is not None else None

    def habilitations_of(self, agent: str | None, role: Role) -> tuple[Habilitation, ...]:
        """The agent's habilitations for a role, in force or not."""
        return self._by_agent.get((agent, role), ())

    def orders_of(self, camera: Camera) -> tuple[Order, ...]:
        """Every order that names the camera, in force or not."""
        named = (
            *self._by_camera.get(camera.id, ()),
            *self._by_site.get(camera.site, ()),
            *self._by_commune.get(camera.commune, ()),
        )
        return tuple(dict.fromkeys(named))

    def is_blocked(self, kind: BlockKind, subject: str | None, now: datetime) -> bool:
        """Whether a block on this subject is in force."""
        return any(block.holds(now) for block in self._by_subject.get((kind, subject), ()))

    @cached_property
    def _by_agent(self) -> Mapping[tuple[str | None, Role], tuple[Habilitation, ...]]:
        return _grouped(((each.agent, each.role), each) for each in self.habilitations)

    @cached_property
    def _by_subject(self) -> Mapping[tuple[BlockKind, str | None], tuple[Block, ...]]:
        return _grouped(((each.kind, each.subject), each) for each in self.blocks)

    @cached_property
    def _by_camera(self) -> Mapping[str, tuple[Order, ...]]:
        return _grouped((name, order) for order in self.orders for name in order.perimeter.cameras)

    @cached_property
    def _by_site(self) -> Mapping[str, tuple[Order, ...]]:
        return _grouped((name, order) for order in self.orders for name in order.perimeter.sites)

    @cached_property
    def _by_commune(self) -> Mapping[str, tuple[Order, ...]]:
        return _grouped((name, order) for order in self.orders for name in order.perimeter.communes)


def earliest(*instants: datetime | None) -> datetime | None:
    """The earliest of those that are known."""
    return min((instant for instant in instants if instant is not None), default=None)


def _within(start: datetime, until: datetime | None, now: datetime) -> bool:
    return start <= now and (until is None or now < until)


def _grouped(pairs: Iterable[tuple[Key, Item]]) -> Mapping[Key, tuple[Item, ...]]:
    groups: defaultdict[Key, list[Item]] = defaultdict(list)
    for key, item in pairs:
        groups[key].append(item)
    return {key: tuple(items) for key, items in groups.items()}
