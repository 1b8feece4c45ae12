"""RFC 3161 tokens over a checkpoint: made by OpenSSL, judged by us, and by openssl itself (T04, T06)."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import ReasonFlags

from auth.errors import NoteError
from auth.trace.anchors import AnchorStore
from auth.trace.checkpoint import parse_note
from auth.trace.dossier import verify_dossier
from auth.trace.timestamp import read_authorities, read_revocations, read_timestamp, token_of
from auth.trace.verifier import as_text, judge
from halfgateway.net import timestamping
from halfgateway.net.timestamping import TimestampError, ask_authority
from tests.timestamp_authority import TimestampAuthority, served
from tests.trace.journals import LEAVES, PAYLOADS, cut, frame_spans, leaf_spans, patch, write_journal
from tests.trace.tampering import notes, reshuffle


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimestampAuthority:
    return TimestampAuthority(tmp_path_factory.mktemp("tsa") / "good")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> TimestampAuthority:
    return TimestampAuthority(tmp_path_factory.mktemp("tsa") / "other", name="Une autre")


@pytest.mark.parametrize(("key", "ess"), [("ec", "sha256"), ("rsa", "sha1"), ("ec", "sha512")])
def test_a_token_tells_who_and_when(tmp_path: Path, key: str, ess: str) -> None:
    # T04: EC and RSA signers; the signer named by SHA-1 (RFC 2634), SHA-256 by default, another hash (RFC 5816)
    made = TimestampAuthority(tmp_path / "tsa", key=key, ess=ess)
    trusted = read_authorities(made.ca.read_bytes())
    token = made.token(b"a note")
    stamp = read_timestamp(token, b"a note", trusted)
    assert stamp is not None
    assert stamp.authority == "CN=Autorité d'essai 1"
    assert stamp.nonce is not None
    assert read_timestamp(token, b"a note", read_authorities((made.folder / "tsa.pem").read_bytes())) == stamp
    with pytest.raises(NoteError, match="autres octets"):
        read_timestamp(token, b"another note", trusted)


def test_a_token_of_nobody_known_says_nothing(
    authority: TimestampAuthority, stranger: TimestampAuthority, tmp_path: Path
) -> None:
    # T04
    token = authority.token(b"a note")
    assert read_timestamp(token, b"a note", ()) is None
    assert read_timestamp(token, b"a note", read_authorities(stranger.ca.read_bytes())) is None


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_every_changed_bit_of_a_token_is_seen_or_means_nothing(authority: TimestampAuthority) -> None:
    # T03, T04: no change makes it say another time, another authority, or come from a known one over other bytes
    trusted = read_authorities(authority.ca.read_bytes())
    token = authority.token(b"a note", "-no_nonce")
    said = read_timestamp(token, b"a note", trusted)
    refused = 0
    for position in range(len(token)):
        changed = bytearray(token)
        changed[position] ^= 1 << position % 8
        try:
            assert read_timestamp(bytes(changed), b"a note", trusted) in {said, None}, position
        except NoteError:
            refused += 1
    assert refused > len(token) // 2


@pytest.mark.parametrize("token", [b"", b"\x30", b"\x30\x80\x00\x00", b"\x30\x03\x02\x01\x00", bytes(70_000)])
def test_what_is_no_token_is_refused(token: bytes) -> None:
    with pytest.raises(NoteError):
        read_timestamp(token, b"a note", ())
    with pytest.raises(NoteError):
        token_of(token)


def anchored(journal: Path, authority: TimestampAuthority) -> None:
    note = notes(journal)[-1]
    AnchorStore(journal).keep(parse_note(note.encode()), "http://tsa", authority.token(note.encode()))


def test_a_token_beside_the_journal_anchors_it(
    journal: Path, authority: TimestampAuthority, stranger: TimestampAuthority
) -> None:
    # T04, T06: 6 becomes 0 for whoever trusts the authority; and openssl says the same of the same files
    anchored(journal, authority)
    trusted = read_authorities(authority.ca.read_bytes())
    found = verify_dossier(journal, authorities=trusted)
    assert (found.verification.exit_code, found.verification.anchored, found.unchecked_tokens) == (0, 5, 0)
    assert [seen.size for seen in found.cosigned] == [5]
    unknown = verify_dossier(journal, authorities=read_authorities(stranger.ca.read_bytes()))
    assert (unknown.verification.exit_code, unknown.unchecked_tokens) == (6, 1)
    [token] = journal.glob("anchors/*.tst")
    command = ["openssl", "ts", "-verify", "-token_in", "-in", token, "-data", token.with_suffix(".note")]
    done = subprocess.run([*command, "-CAfile", authority.ca], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "Verification: OK"), done.stderr


def test_a_tail_cut_before_a_token_shows(journal: Path, authority: TimestampAuthority) -> None:
    # T04: with the authority known, and by the log's own signature without
    anchored(journal, authority)
    cut(journal / LEAVES, leaf_spans(journal)[3][1])
    cut(journal / PAYLOADS, frame_spans(journal)[3][1])
    reshuffle(journal, lambda pieces: pieces[:-1])
    for trusted in (read_authorities(authority.ca.read_bytes()), []):
        found = verify_dossier(journal, authorities=trusted).verification
        assert (found.exit_code, found.first_bad) == (5, 4)


def test_a_token_over_another_note_is_invalid(journal: Path, authority: TimestampAuthority) -> None:
    # T04
    anchored(journal, authority)
    [token] = journal.glob("anchors/*.tst")
    token.write_bytes(authority.token(notes(journal)[1].encode()))
    assert verify_dossier(journal).verification.exit_code == 3
    token.with_suffix(".note").unlink()
    assert verify_dossier(journal).verification.exit_code == 3


def test_anchors_are_thinned_and_never_run_out(tmp_path: Path) -> None:
    # past the bound, every other one of the older half goes, with its token
    asyncio.run(write_journal(tmp_path / "trace", *[1] * 12))
    store = AnchorStore(tmp_path / "trace", most=8)
    for note in notes(tmp_path / "trace"):
        store.keep(parse_note(note.encode()), "somebody", b"a token")
        assert len(store.notes()) <= 8
    latest = store.latest()
    assert latest is not None
    assert latest.checkpoint().size == 12
    assert len(store.files()) == 2 * len(store.notes())


A_DAY = timedelta(days=1)

REVOCATIONS: list[tuple[str, timedelta | None, ReasonFlags | None, timedelta, bool]] = [
    # when the signer was revoked, seen from the token; why; how long the list holds; whether the token stands
    ("not revoked", None, None, 30 * A_DAY, True),
    ("ceased afterwards", A_DAY, ReasonFlags.cessation_of_operation, 30 * A_DAY, True),
    ("superseded before", -A_DAY, ReasonFlags.superseded, 30 * A_DAY, False),
    ("stolen, known afterwards", A_DAY, ReasonFlags.key_compromise, 30 * A_DAY, False),
    ("afterwards, without a reason", A_DAY, None, 30 * A_DAY, False),
    ("the list had run out", None, None, A_DAY / 2, False),
    ("the list had run out, and names it", -A_DAY, ReasonFlags.key_compromise, A_DAY / 2, False),
]


@pytest.mark.parametrize(
    ("revoked", "reason", "life", "stands"), [pytest.param(*each[1:], id=each[0]) for each in REVOCATIONS]
)
def test_a_revoked_authority_anchors_nothing(
    journal: Path,
    authority: TimestampAuthority,
    revoked: timedelta | None,
    reason: ReasonFlags | None,
    life: timedelta,
    stands: bool,
) -> None:
    # T04, RFC 3161 section 4: what it stamped is no anchor, and no fault of the journal's; without a list it is as ever
    anchored(journal, authority)
    at = None if revoked is None else datetime.now(UTC) + revoked
    crl = authority.revocations(at, reason, life=life)
    found = judge(journal, authorities=[authority.ca], revocations=[crl])
    expected = (0, 5, 0) if stands else (6, 0, 1)
    assert (found.verification.exit_code, found.verification.anchored, found.revoked_tokens) == expected
    assert ("sans valeur : 1" in as_text(journal, found)) is not stands
    assert judge(journal, authorities=[authority.ca]).verification.exit_code == 0


def test_a_list_counts_for_its_own_authority_alone(
    journal: Path, authority: TimestampAuthority, stranger: TimestampAuthority
) -> None:
    # T04: another authority's list says nothing of this one; one of nobody named is wrong usage, and so is no list
    anchored(journal, authority)
    other = stranger.revocations(datetime.now(UTC) - A_DAY)
    found = judge(journal, authorities=[authority.ca, stranger.ca], revocations=[other])
    assert (found.verification.exit_code, found.revoked_tokens) == (0, 0)
    for lists in (other, authority.ca):
        with pytest.raises(ValueError, match="liste"):
            judge(journal, authorities=[authority.ca], revocations=[lists])


async def test_the_client_takes_no_token_of_a_revoked_authority(authority: TimestampAuthority) -> None:
    # T04
    trusted = read_authorities(authority.ca.read_bytes())
    lists = read_revocations(authority.revocations(datetime.now(UTC) - A_DAY).read_bytes(), trusted)
    async with served(authority.reply) as url:
        with pytest.raises(TimestampError):
            await ask_authority(url, b"a note", trusted, lists)


async def test_the_client_believes_its_authority(authority: TimestampAuthority) -> None:
    trusted = read_authorities(authority.ca.read_bytes())
    async with served(authority.reply) as url:
        token, stamp = await ask_authority(url, b"a note", trusted)
    assert read_timestamp(token, b"a note", trusted) == stamp


LIES: list[tuple[str, Callable[[TimestampAuthority, TimestampAuthority, bytes], bytes]]] = [
    ("it says nothing", lambda _good, _other, _asked: b""),
    ("it is no answer", lambda _good, _other, _asked: b"<html>"),
    ("it is too long", lambda _good, _other, _asked: bytes(70_000)),
    ("it grants nothing", lambda _good, _other, _asked: bytes.fromhex("30053003020102")),
    ("its nonce is another", lambda good, _other, _asked: good.reply(query(good, b"a note"))),
    ("its imprint is another", lambda good, _other, _asked: good.reply(query(good, b"other"))),
    ("it is not ours", lambda _good, other, asked: other.reply(asked)),
]


def query(authority: TimestampAuthority, content: bytes) -> bytes:
    authority.token(content)
    return (authority.folder / "request.tsq").read_bytes()


@pytest.mark.parametrize("lie", [pytest.param(lie, id=name) for name, lie in LIES])
async def test_the_client_believes_no_other(
    authority: TimestampAuthority,
    stranger: TimestampAuthority,
    lie: Callable[[TimestampAuthority, TimestampAuthority, bytes], bytes],
) -> None:
    # T04: a declared error, whatever comes
    trusted = read_authorities(authority.ca.read_bytes())
    async with served(lambda asked: lie(authority, stranger, asked)) as url:
        with pytest.raises(TimestampError):
            await ask_authority(url, b"a note", trusted)


async def test_a_signer_that_may_not_stamp_is_refused(tmp_path: Path) -> None:
    # RFC 3161 section 2.3: the key usage is time-stamping's alone
    good = TimestampAuthority(tmp_path / "good")
    web = TimestampAuthority(tmp_path / "web", usage="tsa")
    web._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-config", "tsa.cnf", "-nodes",
                 "-days", "30", "-extensions", "web", "-subj", "/CN=web", "-CA", "ca.pem", "-CAkey", "ca.key",
                 "-keyout", "web.key", "-out", "web.pem")  # fmt: skip
    trusted = read_authorities(good.ca.read_bytes())
    assert read_timestamp(web.token(b"a note"), b"a note", trusted) is None


async def test_a_dead_authority_is_a_declared_error(
    authority: TimestampAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # T04
    trusted = read_authorities(authority.ca.read_bytes())
    async with served(authority.reply) as url:
        pass
    with pytest.raises(TimestampError):
        await ask_authority(url, b"a note", trusted)
    monkeypatch.setattr(timestamping, "TIMEOUT_S", 0.05)
    answered = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimestampError):
            await ask_authority(f"http://127.0.0.1:{port}/tsr", b"a note", trusted)
        answered.set()


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_bits_of_the_anchors_beside_the_journal(journal: Path, authority: TimestampAuthority) -> None:
    # T03, T04: a changed anchor never makes a journal more than it was, and a changed note is seen as such
    anchored(journal, authority)
    trusted = read_authorities(authority.ca.read_bytes())
    for path in sorted(journal.glob("anchors/*")):
        good = path.read_bytes()
        for position, byte in enumerate(good):
            patch(path, position, bytes([byte ^ 1 << position % 8]))
            found = verify_dossier(journal, authorities=trusted).verification
            if path.suffix == ".note":
                assert found.exit_code in {3, 4}, position
            else:
                assert found.exit_code in {0, 3, 6}, position
                assert found.anchored in {0, 5}
            patch(path, position, good[position : position + 1])
