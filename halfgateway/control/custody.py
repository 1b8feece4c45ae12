"""Keys, sealed credentials and the register of interventions: each act with its entry, by whichever way it comes.

The API calls these, and the command line through it. A change and its entry are made together: where the trace cannot
be written, nothing changes (T01).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from auth.assertion_keys import AssertionKey, AssertionKeys, default_kid
from auth.assertions import read_public_key
from auth.break_glass import BreakGlass, BreakGlassError, BreakGlassRegister
from auth.errors import KeyConflictError, UnknownKeyError
from auth.interventions import Intervention, InterventionError, InterventionRegister
from auth.principals import Principal, Role
from auth.recovery_codes import RecoveryCodes
from auth.trace import Draft, Kind
from camera_registry.clock import Clock, rfc3339
from halfgateway.control.revocation import RevocationFile
from halfgateway.errors import InvalidRequest

KEY_TERM = timedelta(days=365)
"""How long a key signs where its declaration says nothing else."""

LOCAL = "local"
"""The source of what is done at the machine itself."""

log = logging.getLogger(__name__)

Record = Callable[[Draft], Awaitable[object]]
"""Makes an entry durable."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it: an account of ours, or of the operating system at the machine itself (C21).

    The latter's entries say under which ``interventions``, or by an empty list that none is declared.
    """

    account: str
    source: str
    agent: str | None = None
    interventions: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class KeyDeclaration:
    """A public key as PP declares it; ``kid`` is :func:`auth.assertion_keys.default_kid` where it is not named."""

    public_key_pem: str
    reference: str
    kid: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None


class Custody:
    """The acts. Each raises what its register raises, and what ``record`` raises."""

    def __init__(
        self,
        *,
        record: Record,
        keys: AssertionKeys,
        recovery_codes: RecoveryCodes,
        break_glass: BreakGlassRegister,
        interventions: InterventionRegister,
        revocation: Callable[[], RevocationFile | None],
        clock: Clock,
    ) -> None:
        self._record = record
        self._keys = keys
        self._recovery_codes = recovery_codes
        self._break_glass = break_glass
        self._interventions = interventions
        self._revocation = revocation
        self._clock = clock
        self.reports_due = 0

    async def actor(self, principal: Principal, source: str) -> Actor:
        """One who has logged in, or an account of this machine that comes through the node's own door."""
        if source == LOCAL:
            return await self.local_actor(principal.account)
        return Actor(principal.account, source, principal.agent)

    async def local_actor(self, os_account: str) -> Actor:
        """One who runs a command at the machine itself."""
        return Actor(os_account, LOCAL, interventions=tuple(await self._interventions.under_way()))

    async def declare_key(self, declaration: KeyDeclaration, by: Actor) -> AssertionKey:
        """Put one of PP's keys on record. Raises InvalidRequest for one that cannot be."""
        now = self._clock.now()
        begins = declaration.valid_from or now
        try:
            algorithm, _ = read_public_key(declaration.public_key_pem)
            key = AssertionKey(
                kid=declaration.kid or default_kid(declaration.public_key_pem),
                public_key_pem=declaration.public_key_pem,
                reference=declaration.reference,
                declared_by=by.account,
                declared_at=now,
                valid_from=begins,
                valid_until=declaration.valid_until or begins + KEY_TERM,
            )
            about = {
                "key": key.kid,
                "algorithm": algorithm,
                "public_key": key.public_key_pem,
                "reference": key.reference,
                "valid_from": rfc3339(key.valid_from),
                "valid_until": rfc3339(key.valid_until),
            }
            await self._keys.declare(key, lambda: self._tell(Kind.ASSERTION_KEY_DECLARED, by, about))
        except ValueError as error:
            raise InvalidRequest(
                "Une clé publique P-256 ou Ed25519 (PEM) et un terme postérieur sont requis."
            ) from error
        except KeyConflictError as error:
            raise InvalidRequest("Cet identifiant de clé a déjà servi, ou trop de clés sont en vigueur.") from error
        return key

    async def revoke_key(self, kid: str, reason: str, by: Actor) -> None:
        """Revoke a key: its streams end within five seconds. Raises InvalidRequest for one that is not in force."""
        about = {"key": kid, "why": reason}
        try:
            await self._keys.revoke(
                kid, by=by.account, reason=reason, traced=lambda: self._tell(Kind.ASSERTION_KEY_REVOKED, by, about)
            )
        except UnknownKeyError as error:
            raise InvalidRequest("Aucune clé en vigueur n'a cet identifiant.") from error

    async def list_keys(self) -> list[AssertionKey]:
        """Every key, newest first."""
        return await self._keys.list_all()

    async def issue_recovery_codes(self, account: str, by: Actor) -> list[str]:
        """A new set of codes, shown once."""
        about = {"account": account, "factor": "recovery-codes"}
        return await self._recovery_codes.issue(account, lambda: self._tell(Kind.AGENT_ENROLLED, by, about))

    async def issue_break_glass(self, role: Role, by: Actor) -> tuple[BreakGlass, str]:
        """A sealed credential and its secret, printed once. Raises InvalidRequest for a role that has none."""
        try:
            return await self._break_glass.issue(
                role,
                by=by.account,
                traced=lambda number: self._tell(Kind.BREAK_GLASS_ISSUED, by, {"number": number, "role": role.value}),
            )
        except BreakGlassError as error:
            raise InvalidRequest(str(error)) from error

    async def report_break_glass(self, number: int, text: str, by: Actor) -> None:
        """What a sealed credential was used for, which ends its use. Raises InvalidRequest where no report is due."""
        await self._break_glass.end_use(
            number, traced=lambda number: self._tell(Kind.BREAK_GLASS_ENDED, by, {"number": number})
        )
        try:
            await self._break_glass.report(
                number,
                by=by.account,
                text=text,
                traced=lambda number: self._tell(Kind.BREAK_GLASS_REPORTED, by, {"number": number, "report": text}),
            )
        except BreakGlassError as error:
            raise InvalidRequest(str(error)) from error

    async def list_break_glass(self) -> list[BreakGlass]:
        """Every sealed credential, newest first; those say for themselves whether a report is due."""
        return await self._break_glass.list_all()

    async def end_break_glass(self) -> None:
        """Tell of the sealed credentials whose hour has passed, and count those whose report is due."""
        for sealed in await self._break_glass.end_what_is_over(
            lambda number: self._record(Draft(kind=Kind.BREAK_GLASS_ENDED, detail={"number": number}))
        ):
            log.critical("break_glass.ended number=%d report=due", sealed.number)
        self.reports_due = sum(sealed.report_due for sealed in await self._break_glass.list_all())

    async def start_intervention(self, person: str, contractor: str | None, reason: str, by: Actor) -> Intervention:
        """Declare who is to work on the equipment from now on."""
        about = {"person": person, "contractor": contractor, "why": reason}
        return await self._interventions.start(
            person=person,
            contractor=contractor,
            reason=reason,
            by=by.account,
            traced=lambda number: self._tell(Kind.INTERVENTION_STARTED, by, {**about, "number": number}),
        )

    async def end_intervention(self, number: int, by: Actor) -> Intervention:
        """Declare its end."""
        try:
            return await self._interventions.end(
                number,
                by=by.account,
                traced=lambda number: self._tell(Kind.INTERVENTION_ENDED, by, {"number": number}),
            )
        except InterventionError as error:
            raise InvalidRequest(str(error)) from error

    async def list_interventions(self) -> list[Intervention]:
        """The newest first."""
        return await self._interventions.list_all()

    async def replace_revocation_lists(self, pem: bytes, by: Actor) -> list[str]:
        """Let newer lists count; returns the authorities' keys. Raises InvalidRequest."""
        file = self._revocation()
        if file is None:
            raise InvalidRequest("Aucun fichier de révocation n'est configuré (tls.revoked).")
        _, authorities = await asyncio.to_thread(file.with_lists, pem, self._clock.now())
        await self._tell(Kind.CONFIG_CHANGED, by, {"revocation_lists": authorities})
        await asyncio.to_thread(file.adopt, pem, self._clock.now())
        return authorities

    async def _tell(self, kind: Kind, by: Actor, about: dict[str, Any]) -> None:
        detail = {name: value for name, value in about.items() if value is not None}
        if by.interventions is not None:
            detail["interventions"] = list(by.interventions)
        await self._record(Draft(kind=kind, account=by.account, agent=by.agent, source=by.source, detail=detail))
