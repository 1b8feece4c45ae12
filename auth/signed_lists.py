"""Lists of designations that an administration has signed, read whole or refused whole (C09).

A list is a CSV file in UTF-8 with a detached signature over its bytes, by an Ed25519 key, or with SHA-256 by one on an
elliptic curve or an RSA key: what ``openssl pkeyutl -sign -rawin`` and ``openssl dgst -sha256 -sign`` write.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from auth.errors import SignedListError
from auth.principals import Role
from auth.rights import Administration, Designation, Habilitation
from camera_registry.orders import Perimeter
from camera_registry.paris import end_of_day, start_of_day

MAX_LINES = 5_000
"""Agents in one list: more than a prefecture designates for one convention. A longer one is refused whole."""

REQUIRED = ("agent", "service", "role", "start")
OPTIONAL = ("end", "communes", "sites", "cameras")
SEPARATOR = "|"
"""Between several values of one field."""

_MAX_ID_CHARS = 64
_MAX_TEXT_CHARS = 128


@dataclass(frozen=True, slots=True)
class Origin:
    """What every record of a list has in common."""

    administration: Administration
    authority: str
    reference: str
    recorded_at: datetime
    recorded_by: str
    new_id: Callable[[], str]


def verify(content: bytes, signature: bytes, key_pem: bytes) -> dict[str, str]:
    """Check the signature by a public key or a certificate, in PEM; return what the trace says of both.

    Raises:
        SignedListError: no such key, or not its signature over these bytes.
    """
    key = _public_key(key_pem)
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, content)
        elif isinstance(key, EllipticCurvePublicKey):
            key.verify(signature, content, ECDSA(SHA256()))
        else:
            key.verify(signature, content, padding.PKCS1v15(), SHA256())
    except InvalidSignature as error:
        raise SignedListError(["La signature n'est pas celle de cette liste par cette clé."]) from error
    public = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {"sha256": hashlib.sha256(content).hexdigest(), "key": hashlib.sha256(public).hexdigest()}


def read(content: bytes, origin: Origin) -> tuple[list[Designation], list[Habilitation]]:
    """Read a list, each line one agent with one habilitation.

    Raises:
        SignedListError: with every fault, by its line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SignedListError([f"La liste n'est pas en UTF-8 (octet {error.start})."]) from error
    rows = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in text.partition("\n")[0] else ",", strict=True)
    try:
        columns, lines = rows.fieldnames or (), list(rows)
    except csv.Error as error:
        raise SignedListError([f"ligne {rows.line_num} : {error}"]) from error
    _require_columns(columns, len(lines))
    designations, habilitations, faults = [], [], []
    for number, line in enumerate(lines, start=2):
        try:
            designation, habilitation = _records(line, origin)
        except ValueError as error:
            faults.append(f"ligne {number} : {error}")
        else:
            designations.append(designation)
            habilitations.append(habilitation)
    seen = [designation.agent for designation in designations]
    faults += [f"agent {agent} : figure plusieurs fois" for agent in sorted({a for a in seen if seen.count(a) > 1})]
    if faults:
        raise SignedListError(faults)
    return designations, habilitations


def _public_key(pem: bytes) -> Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey:
    try:
        is_certificate = b"BEGIN CERTIFICATE" in pem
        key = x509.load_pem_x509_certificate(pem).public_key() if is_certificate else load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignedListError(["La clé n'est ni une clé publique ni un certificat, en PEM."]) from error
    if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey):
        raise SignedListError(["La clé n'est ni Ed25519, ni sur courbe elliptique, ni RSA."])
    return key


def _require_columns(columns: Sequence[str], lines: int) -> None:
    faults = [f"colonne {name} : absente" for name in REQUIRED if name not in columns]
    faults += [f"colonne {name} : inconnue" for name in columns if name not in {*REQUIRED, *OPTIONAL}]
    if not 1 <= lines <= MAX_LINES:
        faults.append(f"la liste compte {lines} lignes ; de 1 à {MAX_LINES} sont admises")
    if faults:
        raise SignedListError(faults)


def _records(line: Mapping[str, str | None], origin: Origin) -> tuple[Designation, Habilitation]:
    """Raises ValueError, in French, for the first fault of the line."""
    if None in line or None in line.values():
        raise ValueError("le nombre de champs n'est pas celui des colonnes")
    agent = _checked("agent", line["agent"], _MAX_ID_CHARS)
    if (
        not all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in agent)
        or not agent[0].isalnum()
    ):
        raise ValueError("agent : lettres, chiffres, points et tirets seulement")
    start = start_of_day(_day("start", line["start"]))
    end = end_of_day(_day("end", line["end"])) if line.get("end") else None
    if end is not None and end <= start:
        raise ValueError("end : avant start")
    designation = Designation(
        agent=agent,
        administration=origin.administration,
        service=_checked("service", line["service"], _MAX_TEXT_CHARS),
        authority=origin.authority,
        reference=origin.reference,
        start=start,
        end=end,
        recorded_at=origin.recorded_at,
        recorded_by=origin.recorded_by,
    )
    habilitation = Habilitation(
        id=origin.new_id(),
        agent=agent,
        role=_role(line["role"]),
        territory=Perimeter(communes=_set(line, "communes"), sites=_set(line, "sites"), cameras=_set(line, "cameras")),
        start=start,
        end=end,
        authority=origin.authority,
        reference=origin.reference,
        recorded_at=origin.recorded_at,
        recorded_by=origin.recorded_by,
    )
    return designation, habilitation


def _checked(name: str, value: str | None, most: int) -> str:
    text = (value or "").strip()
    if not text or len(text) > most or not text.isprintable():
        raise ValueError(f"{name} : de 1 à {most} caractères imprimables")
    return text


def _day(name: str, value: str | None) -> date:
    try:
        return date.fromisoformat((value or "").strip())
    except ValueError:
        raise ValueError(f"{name} : une date de la forme 2026-11-21 est attendue") from None


def _role(value: str | None) -> Role:
    try:
        return Role((value or "").strip())
    except ValueError:
        raise ValueError(f"role : l'un de {', '.join(Role)} est attendu") from None


def _set(line: Mapping[str, str | None], name: str) -> frozenset[str]:
    parts = ((line.get(name) or "").split(SEPARATOR)) if line.get(name) else []
    return frozenset(_checked(name, part, 200) for part in parts)
