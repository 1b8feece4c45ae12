"""Signed lists of designations: whose they are, read whole or refused whole (C09)."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from auth.errors import SignedListError
from auth.principals import Role
from auth.rights import Administration
from auth.signed_lists import MAX_LINES, Origin, read, verify
from camera_registry.orders import Perimeter

LIST = b"""agent;service;role;start;end;communes;cameras
pp-0001;DOPC;operator;2026-11-21;2026-12-31;Versailles|Trappes;
pp-0002;PJ;supervisor;2026-11-21;;;cam-1
"""
KEYS = {
    "ed25519": ["genpkey", "-algorithm", "ed25519"],
    "ec": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "rsa": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
}


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def origin() -> Origin:
    numbers = itertools.count()
    at = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)
    return Origin(Administration.PP, "préfet de police", "PP-17", at, "officer", lambda: f"h-{next(numbers)}")


def faults_of(text: str) -> list[str]:
    with pytest.raises(SignedListError) as refused:
        read(text.encode(), origin())
    return refused.value.faults


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("shown", ["key", "certificate"])
def test_what_openssl_has_signed_is_accepted_and_nothing_else(tmp_path: Path, kind: str, shown: str) -> None:
    (tmp_path / "list.csv").write_bytes(LIST)
    openssl(tmp_path, *KEYS[kind], "-out", "key.pem")
    openssl(tmp_path, "pkey", "-in", "key.pem", "-pubout", "-out", "public.pem")
    openssl(tmp_path, "req", "-x509", "-key", "key.pem", "-subj", "/CN=essai", "-days", "2", "-out", "certificate.pem")
    if kind == "ed25519":
        openssl(tmp_path, "pkeyutl", "-sign", "-rawin", "-inkey", "key.pem", "-in", "list.csv", "-out", "list.sig")
    else:
        openssl(tmp_path, "dgst", "-sha256", "-sign", "key.pem", "-out", "list.sig", "list.csv")
    key = (tmp_path / ("public.pem" if shown == "key" else "certificate.pem")).read_bytes()
    signature = (tmp_path / "list.sig").read_bytes()
    proof = verify(LIST, signature, key)
    assert proof["sha256"] == hashlib.sha256(LIST).hexdigest()
    for altered in (LIST.replace(b"PJ", b"PN"), LIST + b"\n", b""):
        with pytest.raises(SignedListError, match="signature"):
            verify(altered, signature, key)
    with pytest.raises(SignedListError, match="signature"):
        verify(LIST, signature[:-1] + bytes([signature[-1] ^ 1]), key)


@pytest.mark.parametrize("key", [b"", b"-----BEGIN CERTIFICATE-----\n", b"ssh-ed25519 AAAA"])
def test_what_is_no_key_is_refused(key: bytes) -> None:
    with pytest.raises(SignedListError, match="clé"):
        verify(LIST, b"", key)


def test_each_line_is_an_agent_with_one_habilitation() -> None:
    designations, habilitations = read(b"\xef\xbb\xbf" + LIST, origin())
    assert [(each.agent, each.service) for each in designations] == [("pp-0001", "DOPC"), ("pp-0002", "PJ")]
    assert {(each.authority, each.reference) for each in designations} == {("préfet de police", "PP-17")}
    first, second = habilitations
    assert (first.role, second.role) == (Role.OPERATOR, Role.SUPERVISOR)
    assert first.territory == Perimeter(communes=frozenset({"Versailles", "Trappes"}))
    assert second.territory == Perimeter(cameras=frozenset({"cam-1"}))
    assert first.start == datetime(2026, 11, 20, 23, tzinfo=UTC)  # the day begins in Paris ...
    assert first.end == datetime(2026, 12, 31, 23, tzinfo=UTC)  # ... and its last day is whole
    assert (second.end, first.end - first.start) == (None, timedelta(days=41))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (";DOPC;operator;2026-11-21", "agent"),
        ("pp 1;DOPC;operator;2026-11-21", "agent"),
        ("é1;DOPC;operator;2026-11-21", "agent"),
        ("-1;DOPC;operator;2026-11-21", "agent"),
        (f"{'a' * 65};DOPC;operator;2026-11-21", "agent"),
        ("pp-1;;operator;2026-11-21", "service"),
        ("pp-1;DOPC;chief;2026-11-21", "role"),
        ("pp-1;DOPC;operator;21/11/2026", "start"),
        ("pp-1;DOPC;operator;2026-02-30", "start"),
        ("pp-1;DOPC;operator", "nombre de champs"),
        ("pp-1;DOPC;operator;2026-11-21;more", "nombre de champs"),
    ],
)
def test_each_fault_is_named_by_its_line(line: str, fault: str) -> None:
    (told,) = faults_of(f"agent;service;role;start\npp-0;DOPC;operator;2026-11-21\n{line}\n")
    assert told.startswith("ligne 3 : ")
    assert fault in told


def test_a_list_is_refused_whole() -> None:
    assert faults_of("agent;service;role;start\n") == [f"la liste compte 0 lignes ; de 1 à {MAX_LINES} sont admises"]
    assert faults_of("agent;name\nx;y\n") == [
        *(f"colonne {name} : absente" for name in ("service", "role", "start")),
        "colonne name : inconnue",
    ]
    twice = "agent,service,role,start\n" + "pp-1,DOPC,operator,2026-11-21\n" * 2
    assert faults_of(twice) == ["agent pp-1 : figure plusieurs fois"]
    assert faults_of("agent;service;role;start;end\npp-1;DOPC;operator;2026-11-21;2026-11-01\n") == [
        "ligne 2 : end : avant start"
    ]
    with pytest.raises(SignedListError, match="UTF-8"):
        read("agent;service;role;start\né".encode("latin-1"), origin())
