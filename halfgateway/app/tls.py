"""The node's certificates: read from files, read again when those change, held against what runs (S02, S12)."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from cryptography import x509

from auth.accounts import AccountRepository, BoundCertificate
from auth.certificates import CertificateVerifier
from auth.errors import RecordsUnavailableError
from auth.possession import CertificateProof, Fallen
from auth.revocation import load_revocation_lists
from auth.trace import Draft, Kind
from halfgateway.app.door import Control
from halfgateway.config import ConfigurationError, TlsSection
from halfgateway.control.endings import CertificateFallen
from halfgateway.net.tls import server_context

log = logging.getLogger(__name__)

CHECK_FILES_S = 2.0
"""How often the files are looked at: a revocation ends what runs within five seconds."""

CHECK_DATES_S = 60.0
"""How often certificates in use are verified although no file has changed: their dates pass by themselves."""

ALARMS_AT = (0.5, 0.8, 1.0)
"""Parts of a revocation list's life after which its renewal is asked for, louder each time; at the last it is stale
and nobody comes in."""

Stamp = tuple[int, int, int]
"""A file's inode, size in bytes and time of change in nanoseconds: what differs when it was replaced or written."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the files of a section held when they were read; ``stamps`` tells whether one has changed since."""

    section: TlsSection
    stamps: dict[Path, Stamp | None]
    https: ssl.SSLContext
    rtsps: ssl.SSLContext
    authorities_pem: bytes
    revocation_lists_pem: bytes


def load(section: TlsSection) -> Loaded:
    """Read the files of a section, all of which can be used. Raises OSError, ValueError."""
    stamps = _stamps(section)
    context = partial(
        server_context, certificate=section.certificate, key=section.key, client_authorities=section.client_ca
    )
    authorities_pem = section.client_ca.read_bytes()
    revocation_lists_pem = section.revoked.read_bytes() if section.revoked is not None else b""
    x509.load_pem_x509_certificates(authorities_pem)  # what cannot be adopted is refused here
    load_revocation_lists(revocation_lists_pem)
    return Loaded(
        section,
        stamps,
        https=context(alpn=["http/1.1"]),
        rtsps=context(with_tls_1_2=True),
        authorities_pem=authorities_pem,
        revocation_lists_pem=revocation_lists_pem,
    )


class TlsFiles:
    """The contexts of new handshakes and the verifier of clients, always those of the newest files that are whole.

    Raises ConfigurationError where the first ones cannot be used. Later ones that cannot are logged, and those before
    stay: a revocation list that is not renewed lets nobody in once it is stale.
    """

    def __init__(self, section: TlsSection, verifier: CertificateVerifier) -> None:
        self.handshake_timeout_s = section.handshake_timeout_s
        self._verifier = verifier
        try:
            self.adopt(load(section))
        except (OSError, ValueError) as error:
            raise ConfigurationError([f"tls: {error}"]) from error

    def https_context(self) -> ssl.SSLContext:
        """For the next handshake on the HTTPS port."""
        return self._loaded.https

    def rtsps_context(self) -> ssl.SSLContext:
        """For the next handshake on the RTSPS port."""
        return self._loaded.rtsps

    def adopt(self, loaded: Loaded) -> None:
        """Use these, which were loaded for any section, from the next handshake on."""
        self._verifier.replace(loaded.authorities_pem, loaded.revocation_lists_pem)
        self._loaded = loaded
        self._seen = loaded.stamps

    async def refresh(self) -> list[str]:
        """Read the files again if one has changed; the names of those that have, empty if they cannot be used.

        One that changes while the others are being read, or that could not be used by itself, is named as well.
        """
        section = self._loaded.section
        stamps = await asyncio.to_thread(_stamps, section)
        changed = _names_of_changed(self._seen, stamps)
        if not changed or section is not self._loaded.section:
            return []
        self._seen = stamps
        try:
            loaded = await asyncio.to_thread(load, section)
        except (OSError, ValueError) as error:
            log.error("tls.not_renewed files=%s error=%s", ",".join(changed), error)
            return []
        if section is not self._loaded.section:  # other files are named since
            return []
        changed = _names_of_changed(self._loaded.stamps, loaded.stamps)
        self.adopt(loaded)
        log.info("tls.renewed files=%s", ",".join(changed))
        return changed


class CertificateWatch:
    """Follows the files, and ends what was opened by a certificate that is good no longer, on whichever node it runs.

    What runs here ends at once, without the records. That the certificate has fallen is put on record, so that its
    logins end and every node ends what it serves by it.
    """

    def __init__(
        self,
        files: TlsFiles,
        verifier: CertificateVerifier,
        proof: CertificateProof,
        control: Control,
        accounts: AccountRepository,
    ) -> None:
        self._files = files
        self._proof = proof
        self._verifier = verifier
        self._control = control
        self._accounts = accounts
        self._in_use: list[BoundCertificate] = []
        self._owed: dict[str, Fallen] = {}
        self._alarms = 0
        self._unverified_s = CHECK_DATES_S

    def verify_soon(self) -> None:
        """Other authorities or lists are in use: hold what runs against them at the next look."""
        self._unverified_s = CHECK_DATES_S

    async def run(self) -> NoReturn:
        """Hold certificates against files and dates until cancelled."""
        while True:
            await asyncio.sleep(CHECK_FILES_S)
            self._unverified_s += CHECK_FILES_S
            changed = await self._files.refresh()
            if changed:
                self._control.tracer.eventual(Draft(kind=Kind.CONFIG_CHANGED, detail={"files": changed}))
            if changed or self._unverified_s >= CHECK_DATES_S:
                self._unverified_s = 0.0
                self._warn_of_age()
                self._end(await asyncio.to_thread(self._proof.fallen, await self._used()))
            await self._put_on_record()

    async def ask_responders(self) -> NoReturn:
        """Hold certificates against what their responders say, until cancelled: by itself, for one may be silent."""
        while True:
            await asyncio.sleep(CHECK_DATES_S)
            self._end(await self._proof.fallen_online(await self._used()))

    def _warn_of_age(self) -> None:
        used = self._verifier.used_life() or 0.0
        passed = sum(used >= limit for limit in ALARMS_AT)
        if passed > self._alarms:
            level = logging.CRITICAL if passed == len(ALARMS_AT) else logging.WARNING
            log.log(level, "crl.ageing used_percent=%d", used * 100)
        self._alarms = passed

    async def _used(self) -> list[BoundCertificate]:
        """What logins and streams were opened by; as it was last known, while the records do not answer."""
        here = {stream.request.principal.certificate for stream in self._control.table}
        try:
            self._in_use = await self._accounts.certificates_in_use([name for name in here if name is not None])
        except RecordsUnavailableError as error:
            log.warning("certificates.unknown error=%s", error)
        return self._in_use

    def _end(self, fallen: list[Fallen]) -> None:
        names = {each.certificate.name: each for each in fallen}
        self._owed |= names
        for stream in self._control.table:
            if stream.request.principal.certificate in names:
                self._control.closer.end(stream, CertificateFallen())

    async def _put_on_record(self) -> None:
        for name, fallen in tuple(self._owed.items()):
            try:
                is_news = await self._accounts.let_certificate_fall(name)
            except RecordsUnavailableError as error:
                log.warning("certificate.not_on_record account=%s error=%s", fallen.certificate.account, error)
                return
            del self._owed[name]
            if is_news:
                detail = {"reason": fallen.reason.value}
                account = fallen.certificate.account
                self._control.tracer.eventual(Draft(kind=Kind.SESSION_CLOSED, account=account, detail=detail))


def _names_of_changed(before: dict[Path, Stamp | None], after: dict[Path, Stamp | None]) -> list[str]:
    return [path.name for path, stamp in after.items() if stamp != before.get(path)]


def _stamps(section: TlsSection) -> dict[Path, Stamp | None]:
    files = [section.certificate, section.key, section.client_ca]
    files += [section.revoked] if section.revoked is not None else []
    return {path: stamp_of(path) for path in files}


def stamp_of(path: Path) -> Stamp | None:
    """By what a file is known to have changed; None where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
