"""PP's assertion keys, revocation lists, recovery codes, sealed credentials, and the register of interventions."""

from __future__ import annotations

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.custody_shapes import (
    MAX_CRL_BYTES,
    BreakGlassList,
    BreakGlassRequest,
    BreakGlassSecret,
    BreakGlassShape,
    ByNumber,
    InterventionList,
    InterventionRequest,
    InterventionShape,
    KeyList,
    KeyRequest,
    KeyShape,
    Motive,
    RecoveryCodeSet,
    Report,
    RevocationAnswer,
    RevocationPush,
)
from halfgateway.api.operation import Call, operation
from halfgateway.api.paths import API
from halfgateway.api.ports import Custody
from halfgateway.api.shapes import ById
from halfgateway.control.custody import KeyDeclaration
from halfgateway.errors import TraceUnavailable

_A_REGISTER = "reads a register of keys or acts, each of which is traced; no stream, nobody's access"

_CODE_ROLES = frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR})


class KeyRoutes:
    """What makes others believed: keys, revocation lists, recovery codes."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody

    @operation(
        "GET",
        f"{API}/assertion-keys",
        summary="List the keys with which PP signs its agents' assertions",
        roles={Role.OFFICER, Role.AUDITOR},
        untraced=_A_REGISTER,
    )
    async def list_keys(self, call: Call, principal: Principal) -> KeyList:
        """List, newest first."""
        keys = await self._custody.list_keys()
        return KeyList(items=tuple(KeyShape.model_validate(key) for key in keys), next=None)

    @operation(
        "POST",
        f"{API}/assertion-keys",
        summary="Put a key that PP declares on record",
        lasting=True,
        roles={Role.OFFICER},
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.ASSERTION_KEY_DECLARED,),
    )
    async def declare_key(self, call: Call, principal: Principal, body: KeyRequest) -> KeyShape:
        """Declare it."""
        declaration = KeyDeclaration(
            body.public_key, body.reference, body.kid, valid_from=body.valid_from, valid_until=body.valid_until
        )
        return KeyShape.model_validate(
            await self._custody.declare_key(declaration, await self._custody.actor(principal, call.source))
        )

    @operation(
        "POST",
        f"{API}/assertion-keys/{{id}}/revoke",
        summary="Revoke a key: what it opened ends within five seconds",
        roles={Role.OFFICER},
        status=204,
        errors=(TraceUnavailable,),
        traces=(Kind.ASSERTION_KEY_REVOKED,),
    )
    async def revoke_key(self, call: Call, principal: Principal, path: ById, body: Motive) -> None:
        """Revoke it, for good."""
        await self._custody.revoke_key(path.id, body.reason, await self._custody.actor(principal, call.source))

    @operation(
        "PUT",
        f"{API}/admin/crl",
        summary="Push newer revocation lists",
        roles={Role.MACHINE, Role.OFFICER},
        errors=(TraceUnavailable,),
        traces=(Kind.CONFIG_CHANGED,),
        max_body_bytes=2 * MAX_CRL_BYTES,
    )
    async def push_revocation_lists(self, call: Call, principal: Principal, body: RevocationPush) -> RevocationAnswer:
        """Let them count, once they are seen to be an authority's own, current, and no older than what counts."""
        actor = await self._custody.actor(principal, call.source)
        authorities = await self._custody.replace_revocation_lists(body.pem.encode(), actor)
        return RevocationAnswer(authorities=tuple(authorities))

    @operation(
        "POST",
        f"{API}/recovery-codes",
        summary="Draw a new set of one's own recovery codes; those before count no more",
        lasting=True,
        roles=_CODE_ROLES,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.AGENT_ENROLLED,),
    )
    async def issue_recovery_codes(self, call: Call, principal: Principal) -> RecoveryCodeSet:
        """Draw them, and show them once."""
        codes = await self._custody.issue_recovery_codes(
            principal.account, await self._custody.actor(principal, call.source)
        )
        return RecoveryCodeSet(codes=tuple(codes))


class BreakGlassRoutes:
    """Sealed credentials (C21)."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody

    @operation(
        "GET",
        f"{API}/break-glass",
        summary="List the sealed credentials, and which reports are due",
        roles={Role.OFFICER, Role.AUDITOR},
        untraced=_A_REGISTER,
    )
    async def list_break_glass(self, call: Call, principal: Principal) -> BreakGlassList:
        """List, newest first."""
        sealed = await self._custody.list_break_glass()
        return BreakGlassList(items=tuple(BreakGlassShape.model_validate(each) for each in sealed), next=None)

    @operation(
        "POST",
        f"{API}/break-glass",
        summary="Make a sealed credential; its password is shown once",
        lasting=True,
        roles={Role.OFFICER},
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.BREAK_GLASS_ISSUED,),
    )
    async def issue_break_glass(self, call: Call, principal: Principal, body: BreakGlassRequest) -> BreakGlassSecret:
        """Make one, of the next number."""
        sealed, password = await self._custody.issue_break_glass(
            body.role, await self._custody.actor(principal, call.source)
        )
        return BreakGlassSecret(number=sealed.number, account=sealed.account, role=sealed.role, password=password)

    @operation(
        "POST",
        f"{API}/break-glass/{{number}}/report",
        summary="Report what a sealed credential was used for, which ends its use",
        lasting=True,
        roles={Role.OFFICER},
        status=204,
        errors=(TraceUnavailable,),
        traces=(Kind.BREAK_GLASS_REPORTED, Kind.BREAK_GLASS_ENDED),
    )
    async def report_break_glass(self, call: Call, principal: Principal, path: ByNumber, body: Report) -> None:
        """Put the report on record."""
        await self._custody.report_break_glass(
            path.number, body.text, await self._custody.actor(principal, call.source)
        )


class InterventionRoutes:
    """Who works on the equipment (article 5)."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody

    @operation(
        "GET",
        f"{API}/interventions",
        summary="List the interventions on the equipment",
        roles={Role.OPS, Role.OFFICER, Role.AUDITOR},
        untraced=_A_REGISTER,
    )
    async def list_interventions(self, call: Call, principal: Principal) -> InterventionList:
        """List, newest first."""
        found = await self._custody.list_interventions()
        return InterventionList(items=tuple(InterventionShape.model_validate(each) for each in found), next=None)

    @operation(
        "POST",
        f"{API}/interventions",
        summary="Declare an intervention that begins now",
        roles={Role.OPS, Role.OFFICER},
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.INTERVENTION_STARTED,),
    )
    async def start_intervention(
        self, call: Call, principal: Principal, body: InterventionRequest
    ) -> InterventionShape:
        """Declare it."""
        actor = await self._custody.actor(principal, call.source)
        started = await self._custody.start_intervention(body.person, body.contractor, body.reason, actor)
        return InterventionShape.model_validate(started)

    @operation(
        "POST",
        f"{API}/interventions/{{number}}/end",
        summary="Declare an intervention's end",
        roles={Role.OPS, Role.OFFICER},
        errors=(TraceUnavailable,),
        traces=(Kind.INTERVENTION_ENDED,),
    )
    async def end_intervention(self, call: Call, principal: Principal, path: ByNumber) -> InterventionShape:
        """Declare it."""
        ended = await self._custody.end_intervention(path.number, await self._custody.actor(principal, call.source))
        return InterventionShape.model_validate(ended)
