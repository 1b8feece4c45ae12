"""The node's own secrets: files below its data folder, readable by it alone, made when they are first needed.

The master key seals secrets in SQL and must be the same on all nodes of one database, the ticket and nonce keys
on all nodes of one convention; the trace key is this node's alone.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from halfgateway.errors import HalfGatewayError

KEY_BYTES = 32
"""256 bits: what AES-256-GCM takes and HMAC-SHA-256 is worth."""


class UnreadableKeyError(HalfGatewayError):
    """A key file is not one that this node wrote."""


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """Every secret of a node."""

    master: bytes = field(repr=False)
    ticket: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    trace: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def open(cls, folder: Path) -> NodeKeys:
        """Read the keys in ``folder``, making those that are not there. Raises UnreadableKeyError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(
            master=_symmetric(folder / "master.key"),
            ticket=_symmetric(folder / "ticket.key"),
            nonce=_symmetric(folder / "nonce.key"),
            trace=_signing(folder / "trace.key"),
        )


def _symmetric(path: Path) -> bytes:
    key = _read_or_make(path, lambda: secrets.token_bytes(KEY_BYTES))
    if len(key) != KEY_BYTES:
        raise UnreadableKeyError(f"{path.name} must hold {KEY_BYTES} bytes")
    return key


def _signing(path: Path) -> Ed25519PrivateKey:
    pem = _read_or_make(path, _new_signing_key)
    try:
        key = load_pem_private_key(pem, password=None)
    except ValueError as error:
        raise UnreadableKeyError(f"{path.name} holds no private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UnreadableKeyError(f"{path.name} must hold an Ed25519 key")
    return key


def _new_signing_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    """The file's bytes; a new one is durable before it is used, so that nothing is ever sealed by a lost key."""
    if path.exists():
        return path.read_bytes()
    secret = make()
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, secret)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return secret
