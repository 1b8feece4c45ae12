"""Asserted access: a machine asks for one of PP's agents, whom the PP half-gateway has authenticated (C08)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

from auth.assertion_keys import AssertionKey, UsedAssertions
from auth.assertions import Assertion, AssertionRules, Unverified, read_header, verify
from auth.errors import (
    AssertionFault,
    AssertionRefused,
    AuthenticationError,
    FailureReason,
    RecordsUnavailableError,
)
from auth.possession import CertificateProof
from auth.principals import Attribution, Principal, Role
from auth.trace import Draft, Kind
from camera_registry.clock import Clock, rfc3339
from halfgateway.control.tracing import Tracer
from halfgateway.errors import AssertionInvalid, StateStoreUnavailable


class KeyRecords(Protocol):
    """The declared keys (:class:`auth.assertion_keys.AssertionKeys`)."""

    async def find(self, kid: str) -> AssertionKey | None:
        """Raises RecordsUnavailableError."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a machine says of its agent, and how it came: by the certificate of its own TLS connection."""

    machine: Principal
    compact: str
    reason: str
    reference: str | None
    source: str
    certificate_der: bytes | None


@dataclass(frozen=True, slots=True)
class Asserted:
    """An agent who asks through a machine; ``entry`` names what keeps the assertion: ``node/number``."""

    principal: Principal
    reference: str | None
    entry: str


class Assertions:
    """Verifies assertions, lets each count once, and keeps its exact text in the trace before it opens anything.

    Without ``rules`` nothing is agreed with PP, and every assertion is refused.
    """

    def __init__(
        self,
        *,
        rules: AssertionRules | None,
        keys: KeyRecords,
        used: UsedAssertions,
        certificates: CertificateProof,
        tracer: Tracer,
        clock: Clock,
    ) -> None:
        self._rules = rules
        self._keys = keys
        self._used = used
        self._certificates = certificates
        self._tracer = tracer
        self._clock = clock

    async def accept(self, claim: Claim) -> Asserted:
        """Return the agent for whom a machine asks.

        Raises AssertionInvalid, traced with its reason; StateStoreUnavailable; TraceUnavailable.
        """
        try:
            certificate = await self._own_certificate(claim)
            assertion = await self._verified(claim.compact)
            _require_same_wish(assertion, claim)
            await self._used.use(assertion)
        except AssertionRefused as refused:
            self._trace_refusal(claim, refused.fault.value, refused.kid)
            raise AssertionInvalid from refused
        except AuthenticationError as failure:
            self._trace_refusal(claim, failure.reason.value, None)
            raise AssertionInvalid from failure
        except RecordsUnavailableError as error:
            raise StateStoreUnavailable("L'attestation ne peut être vérifiée.") from error
        principal = replace(
            claim.machine,
            agent=assertion.agent,
            service=assertion.service,
            site=assertion.site,
            attribution=Attribution.AGENT_ASSERTED,
            assertion_key=assertion.kid,
            certificate=certificate,
        )
        entry = await self._tracer.durable(_accepted(principal, assertion, claim.source))
        return Asserted(principal, assertion.reference, f"{entry.node}/{entry.n}")

    async def _own_certificate(self, claim: Claim) -> str:
        """The machine's, which it shows: an assertion counts over the mutual TLS of the machine whose session it is."""
        if self._rules is None:
            raise AssertionRefused(AssertionFault.NOT_AGREED)
        if claim.machine.role is not Role.MACHINE:
            raise AssertionRefused(AssertionFault.NOT_A_MACHINE)
        if claim.certificate_der is None:
            raise AuthenticationError(FailureReason.CERTIFICATE_MISSING)
        return await self._certificates.require(claim.machine.account, claim.certificate_der)

    async def _verified(self, compact: str) -> Assertion:
        unverified: Unverified = read_header(compact)
        key = await self._keys.find(unverified.kid)
        if key is None or self._rules is None:
            raise AssertionRefused(AssertionFault.UNKNOWN_KEY)
        now = self._clock.now()
        key.require_in_force(now)
        return verify(unverified, key.public_key_pem, self._rules, now)

    def _trace_refusal(self, claim: Claim, reason: str, kid: str | None) -> None:
        """What was sent is kept as its hash: nobody has vouched for what it says, or whom it names."""
        about = {"reason": reason, "key": kid, "sha256": hashlib.sha256(claim.compact.encode()).hexdigest()}
        self._tracer.refusal(
            Draft(
                kind=Kind.ASSERTION_REFUSED,
                account=claim.machine.account,
                refusal=AssertionInvalid.code,
                source=claim.source,
                detail={name: value for name, value in about.items() if value is not None},
            )
        )


def _require_same_wish(assertion: Assertion, claim: Claim) -> None:
    """What the agent was asserted for is what the machine asks for: nothing unsigned stands beside it."""
    if assertion.purpose.value != claim.reason:
        raise AssertionRefused(AssertionFault.PURPOSE_DIFFERS, kid=assertion.kid)
    if claim.reference not in {None, assertion.reference}:
        raise AssertionRefused(AssertionFault.REFERENCE_DIFFERS, kid=assertion.kid)


def _accepted(principal: Principal, assertion: Assertion, source: str) -> Draft:
    return Draft(
        kind=Kind.ASSERTION_ACCEPTED,
        agent=principal.agent,
        account=principal.account,
        attribution=Attribution.AGENT_ASSERTED.value,
        reason=assertion.purpose.value,
        source=source,
        detail={
            "assertion": assertion.compact,
            "key": assertion.kid,
            "service": assertion.service,
            "site": assertion.site,
            "methods": list(assertion.methods),
            "authenticated_at": rfc3339(assertion.authenticated_at),
        },
    )
