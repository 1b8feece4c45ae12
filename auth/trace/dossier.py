"""A dossier that was handed over, checked offline: one entry and its proofs, or a whole journal (T05, T06).

Its files, all but the first four only where there is something to say:

- ``LISEZMOI.txt``, ``halfgateway-verify``: how to read and check the rest;
- ``NODE.pem``: the log's public keys, oldest first;
- ``inclusion.tlog-proof``: that the leaf is under a checkpoint, which it carries;
- ``leaf.bin``: the leaf record of 52 bytes;
- ``salt.bin``, ``entry.json``: what opens the leaf's commitment (their concatenation hashes to it), unless purged;
- ``earlier.checkpoint``, ``consistency.txt``: an older checkpoint, and that the later one extends it;
- ``handover.checkpoints``: where the log's key was changed, the checkpoints that hand over from key to key;
- ``anchors/``: checkpoint notes that others cosigned, one in each ``NAME.note``, and time-stamp tokens over such a
  note's bytes (RFC 3161), each in a ``NAME.tst`` beside it;
- ``journal/``: a copy of the whole journal, instead of one entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import Certificate, CertificateRevocationList

from auth.errors import AuthorityRevoked, NoteError, TraceDamaged, TraceUnavailable
from auth.trace.checkpoint import Checkpoint, KeyChain, SignedNote, parse_checkpoint, parse_note, verifier_key
from auth.trace.layout import LEAF, MAX_PAYLOAD_BYTES, SALT_BYTES, is_node_name, origin
from auth.trace.notes import NoteReader, key_name, open_regular, read_keys
from auth.trace.proofs import MAX_PROOF_BYTES, ConsistencyFile, InclusionFile
from auth.trace.scan import PayloadForm
from auth.trace.timestamp import MAX_TOKEN_BYTES, read_timestamp
from auth.trace.tree import leaf_hash, verify_consistency, verify_inclusion
from auth.trace.verify import ANCHORS, Status, Verification, verify_folder
from auth.trace.witness import Cosigner

README, VERIFIER = "LISEZMOI.txt", "halfgateway-verify"
INCLUSION, LEAF_RECORD = "inclusion.tlog-proof", "leaf.bin"
SALT, ENTRY = "salt.bin", "entry.json"
EARLIER, CONSISTENCY = "earlier.checkpoint", "consistency.txt"
HANDOVER, JOURNAL = "handover.checkpoints", "journal"
TOKEN_SUFFIX, NOTE_SUFFIX = ".tst", ".note"

MAX_ANCHORS = 10_000
"""Anchors of one dossier: one a day for the longest convention and many times more; further ones are refused."""


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A head that a known cosigner saw, and when (Unix seconds)."""

    name: str
    size: int
    at: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a dossier, and who else had seen the heads that it rests on.

    ``unchecked_tokens`` are time-stamp tokens whose authority was not named: they are over what they should be over,
    and nothing is made of them. ``revoked_tokens`` are those of an authority whose certificate had been revoked, or of
    which no list said that it had not: they anchor nothing either.
    """

    verification: Verification
    cosigned: tuple[Cosigned, ...]
    unchecked_tokens: int = 0
    revoked_tokens: int = 0


def verify_dossier(
    folder: Path,
    *,
    anchors: Sequence[str] = (),
    keys: Sequence[Ed25519PublicKey] | None = None,
    cosigners: Sequence[Cosigner] = (),
    authorities: Sequence[Certificate] = (),
    revocations: Sequence[CertificateRevocationList] = (),
) -> Judgement:
    """Verify a journal's folder, or a dossier with a journal or with one entry in it. Blocking.

    ``anchors`` are checkpoint notes that the verifying person kept, and trusts. Those that lie in the dossier itself
    come from whoever handed it over: they count where one of the ``cosigners`` signed them, or a time-stamping
    authority that is one of ``authorities`` or certified by one, and whose certificate the issuer's list in
    ``revocations`` does not name, where there is one; the log must extend them anyhow. ``keys`` as in
    :func:`verify_folder`. Raises NoteError when an anchor is no note or a known cosigner's line in one does not
    hold, TraceUnavailable when a file cannot be read.
    """
    given = [parse_note(anchor.encode()) for anchor in anchors]
    seen = [each for note in given for each in _cosignatures(note, cosigners)]
    witnessed, unchecked, revoked = list(given), 0, 0
    unwitnessed: list[SignedNote] = []
    inside = folder / JOURNAL
    try:
        for enclosed in [*_enclosed_anchors(folder / ANCHORS), *_enclosed_anchors(inside / ANCHORS)]:
            vouched = _cosignatures(enclosed.note, cosigners)
            try:
                vouched += enclosed.timestamped(authorities, revocations)
                unchecked += enclosed.token is not None and not vouched
            except AuthorityRevoked:
                revoked += 1
            seen += vouched
            (witnessed if vouched else unwitnessed).append(enclosed.note)
        if (folder / INCLUSION).is_file():
            proof = _EntryProof(folder, keys, cosigners)
            verdict = proof.judge(witnessed)
            return Judgement(verdict, (*seen, *proof.cosigned), unchecked, revoked)
    except OSError as error:
        raise TraceUnavailable(f"le dossier ne peut être lu : {error}") from error
    except (NoteError, TraceDamaged) as error:
        return Judgement(Verification(Status.INVALID, f"une ancre jointe ne tient pas : {error}"), ())
    found = verify_folder(
        inside if inside.is_dir() else folder,
        anchors=[str(note) for note in witnessed],
        unwitnessed=[str(note) for note in unwitnessed],
        keys=keys,
    )
    return Judgement(found, tuple(seen), unchecked, revoked)


@dataclass(frozen=True, slots=True)
class _Enclosed:
    """A note that lies in the dossier, and the token over its bytes if there is one."""

    note: SignedNote
    token: bytes | None

    def timestamped(
        self, authorities: Sequence[Certificate], revocations: Sequence[CertificateRevocationList]
    ) -> list[Cosigned]:
        """Tell which authority stamped the note, if a known one did.

        Raises AuthorityRevoked, NoteError where the token is bad.
        """
        if self.token is None:
            return []
        stamp = read_timestamp(self.token, str(self.note).encode(), authorities, revocations)
        return [] if stamp is None else [Cosigned(stamp.authority, parse_checkpoint(self.note.text).size, stamp.at)]


def _enclosed_anchors(folder: Path) -> list[_Enclosed]:
    if not folder.is_dir():
        return []
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if sum(path.suffix == NOTE_SUFFIX for path in paths) > MAX_ANCHORS:
        raise NoteError(f"il y a plus de {MAX_ANCHORS} ancres")
    tokens = {path.stem: _bounded_bytes(path, MAX_TOKEN_BYTES) for path in paths if path.suffix == TOKEN_SUFFIX}
    notes = {
        path.stem: parse_note(_bounded_bytes(path, MAX_PROOF_BYTES)) for path in paths if path.suffix == NOTE_SUFFIX
    }
    alone = sorted({path.name for path in paths if path.suffix not in {TOKEN_SUFFIX, NOTE_SUFFIX}})
    alone += sorted(tokens.keys() - notes.keys())
    if alone:
        raise NoteError(f"{alone[0]} n'est ni une note, ni un jeton sur une note")
    return [_Enclosed(note, tokens.get(name)) for name, note in notes.items()]


def _cosignatures(note: SignedNote, cosigners: Sequence[Cosigner]) -> list[Cosigned]:
    size = parse_checkpoint(note.text).size
    seen = [(cosigner.name, cosigner.cosigned_at(note)) for cosigner in cosigners]
    return [Cosigned(name, size, at) for name, at in seen if at is not None]


def _bounded_bytes(path: Path, most: int) -> bytes:
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise TraceDamaged(f"{path.name} est trop long")
    return data


class _EntryProof:
    """One entry's dossier: each step raises TraceDamaged at the first thing that does not hold."""

    def __init__(self, folder: Path, keys: Sequence[Ed25519PublicKey] | None, cosigners: Sequence[Cosigner]) -> None:
        self._folder = folder
        self._keys = keys
        self._cosigners = cosigners
        self._key: str | None = None
        self._node: str | None = None
        self._n: int | None = None
        self._heads: dict[int, Checkpoint] = {}
        self.cosigned: tuple[Cosigned, ...] = ()

    def judge(self, anchors: Sequence[SignedNote]) -> Verification:
        try:
            return self._judge(anchors)
        except NoteError as error:
            return self._verdict(Status.INVALID, str(error), first_bad=self._n)
        except TraceDamaged as damage:
            status = Status.INCOMPLETE if damage.missing else Status.INVALID
            return self._verdict(status, str(damage), first_bad=self._n)

    def _judge(self, anchors: Sequence[SignedNote]) -> Verification:
        proof = InclusionFile.parse(self._read(INCLUSION, MAX_PROOF_BYTES))
        self._n = proof.n
        chain = self._chain(parse_checkpoint(proof.note.text).origin)
        head = chain.open_any(proof.note)
        self._heads[head.size] = head
        opened = self._check_leaf(proof, head)
        notes = [proof.note, *self._check_consistency(chain, head)]
        if not chain.trusted:
            raise TraceDamaged("un point de contrôle est signé d'une clé à laquelle le journal n'a jamais transmis")
        self.cosigned = tuple(seen for note in notes for seen in _cosignatures(note, self._cosigners))
        anchored = max((self._meet(chain, anchor) for anchor in anchors), default=0)
        if anchored < 0:
            return self._verdict(Status.DIVERGED, "une ancre a vu un autre journal", first_bad=self._n)
        anchored = max([anchored, *(seen.size for seen in self.cosigned)])
        what = "l'entrée" if opened else "l'engagement de l'entrée éliminée"
        if anchored > proof.n:
            return self._verdict(Status.VALID, f"{what} {proof.n} est dans le journal qui a été ancré", anchored)
        return self._verdict(
            Status.UNANCHORED, f"{what} {proof.n} est dans le journal, à en croire sa propre signature"
        )

    def _check_leaf(self, proof: InclusionFile, head: Checkpoint) -> bool:
        """Check the leaf's place in the tree, and what it commits to; tell whether that is there."""
        record = self._read(LEAF_RECORD, LEAF.size)
        if len(record) < LEAF.size:
            raise TraceDamaged(f"{LEAF_RECORD} est tronqué", missing=True)
        n, at_us, code, committed = LEAF.unpack(record)
        if n != proof.n or not verify_inclusion(n, head.size, leaf_hash(record), proof.path, head.root):
            raise TraceDamaged(f"la feuille n'est pas l'entrée {proof.n} des {head.size} du point de contrôle")
        present = [(self._folder / name).is_file() for name in (SALT, ENTRY)]
        if not any(present):
            return False
        salted = self._read(SALT, SALT_BYTES) + self._read(ENTRY, MAX_PAYLOAD_BYTES)
        if sha256(salted).digest() != committed:
            raise TraceDamaged(f"{SALT} et {ENTRY} ne sont pas ce à quoi la feuille engage")
        PayloadForm(self._node or "").check(n, at_us, code, salted)
        return True

    def _check_consistency(self, chain: KeyChain, head: Checkpoint) -> list[SignedNote]:
        """Check that the checkpoint extends the earlier one, where one is given; return that one's note."""
        if not (self._folder / EARLIER).is_file():
            return []
        note = parse_note(self._read(EARLIER, MAX_PROOF_BYTES))
        earlier = chain.open_any(note)
        proof = ConsistencyFile.parse(self._read(CONSISTENCY, MAX_PROOF_BYTES))
        later = chain.open_any(proof.note)
        if later != head or proof.old != earlier.size:
            raise TraceDamaged("la preuve de cohérence est entre d'autres points de contrôle")
        if not verify_consistency(earlier.size, head.size, earlier.root, head.root, proof.path):
            raise TraceDamaged(f"le point de contrôle de {head.size} entrées ne prolonge pas celui de {earlier.size}")
        self._heads[earlier.size] = earlier
        return [note]

    def _meet(self, chain: KeyChain, anchor: SignedNote) -> int:
        """Return an anchor's size where it is one of the heads here, 0 where it is of neither, -1 where it differs."""
        try:
            seen = chain.open_any(anchor)
        except NoteError:
            return -1
        head = self._heads.get(seen.size)
        if head is None:
            return 0
        return seen.size if head.root == seen.root else -1

    def _chain(self, name: str) -> KeyChain:
        node = name.removeprefix(origin(""))
        if origin(node) != name or not is_node_name(node):
            raise TraceDamaged(f"{name} n'est pas le journal d'une demi-passerelle")
        self._node = node
        given, keys = self._keys, list(self._keys or ())
        if given is None or (self._folder / key_name(node)).is_file():
            self._read(key_name(node), MAX_PROOF_BYTES)
            named = read_keys(self._folder / key_name(node))
            keys = named if given is None or named[: len(keys)] == keys else keys
        self._key = verifier_key(name, keys[0])
        chain = KeyChain(name, keys)
        if (self._folder / HANDOVER).is_file():
            with (self._folder / HANDOVER).open("rb") as file:
                for handover in NoteReader(file, MAX_PROOF_BYTES):
                    chain.open(handover)
        return chain

    def _read(self, name: str, most: int) -> bytes:
        try:
            return _bounded_bytes(self._folder / name, most)
        except FileNotFoundError as error:
            raise TraceDamaged(f"{name} manque", missing=True) from error

    def _verdict(
        self, status: Status, message: str, anchored: int = 0, *, first_bad: int | None = None
    ) -> Verification:
        signed = max(self._heads, default=0)
        return Verification(
            status,
            message,
            node=self._node,
            key=self._key,
            entries=1 if status in (Status.VALID, Status.UNANCHORED) else 0,
            checkpoints=len(self._heads),
            signed=signed,
            anchored=anchored,
            first_bad=first_bad,
        )
