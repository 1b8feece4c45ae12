"""The one who cosigns: signs what grows, and nothing that shrank or forked (C2SP tlog-cosignature, T04)."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.trace import TraceReader
from auth.trace.checkpoint import parse_note
from auth.trace.cosigner import CosigningKey, CosignRefused, TreeDiverged, Witness
from auth.trace.witness import Cosigner
from tests.trace.journals import KEY, NODE, draft, open_journal, write_journal
from tests.trace.tampering import OTHER_KEY, copy, notes

SIGNER = CosigningKey("pp.example/half-gateway", Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1"))
AT = 1_790_000_000.5


def witness(memory: Path, *, key: Ed25519PrivateKey = KEY) -> Witness:
    return Witness(SIGNER, memory, log=f"halfgateway/{NODE}", log_keys=[key.public_key()], now=lambda: AT)


def proof(folder: Path, first: int, second: int) -> list[str]:
    found = asyncio.run(TraceReader.of(folder, NODE).prove_consistency(first, second))
    return [b64encode(digest).decode() for digest in found.path]


async def write_on(folder: Path, stream: str) -> None:
    async with await open_journal(folder) as journal:
        await journal.record(draft(stream))


def test_it_cosigns_a_log_that_grows_and_remembers(journal: Path, tmp_path: Path) -> None:
    # T04
    pp = witness(tmp_path / "memory")
    assert pp.last() is None
    for size, note in zip((0, 2, 5), notes(journal), strict=True):
        before = pp.last()
        path = proof(journal, before.size, size) if before is not None and 0 < before.size < size else []
        cosigned = pp.cosign(note, path)
        assert Cosigner.parse(SIGNER.vkey).cosigned_at(cosigned) == int(AT)
        last = pp.last()
        assert last is not None
        assert last.size == size
    assert str(pp.cosign(notes(journal)[-1])) == str(cosigned)  # the same tree again is no harm
    assert witness(tmp_path / "memory").last() == pp.last()


def test_it_signs_no_smaller_and_no_other_tree(journal: Path, tmp_path: Path) -> None:
    # T04, T12: truncated, restored and written on, forked under the same key
    whole = notes(journal)[-1]
    restored = copy(journal, "restored")
    pp = witness(tmp_path / "memory")
    asyncio.run(write_on(journal, "lost"))
    latest = notes(journal)[-1]
    pp.cosign(latest)
    with pytest.raises(TreeDiverged, match="6"):
        pp.cosign(whole)
    asyncio.run(write_on(restored, "other"))
    with pytest.raises(TreeDiverged, match="diverge"):
        pp.cosign(notes(restored)[-1])
    asyncio.run(write_on(restored, "another"))
    with pytest.raises(TreeDiverged):
        pp.cosign(notes(restored)[-1], proof(restored, 6, 7))
    asyncio.run(write_on(journal, "next"))
    with pytest.raises(TreeDiverged):
        pp.cosign(notes(journal)[-1])  # and without its proof, the right one neither
    with pytest.raises(CosignRefused):
        pp.cosign(notes(journal)[-1], ["rubbish"])
    last = pp.last()
    assert last is not None
    assert str(parse_note((tmp_path / "memory").read_bytes()).text) == last.text()
    assert last.size == 6
    pp.cosign(notes(journal)[-1], proof(journal, 6, 7))


def test_it_signs_for_no_other_log_or_key(journal: Path, tmp_path: Path) -> None:
    # T04
    with pytest.raises(CosignRefused, match="halfgateway/gw1"):
        witness(tmp_path / "memory", key=OTHER_KEY).cosign(notes(journal)[-1])
    asyncio.run(write_journal(tmp_path / "other", 1))
    note = notes(tmp_path / "other")[-1].replace("gw1", "gw2")
    with pytest.raises(CosignRefused):
        witness(tmp_path / "memory").cosign(note)
    (tmp_path / "memory").write_text("rubbish")
    with pytest.raises(CosignRefused, match="mémoire"):
        witness(tmp_path / "memory").cosign(notes(journal)[-1])
