"""Who asks, and how they proved it: what policy, services and the trace are given of an account."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What an account is for; PP's first three, SYN's next two, then whoever inspects."""

    OPERATOR = "operator"
    SUPERVISOR = "supervisor"
    MACHINE = "machine"
    OPS = "ops"
    OFFICER = "officer"
    AUDITOR = "auditor"


class Attribution(StrEnum):
    """How surely an access is one agent's (C08)."""

    AGENT_ASSERTED = "agent-asserted"
    AGENT_AUTHENTICATED = "agent-authenticated"
    MACHINE_ONLY = "machine-only"


class Factor(StrEnum):
    """A proof of identity; a card is a personal certificate, a certificate a machine's."""

    CARD = "card"
    CERTIFICATE = "certificate"
    PASSWORD = "password"  # noqa: S105 - names a factor, holds no secret
    TOTP = "totp"
    RECOVERY_CODE = "recovery-code"
    BREAK_GLASS = "break-glass"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: what policy, services and the trace are given; it holds no secret and no name.

    ``assertion_key`` is the id of the key that signed the agent's assertion, where one was brought (C08);
    ``certificate`` the name of the certificate by which they came, where they showed one (S12): no subject is in it.
    """

    account: str
    role: Role
    agent: str | None
    service: str | None
    site: str | None
    attribution: Attribution | None
    factors: tuple[str, ...]
    scope: str | None
    assertion_key: str | None = None
    certificate: str | None = None
