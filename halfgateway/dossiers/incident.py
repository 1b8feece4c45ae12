"""The dossier of an incident: all that proves what happened, by when PP was told, and how far each mail came (N05).

In its folder, or its ``.zip``, lie ``LISEZMOI.txt`` with the commands that check the rest, ``dossier.pdf`` for people,
``livre/events`` (the book, to the byte), ``courriels/HASH.eml`` (each mail as it left), ``autorite.pem`` where the
signatures' authority was given, ``preuves/NODE-N/`` (the trace's entries on it, each with its proof), and
``halfgateway-verify``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.trace import Entry, SignedCheckpoint, TraceFilter, TraceReader
from auth.trace.dossier import README, VERIFIER
from auth.trace.single_file import single_file
from halfgateway.dossiers.incident_readme import readme
from halfgateway.dossiers.incident_words import KINDS, fields, instant, word
from halfgateway.dossiers.proof import EntryDossier, dossier_files, entry_dossier, write_files
from halfgateway.dossiers.tables import Column, Document, TableFormat, write_table
from ops.errors import BookError
from ops.incidents.book import IncidentBooks
from ops.incidents.duties import has_deadline
from ops.incidents.events import NoticeAttempted, NoticeQueued, Revised
from ops.incidents.incident import Incident, Notice
from ops.notices.discretion import discreet

PAPER, BOOK, MAILS, PROOFS, AUTHORITY = "dossier.pdf", "livre/events", "courriels", "preuves", "autorite.pem"

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class IncidentDossier:
    """Everything that goes in: the incident, its book's bytes, its mails by hash, and what stands around them.

    ``lost`` are the hashes of mails that the book names and the disk does not have as they were. ``authority`` is the
    PEM of who certified the mails' signer.
    """

    incident: Incident
    book: bytes
    mails: Mapping[str, bytes]
    lost: tuple[str, ...] = ()
    proofs: Sequence[EntryDossier] = ()
    authority: bytes | None = field(default=None, repr=False)

    @property
    def last_link(self) -> str:
        """The digest at the head of the book's last whole line: it covers all before it."""
        return self.book.rstrip(b"\n").rpartition(b"\n")[2].partition(b" ")[0].decode("ascii", "replace")

    @classmethod
    def of(
        cls,
        incident: Incident,
        books: IncidentBooks,
        *,
        proofs: Sequence[EntryDossier] = (),
        authority: bytes | None = None,
    ) -> IncidentDossier:
        """Collect it from the books. Blocking. Raises BookError where the book itself cannot be read."""
        book = books.exact(incident.id)
        mails, lost = {}, []
        for sha256 in _hashes(incident):
            try:
                mails[sha256] = books.message(incident.id, sha256)
            except BookError:
                lost.append(sha256)
        return cls(incident, book, mails, tuple(lost), tuple(proofs), authority)


def write_incident_dossier(
    incident: Incident,
    books: IncidentBooks,
    target: Path,
    *,
    proofs: Sequence[EntryDossier] = (),
    authority: bytes | None = None,
) -> None:
    """Write the dossier into a new folder, or a new ``.zip``. Blocking. Raises BookError, OSError."""
    dossier = IncidentDossier.of(incident, books, proofs=proofs, authority=authority)
    write_files(incident_files(dossier), target)


async def incident_proofs(
    reader: TraceReader, incident_id: str, head: SignedCheckpoint, keys: tuple[Ed25519PublicKey, ...]
) -> list[EntryDossier]:
    """Prove every entry of one node's trace that names the incident, oldest first, as far as ``head`` covers them.

    Raises TraceDamaged, TraceUnavailable.
    """
    found: list[Entry] = []
    cursor: str | None = None
    while True:
        page = await reader.entries(TraceFilter(incident=incident_id), limit=_PAGE, cursor=cursor)
        found += [entry for entry in page.items if entry.n < head.checkpoint.size]
        if page.next is None:
            break
        cursor = page.next
    return [await entry_dossier(reader, entry.n, head, keys, opened=True) for entry in reversed(found)]


def incident_files(dossier: IncidentDossier) -> dict[str, bytes]:
    """Return the dossier's files by name: the same bytes for the same dossier."""
    text = readme(
        dossier.incident,
        dossier.mails,
        [_proof_folder(proof) for proof in dossier.proofs],
        AUTHORITY if dossier.authority is not None else None,
        dossier.last_link,
    )
    files = {
        README: text.encode(),
        PAPER: write_table(incident_document(dossier), TableFormat.PDF),
        BOOK: dossier.book,
        **{f"{MAILS}/{sha256}.eml": content for sha256, content in dossier.mails.items()},
    }
    if dossier.authority is not None:
        files[AUTHORITY] = dossier.authority
    if dossier.proofs:
        files[VERIFIER] = single_file().encode()
    for proof in dossier.proofs:
        inside = {name: data for name, data in dossier_files(proof).items() if name not in {README, VERIFIER}}
        files |= {f"{_proof_folder(proof)}/{name}": data for name, data in inside.items()}
    return files


def incident_document(dossier: IncidentDossier) -> Document:
    """Lay the dossier out: what it comes to, the timeline, each mail with its attempts, the trace's proofs."""
    incident = dossier.incident
    rows = [
        (
            str(event.n),
            instant(event.at),
            event.who,
            KINDS[event.said.kind],
            " ; ".join(f"{name} : {value}" for name, value in fields(event.said)),
        )
        for event in incident.timeline
    ]
    annexes = [(f"Courriel {notice.id}", list(_notice_lines(notice, dossier))) for notice in incident.notices]
    annexes += [_proof_annex(proof) for proof in dossier.proofs]
    return Document(
        title=f"{'[EXERCICE] ' if incident.drill else ''}Dossier de l'incident n° {incident.id}",
        introduction=list(_summary(dossier)),
        columns=(Column("N°", 1), Column("Heure de Paris (UTC)", 6), Column("Auteur", 4), Column("Fait", 5),
                 Column("Détail", 20)),
        rows=rows,
        annexes=annexes,
    )  # fmt: skip


def _hashes(incident: Incident) -> list[str]:
    """The mails that were ever to be sent, in the order of the book; each once."""
    said = (event.said for event in incident.timeline)
    return list(dict.fromkeys(one.sha256 for one in said if isinstance(one, NoticeQueued | NoticeAttempted)))


def _summary(dossier: IncidentDossier) -> Iterator[str]:
    incident, opened = dossier.incident, dossier.incident.opened
    ground = "sans interruption" if opened.ground is None else word(opened.ground)
    yield f"Fondement : {ground}. Incident critique : {'oui' if incident.critical else 'non'}."
    yield f"Motif : {discreet(opened.reason)}"
    yield f"Survenance (T0) retenue : {instant(incident.t0)}, la plus ancienne de celles qui suivent."
    yield f"– à l'ouverture, par {word(opened.t0_source)} : {instant(opened.t0)}"
    for event in incident.timeline:
        if isinstance(event.said, Revised):
            said = event.said
            yield f"– révisée le {instant(event.at)} par {event.who} : {instant(said.t0)} ({discreet(said.reason)})"
    deadline = instant(incident.deadline) if has_deadline(incident) else "sans objet"
    yield f"Échéance de l'information (article 8, survenance + 8 h) : {deadline}"
    yield f"Premier courriel d'information pris en charge par un serveur : {_or_none(incident.informed_at)}"
    if incident.missed_at is not None:
        yield f"Échéance constatée comme manquée : {instant(incident.missed_at)}"
    yield f"Interruption : {_or_none(incident.interrupted_at)}. Rétablissement : {_or_none(incident.recovered_at)}."
    yield f"Accusé de réception : {_or_none(incident.acknowledged_at)}. Résolution : {_or_none(incident.resolved_at)}."
    for clock in incident.clocks.values():
        done = "en cours" if clock.done_at is None else f"satisfait le {instant(clock.done_at)}"
        yield f"Délai « {clock.name} » : de {instant(clock.start)} à {instant(clock.deadline)}, {done}"
    sha256 = hashlib.sha256(dossier.book).hexdigest()
    yield f"Livre de l'incident : {len(incident.timeline)} événements, SHA-256 {sha256}"
    if incident.damaged:
        yield "ATTENTION : une ligne du livre n'est plus telle qu'elle a été écrite ; la suite n'est pas reprise ici."
    if dossier.lost:
        yield f"ATTENTION : courriels absents ou altérés : {', '.join(dossier.lost)}"


def _notice_lines(notice: Notice, dossier: IncidentDossier) -> Iterator[str]:
    yield f"Objet : {word(notice.tells)}{', tardif' if notice.late else ''}"
    yield f"Message-ID : {notice.message_id}"
    yield f"Octets exacts : {MAILS}/{notice.sha256}.eml (SHA-256 : le nom du fichier)"
    yield f"À envoyer depuis : {instant(notice.queued_at)}{', puis retiré' if notice.withdrawn else ''}"
    for recipient in notice.recipients:
        evidence = f" : {recipient.evidence}" if recipient.evidence else ""
        yield f"Destinataire : {recipient.address} - {word(recipient.level)}, {instant(recipient.at)}{evidence}"
    for n, attempt in enumerate(notice.attempts, start=1):
        said = attempt.said
        yield ""
        yield f"Tentative {n} : {instant(attempt.at)} - {word(said.outcome)}"
        yield f"Route : {said.route} ; serveur : {said.server}"
        yield f"Pair TLS : {said.tls or 'aucun'}"
        yield f"SHA-256 envoyé : {said.sha256}"
        yield from (f"    {line}" for line in said.dialogue.splitlines())
    content = dossier.mails.get(notice.sha256)
    if content is not None:
        yield ""
        yield from _shown_mail(content)


def _shown_mail(content: bytes) -> Iterator[str]:
    message = message_from_bytes(content, EmailMessage, policy=default)
    for name in ("From", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To"):
        if message[name] is not None:
            yield f"{name}: {message[name]}"
    body = message.get_body(("plain",))
    if body is not None:
        yield ""
        yield from body.get_content().splitlines()


def _proof_annex(proof: EntryDossier) -> tuple[str, list[str]]:
    entry, head = proof.entry, proof.head
    return (
        f"Journal : nœud {entry.node}, entrée n° {entry.n}, {entry.kind.value}",
        [
            f"Heure : {instant(entry.at)}",
            f"Preuve : {_proof_folder(proof)}/",
            f"Point de contrôle de {head.checkpoint.size} entrées :",
            *(f"    {line}" for line in head.note.splitlines()),
        ],
    )


def _proof_folder(proof: EntryDossier) -> str:
    return f"{PROOFS}/{proof.entry.node}-{proof.entry.n}"


def _or_none(at: datetime | None) -> str:
    return "néant" if at is None else instant(at)
