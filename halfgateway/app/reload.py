"""The configuration read again while the node runs: validated whole, then applied at once, or not at all.

What is read again is named in :mod:`halfgateway.app.changes` by what is not. Everything that can fail is done first;
then the change is made durable in the trace; then it is applied in one step of the event loop, so that no request
meets half of it. Streams that are allowed as before are not touched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from auth.errors import RecordsUnavailableError
from auth.rights import earliest
from auth.trace import Draft, Kind
from auth.trace.retention import Retention
from camera_registry.clock import Clock
from camera_registry.onvif_process import OnvifProcess
from halfgateway import logs
from halfgateway.api.ports import ReloadOutcome
from halfgateway.app.changes import cameras_of, changed_keys, refused_keys
from halfgateway.app.door import Control, machine_uses, terms_of, tickets_show_one
from halfgateway.app.keeping import Records
from halfgateway.app.recorders import recorded_cameras
from halfgateway.app.tls import CertificateWatch, Loaded, TlsFiles, load
from halfgateway.config import CameraSection, Configuration, ConfigurationError, ConfigurationFile
from halfgateway.config_ops import faults_at_start
from halfgateway.control.callers import MachineAccount
from halfgateway.control.endings import CameraWithdrawn
from halfgateway.errors import InvalidRequest, Refusal, StateStoreUnavailable
from halfgateway.survey import Survey, device_of, hosts_of, may_show_less

log = logging.getLogger(__name__)

LOCAL_ACCOUNT, LOCAL_SOURCE = "local-os", "local"
"""Who sent a SIGHUP, as the trace has it: whom the operating system let do so, and its own log knows who that was."""

MAX_NAMED_CHANGES = 50
"""Keys that the trace names: an entry has 16 KiB, the longest key under 300 bytes. More are counted; the two hashes
tell which files to compare."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A configuration with all that it takes to apply it."""

    file: ConfigurationFile
    changed: tuple[str, ...]
    machines: Mapping[str, MachineAccount]
    tls: Loaded | None
    due: frozenset[str]


@dataclass(frozen=True, slots=True)
class Parts:
    """What of a node is told of another configuration. ``renew`` shows a new cap to the other nodes."""

    records: Records
    control: Control
    onvif: OnvifProcess
    survey: Survey
    tls: TlsFiles | None
    watch: CertificateWatch | None
    clock: Clock
    renew: Callable[[], Awaitable[None]]


class ConfigurationInForce:
    """Fills :class:`~halfgateway.api.ports.Administration`: reads the configuration again, one reload at a time.

    ``current`` is what is in force; ``file`` is what it was read from, if from a file.
    """

    def __init__(self, configuration: Configuration, file: ConfigurationFile | None, parts: Parts) -> None:
        self.current = configuration
        self._file = file
        self._parts = parts
        self._one_at_a_time = asyncio.Lock()

    def retention(self) -> Retention:
        """How long the entries of the trace are kept, as the configuration in force and the recorded end have it."""
        on_record = self._parts.control.view.life().on_record
        return self.current.retention.record(earliest(self.current.convention.ended_at, on_record.ended_at))

    async def reload(self, *, account: str, source: str) -> ReloadOutcome:
        """See the port.

        Raises ConfigurationError with every fault, TraceUnavailable, StateStoreUnavailable: then nothing has changed.
        """
        async with self._one_at_a_time:
            before = self._file
            try:
                prepared = await self._prepare(before)
                await self._parts.control.tracer.durable(_entry(before, prepared, account, source))
            except ConfigurationError as error:
                for fault in error.faults:
                    log.error("reload.refused account=%s fault=%s", account, fault)
                raise
            except Refusal as refusal:
                log.error("reload.failed account=%s error=%s", account, refusal)
                self._trace_refusal(refusal.code, account, source)
                raise
            self._apply(prepared)
            log.info("reload.complete account=%s changed=%s", account, ",".join(prepared.changed))
            await self._parts.renew()
            return ReloadOutcome(prepared.file.sha256, prepared.changed)

    async def read_machines_again(self) -> None:
        """Let the machine accounts count as they are on record now. Raises RecordsUnavailableError."""
        async with self._one_at_a_time:
            machines = await self._parts.control.machines.read(machine_uses(self.current))
            self._parts.control.machines.adopt(machines, all_show_one=tickets_show_one(self.current))

    async def follow(self, hung_up: asyncio.Event) -> NoReturn:
        """Reload each time that ``hung_up`` is set, until cancelled; what is wrong is in the log and in the trace."""
        while True:
            await hung_up.wait()
            hung_up.clear()
            try:
                await self.reload(account=LOCAL_ACCOUNT, source=LOCAL_SOURCE)
            except ConfigurationError:
                self._trace_refusal(InvalidRequest.code, LOCAL_ACCOUNT, LOCAL_SOURCE)
            except Refusal:  # logged and traced
                continue

    def _trace_refusal(self, code: str, account: str, source: str) -> None:
        detail = {"action": "reload"}
        draft = Draft(kind=Kind.ACTION_REFUSED, account=account, source=source, refusal=code, detail=detail)
        self._parts.control.tracer.refusal(draft)

    async def _prepare(self, before: ConfigurationFile | None) -> _Prepared:
        if before is None:
            raise ConfigurationError(["this node was not started from a configuration file"])
        file = await asyncio.to_thread(ConfigurationFile.read, before.path)
        after = file.configuration
        changed = changed_keys(self.current, after)
        faults = [f"{key}: cannot be changed while the node runs" for key in refused_keys(changed)]
        faults += faults_at_start(None, after.contacts, self._parts.clock.now())
        passwords, unreadable = await asyncio.to_thread(self._new_passwords, after.cameras)
        tls = None
        if after.tls is not None and after.tls != self.current.tls:
            try:
                tls = await asyncio.to_thread(load, after.tls)
            except (OSError, ValueError) as error:
                faults.append(f"tls: {error}")
        if faults or unreadable:
            raise ConfigurationError([*faults, *unreadable])
        try:
            machines = await self._parts.control.machines.read(machine_uses(after))
        except RecordsUnavailableError as error:
            raise StateStoreUnavailable("Les comptes de service ne peuvent être lus.") from error
        in_force = cameras_of(self.current)
        due = passwords | {camera.id for camera in after.cameras if in_force.get(camera.id) != camera}
        changed = tuple(sorted({*changed, *(f"cameras.{name}.password_file" for name in passwords & in_force.keys())}))
        return _Prepared(file, changed, machines, tls, frozenset(due))

    def _new_passwords(self, cameras: Iterable[CameraSection]) -> tuple[set[str], list[str]]:
        """The cameras on record whose password file holds another than is known, and the fault of each such file."""
        on_record = self._parts.records.cameras.snapshot.records
        changed, faults = set[str](), []
        for camera in cameras:
            known = on_record.get(camera.id)
            try:
                credentials = device_of(camera).credentials
            except (OSError, ValueError):
                faults.append(f"cameras.{camera.id}.password_file: {camera.password_file} must hold one line of text")
                continue
            if known is not None and known.connection.credentials != credentials:
                changed.add(camera.id)
        return changed, faults

    def _apply(self, prepared: _Prepared) -> None:
        """Put it in force, in one step: nothing is waited for, and nothing can fail."""
        before, after, parts = self.current, prepared.file.configuration, self._parts
        self.current, self._file = after, prepared.file
        control = parts.control
        control.terms.replace(terms_of(after))
        control.hub.stuck_limit_s = after.timings.stuck_reader_s
        control.machines.adopt(prepared.machines, all_show_one=tickets_show_one(after))
        if after.log_level != before.log_level:
            logs.set_level(after.log_level)
        if prepared.tls is not None and parts.tls is not None and parts.watch is not None:
            parts.tls.adopt(prepared.tls)
            parts.watch.verify_soon()
        parts.onvif.allow(hosts_of(after))
        parts.survey.look_after(after.cameras, due=prepared.due, recorded=recorded_cameras(after))
        self._end_what_is_withdrawn(cameras_of(before), cameras_of(after))

    def _end_what_is_withdrawn(self, before: Mapping[str, CameraSection], after: Mapping[str, CameraSection]) -> None:
        """Of a camera whose masked profile is another now, nothing is shown until its device has named that (L07)."""
        removed = before.keys() - after.keys()
        masked = {name for name in before.keys() & after.keys() if may_show_less(before[name], after[name])}
        control = self._parts.control
        self._parts.survey.withdraw(removed | masked)
        for stream in control.table:
            if stream.request.camera in masked:
                control.closer.end(stream, CameraWithdrawn("Seul le profil masqué de la caméra est mis à disposition."))
        control.entitlement.sweep()
        control.closer.end_what_is_over()
        for name in removed | masked:
            control.hub.withdraw(name)


def _entry(before: ConfigurationFile | None, prepared: _Prepared, account: str, source: str) -> Draft:
    detail = {
        "before": before.sha256 if before is not None else None,
        "after": prepared.file.sha256,
        "changed": list(prepared.changed[:MAX_NAMED_CHANGES]),
        "changes": len(prepared.changed),
    }
    return Draft(kind=Kind.CONFIG_CHANGED, account=account, source=source, detail=detail)
