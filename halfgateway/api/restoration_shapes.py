"""The shapes of a restoration: what is looked at before it, and what comes of it (article 8)."""

from __future__ import annotations

from halfgateway.api.shapes import Instant, InterconnectionView, Shape
from halfgateway.control.proposals import Proposal
from halfgateway.control.restoration import Outlook
from ops.preflight import Finding, Outcome


class FindingShape(Shape):
    """What one check of the pre-flight gave; an ``essential`` one that failed admits no motive."""

    check: str
    title: str
    outcome: Outcome
    essential: bool
    observation: str

    @classmethod
    def of(cls, found: Finding) -> FindingShape:
        """The shape of a finding."""
        return cls(
            check=found.check,
            title=found.title,
            outcome=found.outcome,
            essential=found.essential,
            observation=found.observation,
        )


class ProposalShape(Shape):
    """A restoration that another person than ``account`` may confirm, by asking for the same before ``until``."""

    incident: str
    account: str
    reason: str
    motive: str | None
    until: Instant

    @classmethod
    def of(cls, proposal: Proposal | None) -> ProposalShape | None:
        """The shape of a proposal, if there is one."""
        if proposal is None:
            return None
        return cls(
            incident=proposal.incident,
            account=proposal.account,
            reason=proposal.reason,
            motive=proposal.motive,
            until=proposal.until,
        )


class PreflightShape(Shape):
    """What stands before a restoration: ``ready`` if it can be made without a motive."""

    node: str
    at: Instant
    incident: str | None
    ready: bool
    findings: tuple[FindingShape, ...]
    four_eyes: bool
    proposal: ProposalShape | None

    @classmethod
    def of(cls, outlook: Outlook, node: str) -> PreflightShape:
        """The shape of what a person sees before they confirm."""
        return cls(
            node=node,
            at=outlook.preflight.at,
            incident=outlook.incident,
            ready=not outlook.preflight.failed,
            findings=tuple(map(FindingShape.of, outlook.preflight.findings)),
            four_eyes=outlook.four_eyes,
            proposal=ProposalShape.of(outlook.proposal),
        )


class RestoreAnswer(InterconnectionView):
    """The interconnection after a restoration; or, with ``proposal``, still cut until another person confirms."""

    proposal: ProposalShape | None
