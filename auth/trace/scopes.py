"""What each auditor sees of an entry, pure (T11, L19, C17): SYN's, PP's, and whoever inspects.

========== ================================================= ==========================================
scope      sees                                              does not see
========== ================================================= ==========================================
SYN        every entry                                       PP's agent, service, site, purpose and
                                                             reference, who of PP ended a stream, whom
                                                             a reading looked for; until unmasked with
                                                             a motive
PP         what PP's agents and services asked for and got,  SYN's internals: its people's logins, its
           the convention's common life, the node's life     equipment, its configuration; in what it
                                                             sees, SYN's accounts and addresses
inspection everything                                        nothing
========== ================================================= ==========================================

What a scope does not see is still counted: numbers, times and kinds are in the leaves, which proofs show to all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from auth.principals import Role
from auth.trace.entry import Entry
from auth.trace.kinds import Kind

CLOSED_BY_SYN: Final = "closed-by-syn"
"""The cause of a stream that SYN's operations or officer ended; by its owner or PP's supervisor it has another."""

SYN_IS = "SYN"
"""What PP's auditor reads in the place of an account of SYN's."""


class Scope(StrEnum):
    """Whose auditor reads."""

    SYN = "SYN"
    PP = "PP"
    INSPECTION = "inspection"


_PP_ROLES = frozenset({Role.OPERATOR.value, Role.SUPERVISOR.value, Role.MACHINE.value})
_PP_SUBJECTS = frozenset({"stream", "reservation", "recording", "assertion", "export"})
_COMMON_SUBJECTS = frozenset(
    {
        "interconnection",
        "incident",
        "notice",
        "annex",
        "acceptance",
        "change",
        "convention",
        "node",
        "heartbeat",
        "clock",
    }
)
_COMMON_KINDS = frozenset({Kind.TRACE_PURGED, Kind.TRACE_ANCHORED})
_PERSONAL_DETAIL = frozenset(
    {
        *("service", "site", "reference", "purpose", "assertion", "motive"),
        *("from_agent", "from_account", "from_service"),
        *("asked", "of"),
    }
)
_READINGS = frozenset({Kind.TRACE_READ, Kind.TRACE_EXPORTED})
_PERSONS = frozenset({"agent", "account"})
_SYN_DETAIL = frozenset({"by", "why"})


def seen(entry: Entry, scope: Scope, *, unmasked: bool = False) -> Entry | None:
    """Return an entry as a scope sees it; None where it does not. ``unmasked``: a motive for it was traced."""
    if scope is Scope.INSPECTION or (scope is Scope.SYN and unmasked):
        return entry
    if scope is Scope.SYN:
        return _without_pp_persons(entry) if is_of_pp(entry) else _without_whom_it_looked_for(entry)
    if is_of_pp(entry):
        return replace(entry, detail=_without(entry.detail, _SYN_DETAIL))
    subject = entry.kind.value.partition(".")[0]
    if entry.detail.get("internal"):
        return None
    if subject in _COMMON_SUBJECTS or entry.kind in _COMMON_KINDS:
        account = SYN_IS if entry.account is not None else None
        return replace(entry, agent=None, account=account, source=None, detail=_without(entry.detail, _SYN_DETAIL))
    return None


def is_of_pp(entry: Entry) -> bool:
    """Tell whether an entry is about what PP's agents, services or machines did; in doubt it is SYN's own."""
    return (
        (entry.kind.value.partition(".")[0] in _PP_SUBJECTS and entry.kind is not Kind.STREAM_UNMASKED)
        or entry.attribution is not None
        or entry.detail.get("role") in _PP_ROLES
        or entry.detail.get("scope") == Scope.PP
    )


def _without_pp_persons(entry: Entry) -> Entry:
    """Mask who watches, for whom and why; a personal account names its agent, so it is masked too (L19)."""
    personal = entry.attribution == "agent-authenticated" or entry.detail.get("role") in _PP_ROLES - {
        Role.MACHINE.value
    }
    return replace(
        entry,
        agent=None,
        account=None if personal else entry.account,
        reason=None,
        source=None if personal else entry.source,
        detail=_without(entry.detail, _PERSONAL_DETAIL | (frozenset() if _is_syns_act(entry) else {"by"})),
    )


def _without_whom_it_looked_for(entry: Entry) -> Entry:
    """Mask of a reading whose entries were asked for, which a motive had shown to that reader alone."""
    asked = entry.detail.get("asked")
    if entry.kind not in _READINGS or not isinstance(asked, Mapping) or _PERSONS.isdisjoint(asked):
        return entry
    return replace(entry, detail={**entry.detail, "asked": _without(asked, _PERSONS)})


def _is_syns_act(entry: Entry) -> bool:
    """Tell whether who did what is told of PP's people is SYN's, which SYN's auditor is to see."""
    return entry.kind is not Kind.STREAM_STOPPED or entry.detail.get("cause") == CLOSED_BY_SYN


def _without(detail: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in detail.items() if name not in names}
