"""Makes the example of an incident's dossier out of a drill that is played here: ``python -m docs.make_dossier``.

Books, mails, signature and journal are real ones; only the clock is held, and the mail server's words are written here.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.demo_authority import DemoAuthority
from auth.trace import Draft, Journal, Kind
from halfgateway.dossiers.incident import incident_proofs, write_incident_dossier
from ops.contacts import Contact, ContactRole, Directory, Sender
from ops.incidents.book import IncidentBooks
from ops.incidents.duties import Duty
from ops.incidents.events import (
    Acknowledged,
    Noted,
    NoticeAcknowledged,
    NoticeAttempted,
    NoticeDelivered,
    NoticeKind,
    NoticeQueued,
    NoticeSubmitted,
    Opened,
    Recovered,
    Resolved,
    Said,
    Source,
    StepTold,
)
from ops.interconnection import Author, Ground
from ops.notices.message import Composer
from ops.notices.smime import SmimeSigner
from ops.parties import Party

TARGET = Path(__file__).parent / "examples" / "dossier-exercice"
INCIDENT = "20261121T021200Z-e0e0e0"
START = datetime(2026, 11, 21, 2, 12, tzinfo=UTC)
SINCE = date(2025, 10, 21)
NODE = "exemple"
PP, SYN = "pvpp@pp.example", "dpp@syn.example"
DIRECTORY = Directory(
    (
        Contact("Permanence du PVPP", Party.PP, ContactRole.FUNCTIONAL_MAILBOX, PP, SINCE),
        Contact("Service d'exploitation", Party.SYN, ContactRole.FUNCTIONAL_MAILBOX, SYN, SINCE),
        Contact(
            "Astreinte SYN", Party.SYN, ContactRole.SINGLE_POINT, "astreinte@syn.example", SINCE, phone="01 00 00 00 03"
        ),
    )
)
SENDER = Sender(SYN, "Seine-et-Yvelines Numérique", "syn.example")
CAP = 10
SERVER, TLS = "smtp.syn.example [192.0.2.25]:587", "TLSv1.3, TLS_AES_256_GCM_SHA384, CN=smtp.syn.example"


class _PlayedClock:
    """A clock that the script moves."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - START).total_seconds()

    def pass_by(self, duration: timedelta) -> None:
        self.at += duration


class _Drill:
    """The drill, written into its book and followed into the journal as a node does."""

    def __init__(self, folder: Path, clock: _PlayedClock, journal: Journal, signer: SmimeSigner) -> None:
        self.books = IncidentBooks(folder / "incidents", clock=clock)
        self._clock = clock
        self._journal = journal
        self._note: str | None = None
        self._composer = Composer(SENDER, lambda: DIRECTORY, lambda: CAP, signer, lambda: self._note)

    async def say(self, who: str, *said: Said) -> None:
        self.books.update(INCIDENT, who, lambda _: said)
        for one in said:
            await self._journal.record(
                Draft(kind=Kind(one.kind), account=who, source="local", detail={"incident": INCIDENT})
            )

    async def send(self, notice: str, tells: NoticeKind, *, deferred: bool = False) -> None:
        """A notice: composed, kept, tried once in vain where ``deferred``, taken, delivered to PP."""
        now = self._clock.now()
        await self._journal.write_checkpoint()
        page = await self._journal.reader().checkpoints(limit=1)
        self._note = page.items[0].note
        mail = self._composer.compose(self.books.read(INCIDENT), Duty(tells, now, None), notice, now)
        sha256 = self.books.keep_message(INCIDENT, mail.content)
        queued = NoticeQueued(
            notice=notice, tells=tells, message_id=mail.message_id, sha256=sha256, recipients=mail.recipients
        )
        await self.say("notifier", queued)
        if deferred:
            await self._attempt(notice, sha256, "451 4.7.1 Greylisted, try again in 60 seconds", "deferred")
            self._clock.pass_by(timedelta(seconds=61))
        answer = f"250 2.0.0 Ok: queued as {hashlib.sha256(notice.encode()).hexdigest()[:10].upper()}"
        await self._attempt(notice, sha256, answer, "taken")
        taken = [NoticeSubmitted(notice=notice, recipient=each, evidence=answer) for each in mail.recipients]
        await self.say("notifier", *taken)
        self._clock.pass_by(timedelta(seconds=8))
        report = "rapport de remise (RFC 3464) : delivered, 2.0.0"
        await self.say("notifier", NoticeDelivered(notice=notice, recipient=PP, evidence=report))

    async def _attempt(self, notice: str, sha256: str, answer: str, outcome: str) -> None:
        dialogue = f"MAIL FROM:<{SYN}> RET=HDRS ENVID={INCIDENT}.{notice}@{SENDER.domain}\n{answer}"
        said = NoticeAttempted.model_validate(
            {
                "notice": notice,
                "route": "primary",
                "sha256": sha256,
                "server": SERVER,
                "tls": TLS,
                "dialogue": dialogue,
                "outcome": outcome,
            }
        )
        await self.say("notifier", said)


async def play(folder: Path, target: Path) -> None:
    """Play the drill below ``folder`` and write its dossier into ``target``, which must not be there."""
    clock, key = _PlayedClock(), Ed25519PrivateKey.generate()
    authority = DemoAuthority.open(folder / "ca", clock.now())
    issued = authority.mail(SYN, clock.now())
    signer = SmimeSigner.read(issued.certificate_path, issued.key_path)
    async with await Journal.open(folder / "trace", node=NODE, key=key, clock=clock) as journal:
        drill = _Drill(folder, clock, journal, signer)
        await _course(drill, clock)
        await journal.write_checkpoint()
        head = (await journal.reader().checkpoints(limit=1)).items[0]
        proofs = await incident_proofs(journal.reader(), INCIDENT, head, (key.public_key(),))
    first = [proof for proof in proofs if proof.entry.kind in {Kind.INCIDENT_OPENED, Kind.NOTICE_QUEUED}]
    write_incident_dossier(
        drill.books.read(INCIDENT),
        drill.books,
        target,
        proofs=first,
        authority=authority.certificate_path.read_bytes(),
    )


async def _course(drill: _Drill, clock: _PlayedClock) -> None:
    opened = Opened(
        t0=START,
        t0_source=Source.DECLARED,
        critical=False,
        by=Author.OPS,
        reason="exercice annuel : panne d'alimentation simulée",
        ground=Ground.DRILL,
    )
    await drill.say("syn-ops-01", opened)
    clock.pass_by(timedelta(seconds=2))
    await drill.send("cut-1", NoticeKind.CUT, deferred=True)
    clock.pass_by(timedelta(minutes=6))
    reply = f"réponse citant <{INCIDENT}.cut-1@{SENDER.domain}>"
    await drill.say(
        "notifier",
        NoticeAcknowledged(notice="cut-1", recipient=PP, evidence=reply),
        Acknowledged(means="reply", contact="Permanence du PVPP"),
    )
    clock.pass_by(timedelta(minutes=20))
    step = StepTold(text="Onduleur de secours mis en service (simulé).", next_by=START + timedelta(hours=2))
    await drill.say("syn-ops-01", Noted(about="nature", text="panne d'alimentation électrique (simulée)"), step)
    await drill.send("update-1", NoticeKind.UPDATE)
    clock.pass_by(timedelta(minutes=18))
    await drill.say("syn-ops-01", Noted(about="cause", text="défaut d'un onduleur (simulé)"))
    await drill.say("syn-ops-01", Recovered(at=clock.now(), reason="fin de l'exercice"))
    clock.pass_by(timedelta(minutes=5))
    await drill.send("restored-1", NoticeKind.RESTORED)
    await drill.say("syn-ops-01", Resolved(reason="exercice terminé"))


def main() -> None:
    """Replace the example."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "dossier"
        asyncio.run(play(Path(folder), made))
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(made, TARGET)


if __name__ == "__main__":
    main()
