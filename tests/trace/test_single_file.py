"""``halfgateway-verify``: one file that says of every journal what the node's own verifier says (T03, T06)."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from auth.trace import Verification, checkpoint, single_file, verify_folder
from auth.trace.anchors import AnchorStore
from auth.trace.checkpoint import parse_note
from auth.trace.layout import LEAF
from auth.trace.single_file import NotOneFile
from tests.timestamp_authority import TimestampAuthority
from tests.trace.journals import CHECKPOINTS, PAYLOADS, cut, frame_spans, patch, write_journal
from tests.trace.tampering import COVERED, notes, reshuffle
from tests.trace.test_tampering import TRICKS

NEEDED = ("cryptography", "cffi", "pycparser")

OFFLINE = """
import os, sys
def refuse(event, args):
    if event.startswith("socket.") or event in ("subprocess.Popen", "os.exec", "ctypes.dlopen"):
        os._exit(99)
sys.addaudithook(refuse)
"""


@pytest.fixture(scope="session")
def verifier_text() -> str:
    return single_file.single_file()


@pytest.fixture(scope="session")
def alone(verifier_text: str) -> ModuleType:
    """The one file, loaded as it stands."""
    module = ModuleType("halfgateway_verify")
    sys.modules[module.__name__] = module
    exec(compile(verifier_text, "halfgateway-verify", "exec"), module.__dict__)
    return module


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has ``cryptography`` and nothing else, and that dies where it opens a socket."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, symlinks=True, with_pip=False)
    [site] = home.glob("lib/python3*/site-packages")
    for name in NEEDED:
        for top in {Path(file).parts[0] for file in importlib.metadata.files(name) or () if ".." not in str(file)}:
            (site / top).symlink_to(importlib.metadata.distribution(name).locate_file(top))
    (site / "sitecustomize.py").write_text(OFFLINE)
    return home / "bin" / "python3"


def both(alone: ModuleType, folder: Path, *anchors: str) -> tuple[str, int | None, int]:
    """The verdict of both verifiers, which must be one."""
    ours, theirs = verify_folder(folder, anchors=anchors), alone.verify_folder(folder, anchors=anchors)
    assert ours.to_json() == theirs.to_json()
    return theirs.status.label, theirs.first_bad, theirs.exit_code


@pytest.mark.parametrize(("trick", "status", "first_bad"), [pytest.param(*row[1:], id=row[0]) for row in TRICKS])
def test_every_trick_has_the_same_verdict(
    alone: ModuleType, journal: Path, trick: Callable[[Path], None], status: str, first_bad: int | None
) -> None:
    # T03, T06
    trick(journal)
    assert both(alone, journal)[:2] == (status, first_bad)


@pytest.mark.usefixtures("uncounted")
async def test_every_single_bit_counts(alone: ModuleType, tmp_path: Path) -> None:
    # T03, T06
    folder = tmp_path / "trace"
    await write_journal(folder, 1)
    flip_every(folder, range(8), lambda: alone.verify_folder(folder))


@pytest.mark.usefixtures("uncounted")
def test_both_verifiers_name_the_same_entry_whatever_byte_is_changed(alone: ModuleType, journal: Path) -> None:
    # T03, T06: with an erased entry, a purge's entry and three checkpoints
    def same() -> Verification:
        found = verify_folder(journal)
        assert alone.verify_folder(journal).to_json() == found.to_json()
        return found

    flip_every(journal, range(1), same)


def flip_every(folder: Path, bits: range, verified: Callable[[], Any]) -> None:
    for file in COVERED:
        good = (folder / file).read_bytes()
        for position, byte in enumerate(good):
            for bit in bits:
                patch(folder / file, position, bytes([byte ^ 1 << bit]))
                found = verified()
                assert found.exit_code in (3, 5), (file, position, bit)
                assert file == CHECKPOINTS or found.first_bad is not None, (file, position, bit)
            patch(folder / file, position, good[position : position + 1])
    assert verified().exit_code == 6


def run(python: Path, script: Path, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    command = [python, "-I", script, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    return done.returncode, json.loads(done.stdout) if done.stdout else {"stderr": done.stderr}


def test_it_runs_alone_and_offline_with_its_exit_codes(
    verifier_text: str, bare_python: Path, journal: Path, tmp_path: Path
) -> None:
    # T06: elsewhere, from a copy and public keys alone
    script = tmp_path / "halfgateway-verify"
    script.write_text(verifier_text)
    anchor, early = tmp_path / "anchor", tmp_path / "early"
    anchor.write_text(notes(journal)[-1])
    early.write_text(notes(journal)[1])
    copied = Path(shutil.copytree(journal, tmp_path / "copied"))
    imported = subprocess.run([bare_python, "-I", "-c", "import aiohttp"], capture_output=True, text=True, check=False)
    assert "No module named 'aiohttp'" in imported.stderr
    assert run(bare_python, script, copied)[0] == 6
    code, found = run(bare_python, script, copied, "--anchor", anchor, "--key", copied / "gw1.pem")
    assert (code, found["status"], found["anchored"]) == (0, "valid", 5)
    patch(copied / PAYLOADS, frame_spans(copied)[3][1] - 3, b"?")
    code, found = run(bare_python, script, copied, "--anchor", anchor)
    assert (code, found["first_bad"]) == (3, 3)
    shutil.rmtree(copied)
    shutil.copytree(journal, copied)
    (copied / "000000000000.leaves").unlink()
    assert run(bare_python, script, copied, "--anchor", anchor)[0] == 5
    other = tmp_path / "other"
    shutil.copytree(journal, other)
    (other / "gw1.pem").rename(other / "gw2.pem")
    assert run(bare_python, script, other)[0] == 3
    assert run(bare_python, script, journal, "--anchor", journal / "gw1.pem")[0] == 2
    assert run(bare_python, script, journal, "--cosigner", "pp+00+AAAA")[0] == 2


def test_it_knows_revoked_authorities(
    alone: ModuleType, journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # T04, T06
    authority = TimestampAuthority(tmp_path / "tsa")
    note = notes(journal)[-1]
    AnchorStore(journal).keep(parse_note(note.encode()), "http://tsa", authority.token(note.encode()))
    trusted = [str(journal), "--tsa", str(authority.ca)]
    assert alone.main(trusted) == 0
    assert alone.main([*trusted, "--crl", str(authority.revocations())]) == 0
    assert alone.main([*trusted, "--crl", str(authority.revocations(datetime.now(UTC)))]) == 6
    assert "révoqué" in capsys.readouterr().out
    assert alone.main([*trusted, "--crl", str(authority.ca)]) == 2


def test_a_cut_tail_a_fork_and_a_missing_segment_have_their_codes(
    alone: ModuleType, journal: Path, small_journals: Path
) -> None:
    # T03, T04, T06: truncated against an anchor; another history under the same key; a part that is not there
    anchors = notes(journal)
    assert both(alone, journal, *anchors) == ("valid", None, 0)
    assert both(alone, small_journals, *anchors) == ("diverged", 0, 4)
    reshuffle(journal, lambda pieces: pieces[:-1])
    cut(journal / PAYLOADS, frame_spans(journal)[3][1])
    cut(journal / "000000000000.leaves", (journal / "000000000000.leaves").stat().st_size - LEAF.size)
    assert both(alone, journal, *anchors) == ("incomplete", 4, 5)


@pytest.fixture
async def small_journals(tmp_path: Path) -> Path:
    """Another history of the same length under the same key."""
    await write_journal(tmp_path / "forked", 2, 3)
    return tmp_path / "forked"


def test_it_imports_nothing_but_the_standard_library_and_cryptography(verifier_text: str) -> None:
    # T06
    roots = {
        line.split()[1].split(".")[0] for line in verifier_text.splitlines() if line.startswith(("import ", "from "))
    }
    assert roots - set(sys.stdlib_module_names) == {"cryptography"}
    assert "asyncio" not in roots
    assert "socket" not in roots


def test_a_name_in_two_modules_cannot_be_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_file, "MODULES", (*single_file.MODULES, checkpoint))
    with pytest.raises(NotOneFile, match="two modules"):
        single_file.single_file()
