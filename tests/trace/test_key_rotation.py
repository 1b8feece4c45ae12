"""The log's key handed over: the old one signs for the new, and nobody else can (T04)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from held_clock import HeldClock

from auth.errors import TraceDamaged, TraceUnavailable
from auth.trace import Draft, Journal, Kind, verify_folder
from auth.trace.checkpoint import Checkpoint, SigningKey, parse_note, sign, sign_checkpoint, verifier_key
from auth.trace.dossier import verify_dossier
from auth.trace.notes import handover_notes, read_keys, record, write_key, write_keys
from auth.trace.token_key import TokenKey, TokenPlace
from halfgateway.dossiers.local import History
from halfgateway.dossiers.proof import dossier_files, write_files
from halfgateway.keys import NodeKeys
from tests.softhsm import ED25519, configured, needs_token, token_with
from tests.trace.journals import KEY, NODE, draft, patch, write_journal
from tests.trace.tampering import copy, notes, parse_root, reshuffle, verdict

NEXT = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
THIRD = Ed25519PrivateKey.from_private_bytes(bytes(range(64, 96)))
ORIGIN = f"halfgateway/{NODE}"
ROTATED = Draft(kind=Kind.TRACE_KEY_ROTATED, account="local:jeanne", detail={"motive": "échéance"})


async def opened(folder: Path, key: SigningKey) -> Journal:
    return await Journal.open(folder, node=NODE, key=key, clock=HeldClock(), checkpoint_interval_s=3600.0,
                              write_deadline_s=20.0)  # fmt: skip


async def rotate(folder: Path, old: SigningKey, new: SigningKey, more: int = 2) -> None:
    async with await opened(folder, old) as journal:
        await journal.hand_over_to(new, ROTATED)
        for n in range(more):
            await journal.record(draft(f"later-{n}"))
            await journal.write_checkpoint()


@pytest.fixture
async def rotated(tmp_path: Path) -> Path:
    """Two entries, a change of key, two entries more."""
    await write_journal(tmp_path / "trace", 2)
    await rotate(tmp_path / "trace", KEY, NEXT)
    return tmp_path / "trace"


def test_verifiers_follow_from_the_first_key(rotated: Path) -> None:
    # T04: the first key alone is known from elsewhere
    found = verify_folder(rotated, keys=[KEY.public_key()], anchors=notes(rotated))
    assert (found.status.label, found.entries, found.anchored) == ("valid", 6, 6)
    assert found.key == verifier_key(ORIGIN, KEY.public_key())
    assert found.signing_key == verifier_key(ORIGIN, NEXT.public_key())
    assert verdict(rotated) == ("unanchored", None)
    assert verify_folder(rotated, keys=[THIRD.public_key()]).status.label == "invalid"
    assert len(handover_notes(rotated)) == 1


@pytest.mark.usefixtures("uncounted")
def test_every_byte_of_a_hand_over_counts(rotated: Path) -> None:
    # T03, T04
    checkpoints = rotated / "checkpoints"
    good = checkpoints.read_bytes()
    for position, byte in enumerate(good):
        patch(checkpoints, position, bytes([byte ^ 1 << position % 8]))
        assert verify_folder(rotated).exit_code in {3, 5}, position
        patch(checkpoints, position, good[position : position + 1])
    assert verify_folder(rotated).exit_code == 6


async def test_the_announcement_is_signed_by_the_old_key_alone(rotated: Path) -> None:
    # the entry lies under a checkpoint of the old key before the new one signs anything
    async with await opened(rotated, NEXT) as journal:
        told = [await journal.reader().entry(n) for n in (2, 3)]
    assert [(entry.kind.value, entry.detail["stage"]) for entry in told] == [
        ("trace.key-rotated", "announced"),
        ("trace.key-rotated", "in-force"),
    ]
    assert told[0].detail["new"] == verifier_key(ORIGIN, NEXT.public_key())
    heads = [parse_note(note.encode()) for note in await asyncio.to_thread(notes, rotated)]
    sizes = {int(head.text.split("\n")[1]): len(head.signatures) for head in heads}
    assert sizes[3] == 1
    assert sizes[4] == 2


def test_a_key_that_nobody_announced_signs_nothing(rotated: Path, tmp_path: Path) -> None:
    # T04: in the key file, it opens no checkpoint and no anchor
    write_keys(rotated, NODE, [KEY.public_key(), NEXT.public_key(), THIRD.public_key()])
    assert verdict(rotated) == ("unanchored", None)
    head = Checkpoint(ORIGIN, 6, parse_root(notes(rotated)[-1]))
    anchor = str(sign(head.text(), ORIGIN, THIRD))
    assert verdict(rotated, anchor) == ("diverged", None)
    forged = copy(rotated, "forged")
    reshuffle(forged, lambda pieces: [*pieces[:-1], record(sign_checkpoint(head, THIRD))])
    assert verdict(forged)[0] == "invalid"
    skipped = copy(rotated, "skipped")
    write_keys(skipped, NODE, [KEY.public_key(), THIRD.public_key()])
    assert verdict(skipped)[0] == "invalid"
    swapped = copy(rotated, "swapped")
    reshuffle(swapped, lambda pieces: [*pieces[:-2], record(sign_checkpoint(head, KEY))])
    assert verdict(swapped)[0] == "invalid"


async def test_the_old_key_opens_the_journal_no_more_and_a_third_may_follow(rotated: Path) -> None:
    with pytest.raises(TraceDamaged):
        await opened(rotated, KEY)
    await rotate(rotated, NEXT, THIRD)
    found = await asyncio.to_thread(verify_folder, rotated, keys=[KEY.public_key()])
    assert (found.exit_code, found.signing_key) == (6, verifier_key(ORIGIN, THIRD.public_key()))


async def test_an_access_before_and_after_is_proved_from_the_first_key(rotated: Path, tmp_path: Path) -> None:
    # T05: the dossier carries the hand-over; without it, the later key is nobody's
    async with await opened(rotated, NEXT) as journal:
        dossier = await History(journal).dossier(1, at=None, earlier=2, opened=True)
    write_files(dossier_files(dossier), tmp_path / "dossier")
    keys = [KEY.public_key()]
    judged = await asyncio.to_thread(verify_dossier, tmp_path / "dossier", keys=keys)
    assert judged.verification.exit_code == 6, judged
    assert judged.verification.key == verifier_key(ORIGIN, KEY.public_key())
    (tmp_path / "dossier" / "handover.checkpoints").unlink()
    assert (await asyncio.to_thread(verify_dossier, tmp_path / "dossier", keys=keys)).verification.exit_code == 3


async def test_a_change_of_key_that_a_crash_cut_short_is_undone_or_done(tmp_path: Path) -> None:
    folder, keys = tmp_path / "trace", NodeKeys.open(tmp_path / "secrets")
    async with await opened(folder, keys.trace) as journal:
        await journal.record(draft())
    keys.next_trace_file()
    write_keys(folder, NODE, [*read_keys(folder / f"{NODE}.pem"), keys.next_trace_file().public_key()])
    keys.settle(folder, NODE)
    async with await opened(folder, keys.trace) as journal:
        assert len(read_keys(folder / f"{NODE}.pem")) == 1
        following = keys.next_trace_file()
        await journal.hand_over_to(following, ROTATED)
    keys.settle(folder, NODE)
    assert keys.trace.public_key() == following.public_key()
    async with await opened(folder, keys.trace) as journal:
        assert journal.size == 3
    keys.settle(folder, NODE)


async def test_a_key_that_has_handed_over_opens_nothing(tmp_path: Path) -> None:
    # T04: else it would sign on beside the one that it handed over to, and the journal would be invalid for ever
    await write_journal(tmp_path / "trace", 2)
    await rotate(tmp_path / "trace", KEY, NEXT, more=0)
    before = {path.name: path.read_bytes() for path in (tmp_path / "trace").iterdir()}
    with pytest.raises(TraceDamaged, match="a transmis"):
        await opened(tmp_path / "trace", KEY)
    assert {path.name: path.read_bytes() for path in (tmp_path / "trace").iterdir()} == before
    async with await opened(tmp_path / "trace", NEXT) as journal:
        assert journal.size == 4


async def test_a_key_file_that_is_not_the_nodes_is_left_alone(tmp_path: Path) -> None:
    await write_journal(tmp_path / "trace", 1)
    (tmp_path / "trace" / f"{NODE}.pem").write_bytes(write_key(NEXT.public_key()))
    with pytest.raises(TraceDamaged, match="pas la clé"):
        await opened(tmp_path / "trace", KEY)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenPlace:
    """A token of SoftHSM2 with an Ed25519 key, and a P-256 one beside it."""
    monkeypatch.setenv("SOFTHSM2_CONF", str(configured(tmp_path)))
    return token_with(tmp_path, {"trace-2026": ED25519, "other": "EC:prime256v1"})


@needs_token
async def test_a_key_that_never_leaves_its_token_signs_the_log(token: TokenPlace, tmp_path: Path) -> None:
    # T04, S12: a real PKCS#11 module; the key is handed over to from a file
    folder = tmp_path / "trace"
    await write_journal(folder, 2)
    key = TokenKey.open(token)
    await rotate(folder, KEY, key)
    found = await asyncio.to_thread(verify_folder, folder, keys=[KEY.public_key()])
    assert (found.exit_code, found.entries) == (6, 6)
    async with await opened(folder, TokenKey.open(token)) as journal:
        assert journal.size == 6
    for wrong in (
        TokenPlace(token.module, "journal", "other", token.pin_file),
        TokenPlace(token.module, "journal", "nobody", token.pin_file),
        TokenPlace(token.module, "elsewhere", "trace-2026", token.pin_file),
        TokenPlace(tmp_path / "no-module.so", "journal", "trace-2026", token.pin_file),
        TokenPlace(token.module, "journal", "trace-2026", tmp_path / "no-pin"),
    ):
        with pytest.raises(TraceUnavailable):
            TokenKey.open(wrong)
