"""What the configuration says of the collector."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from auth.trace.scopes import Scope
from halfgateway.sections import Section
from halfgateway.siem.forwarder import Plan
from halfgateway.siem.link import Collector
from halfgateway.siem.messages import Protocol

_PLAN = Plan("")


class SiemSection(Section):
    """The collector to which the trace is sent as it is written (S06): over TLS, each side proving who it is.

    ``scope`` is whose auditor reads there: what that auditor is not shown is masked (L19). Any but SYN's takes the
    reference of a ``decision``. ``server_name`` is the name in the collector's certificate, where that is not ``host``.
    A lag of more entries or seconds than ``max_lag_entries`` and ``max_lag_s`` is an alarm; nothing is lost by it.
    """

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 6514
    server_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")] | None = None
    authority: Path
    certificate: Path
    key: Path
    protocol: Protocol = Protocol.SYSLOG
    scope: Scope = Scope.SYN
    decision: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")] | None = None
    max_message_bytes: Annotated[int, Field(ge=2048, le=65536)] = 8192
    proof_s: Annotated[float, Field(ge=1, le=600)] = _PLAN.proof_s
    max_lag_entries: Annotated[int, Field(ge=1_000, le=100_000_000)] = _PLAN.max_lag_entries
    max_lag_s: Annotated[float, Field(ge=60, le=604_800)] = _PLAN.max_lag_s

    @model_validator(mode="after")
    def _is_decided(self) -> SiemSection:
        if self.scope is not Scope.SYN and self.decision is None:
            raise ValueError(f'scope "{self.scope}" shows more than SYN may see by itself: decision is required')
        if self.max_lag_s < self.proof_s * 2:
            raise ValueError("max_lag_s must leave room for two proofs: an alarm would never end")
        return self

    def collector(self) -> Collector:
        """Where the collector is, and how both sides prove who they are."""
        name = self.server_name or self.host
        return Collector(self.host, self.port, name, self.authority, self.certificate, self.key)

    def plan(self) -> Plan:
        """What is agreed with it."""
        return Plan(
            collector=f"{self.host}:{self.port}",
            scope=self.scope,
            proof_s=self.proof_s,
            max_lag_entries=self.max_lag_entries,
            max_lag_s=self.max_lag_s,
        )
