"""What answers behind a node's ports: each service of the API, made of the node's parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from auth.acquaintances import Acquaintances
from auth.errors import RecordsUnavailableError
from auth.login import Login
from auth.possession import CertificateProof
from auth.sessions import Sessions
from auth.trace import Journal
from auth.trace import TraceUnavailable as JournalUnavailable
from camera_registry.clock import Clock
from halfgateway.api.application import Ports
from halfgateway.api.export_service import ExportService
from halfgateway.api.history import AnchorService, HistoryService, PurgeService
from halfgateway.api.reservation_service import ReservationService
from halfgateway.api.services import (
    CatalogueService,
    HealthService,
    InterconnectionService,
    StreamAddresses,
    StreamService,
)
from halfgateway.app.anchoring import Outside
from halfgateway.app.door import Control
from halfgateway.app.keeping import Records
from halfgateway.app.office import Office
from halfgateway.app.reload import ConfigurationInForce
from halfgateway.config import Configuration
from halfgateway.control.custody import Custody
from halfgateway.control.restoration import Restoration
from halfgateway.control.standing import Standing
from halfgateway.downstream.server import RtspServer
from halfgateway.errors import HalfGatewayError
from halfgateway.exporting.exports import Exports
from halfgateway.folder import DataFolder
from halfgateway.metrics import ForwarderCollector, NodeCollector, SafekeepingCollector
from halfgateway.siem.forwarder import Forwarder
from ops.correspondence.correspondence import CorrespondenceBooks
from ops.incidents.book import IncidentBooks
from ops.incidents.desk import IncidentDesk
from ops.windows import held


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """The parts of a node of which its API is made."""

    configuration: Configuration
    folder: DataFolder
    records: Records
    control: Control
    office: Office
    journal: Journal
    rtsp: RtspServer
    sessions: Sessions
    proof: CertificateProof
    in_force: ConfigurationInForce
    custody: Custody
    reservations: ReservationService
    exports: Exports | None
    forwarder: Forwarder | None
    outside: Outside
    health: HealthService
    restoration: Restoration
    clock: Clock

    def ports(self, addresses: StreamAddresses) -> Ports:
        """The services, where players find streams at ``addresses``."""
        return Ports(
            authenticator=self._login(),
            sessions=self.sessions,
            trace=self.control.tracer,
            cameras=CatalogueService(
                self.records.cameras, self.control.view.current, self.control.terms, self.clock, self.control.recorders
            ),
            streams=StreamService(
                desk=self.control.desk,
                assertions=self.control.assertions,
                streams=self.control.open_streams,
                addresses=addresses,
            ),
            interconnection=InterconnectionService(
                interconnection=self.control.interconnection,
                restoration=self.restoration,
                slots=self.control.slots,
                table=self.control.table,
                terms=self.control.terms,
                node=self.configuration.node.id,
            ),
            incidents=IncidentDesk(
                IncidentBooks(self.folder.incidents, clock=self.clock),
                self.clock,
                clocks=self.configuration.incidents.legal_clocks(),
            ),
            correspondence=CorrespondenceBooks(self.folder.correspondence, clock=self.clock),
            history=HistoryService(self.journal),
            administration=self.in_force,
            purges=PurgeService(self.journal, self.in_force.retention, self.clock),
            custody=self.custody,
            reservations=self.reservations,
            exports=ExportService(self.exports, self.control.assertions, self.control.tracer),
            anchors=AnchorService(self.outside.anchoring, self.journal.node),
            trace_custody=self.outside.custody,
            health=self.health,
            gatekeeper=Standing(self.control.view.current, self.control.terms, self.clock),
            personnel=self.office.personnel,
            orders=self.office.orders,
            changes=self.office.life.changes,
            annexes=self.office.life.annexes,
            convention=self.office.life.convention,
            holds=self.office.safekeeping.holds,
            requests=self.office.safekeeping.requests,
            retention=self.office.safekeeping.retention,
            probe=self.office.safekeeping.probe,
            registry=self._metrics(),
            clock=self.clock,
        )

    def _login(self) -> Login:
        return Login(
            accounts=self.records.accounts,
            sessions=self.sessions,
            passwords=self.records.passwords,
            certificates=self.proof,
            recovery_codes=self.records.recovery_codes,
            break_glass=self.records.break_glass,
            throttle=self.control.throttle,
            acquaintances=Acquaintances(self.records.database.sessions, self.clock),
            clock=self.clock,
        )

    def _metrics(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        registry.register(
            NodeCollector(
                table=self.control.table,
                hub=self.control.hub,
                rtsp=self.rtsp,
                interconnection=self.control.interconnection,
                trace_size=lambda: self.journal.size,
                trace_writable=lambda: self.journal.unwritable_since_s is None,
                reports_due=lambda: self.custody.reports_due,
                anchors=self.outside.anchoring,
                windows_held=lambda: held(
                    self.control.view.life().windows, self.control.interconnection.state, self.clock.now()
                ),
            )
        )
        registry.register(SafekeepingCollector(self.office.safekeeping.watch, self.office.safekeeping.probe))
        if self.forwarder is not None:
            registry.register(ForwarderCollector(self.forwarder))
        return registry


def health_of(journal: Journal, control: Control, records: Records) -> HealthService:
    """What must answer for the node to serve."""
    return HealthService(
        tuple(probes_of(journal, control, records).items()),
        (JournalUnavailable, HalfGatewayError, RecordsUnavailableError),
    )


def probes_of(journal: Journal, control: Control, records: Records) -> dict[str, Callable[[], Awaitable[object]]]:
    """How each part that a stream needs is asked; one that raises nothing is well."""
    return {
        "trace": journal.probe,
        "state-store": control.slots.usage,
        "records": lambda: records.accounts.find(""),
    }
