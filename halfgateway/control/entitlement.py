"""What was granted once and is allowed no longer ends: time has passed, or what is agreed or on record has changed.

This is the one place that decides a running stream again (C09, C18, S12): against the terms in force and the records of
who may, both in memory, as a new request would be.
"""

from __future__ import annotations

from collections.abc import Callable

from auth.policy.conditions import CERTIFICATE_FALLEN
from halfgateway.control.access import AccessRequest, Via
from halfgateway.control.admission import Admission
from halfgateway.control.callers import Machines
from halfgateway.control.endings import CameraWithdrawn, CertificateFallen
from halfgateway.control.streams import Stream, StreamTable
from halfgateway.errors import NotHabilitated, Refusal, UnknownCamera
from halfgateway.turns import Turns

LOOK_AGAIN_S = 2.0
"""How long a stream whose right has ended by the calendar may go on, twice at the most; 5 s are promised (S12). What is
changed on record is decided of at once. A decision costs a quarter of a millisecond, so they are made in turn."""


class Entitlement:
    """Holds every stream against what is agreed and who may now, from memory alone. ``now`` is the monotonic clock."""

    def __init__(
        self,
        *,
        table: StreamTable,
        admission: Admission,
        machines: Machines,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._admission = admission
        self._machines = machines
        self._decided_at_revision: int | None = None
        self._turns = Turns(lambda: table, round_s=LOOK_AGAIN_S, now=now)

    def look(self) -> None:
        """Decide again of the streams whose turn has come, each once in :data:`LOOK_AGAIN_S`; of all of them at once
        where the records of who may have changed.
        """
        revision = self._admission.records_revision
        if revision != self._decided_at_revision:
            self._decided_at_revision = revision
            self.sweep()
        for stream in self._turns.due():
            if stream in self._table:
                self._decide_again(stream)

    def sweep(self) -> None:
        """Decide again of all of them at once: what is agreed has changed.

        A cap that was lowered is none: who is in stays, and nobody comes in until there is room (C01).
        """
        for stream in self._table:
            self._decide_again(stream)

    def _decide_again(self, stream: Stream) -> None:
        cause = self._cause_to_end(stream.request)
        if cause is not None:
            self._table.condemn(stream, cause)

    def _cause_to_end(self, request: AccessRequest) -> Refusal | None:
        refusal = self._admission.no_longer(request)
        if isinstance(refusal, UnknownCamera):
            return CameraWithdrawn("La caméra n'est plus mise à disposition.")
        if refusal is not None and refusal.reason == CERTIFICATE_FALLEN:
            return CertificateFallen()
        if refusal is None and request.ticket is None and request.via is not Via.API:
            return self._machine_refusal(request)
        return refusal

    def _machine_refusal(self, request: AccessRequest) -> Refusal | None:
        machine = self._machines.find(request.principal.account)
        if machine is None:
            return NotHabilitated("L'usage de ce compte de service sans titre d'accès n'est plus convenu.")
        if request.via is Via.RTSP and not machine.over_plain_rtsp:
            return NotHabilitated("Un certificat en cours de validité est requis, par RTSPS.")
        return None
