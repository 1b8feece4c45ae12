"""The node's own secrets: files below its data folder, readable by it alone, made when they are first needed.

The master key seals secrets in SQL and must be the same on all nodes of one database, the ticket and nonce keys
on all nodes of one convention; the trace key is this node's alone, and may lie in a PKCS#11 token instead.
"""

from __future__ import annotations

import hmac
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

from auth.trace.checkpoint import SigningKey
from auth.trace.recovery import has_signed_last
from auth.trace.token_key import TokenKey, TokenPlace
from halfgateway.errors import HalfGatewayError
from ops.appended import sync_folder

TRACE_KEY, NEXT_TRACE_KEY = "trace.key", "trace.next.key"

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
    folder: Path
    token: TokenPlace | None = None

    @classmethod
    def open(cls, folder: Path, token: TokenPlace | None = None) -> NodeKeys:
        """Read the keys in ``folder``, making those that are not there; the trace's may lie in a ``token``.

        Raises UnreadableKeyError.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(
            master=_symmetric(folder / "master.key"),
            ticket=_symmetric(folder / "ticket.key"),
            nonce=_symmetric(folder / "nonce.key"),
            folder=folder,
            token=token,
        )

    @property
    def proposals(self) -> bytes:
        """What seals proposed restorations among the nodes, which derive it from the key of tickets that they share."""
        return hmac.digest(self.ticket, b"restoration-proposals", "sha256")

    @property
    def trace(self) -> SigningKey:
        """What signs the trace's checkpoints. Blocking. Raises UnreadableKeyError, TraceUnavailable."""
        return TokenKey.open(self.token) if self.token is not None else self.trace_file

    @property
    def trace_file(self) -> Ed25519PrivateKey:
        """The trace's key that lies in a file, made where there is none. Raises UnreadableKeyError."""
        return _signing(self.folder / TRACE_KEY)

    @property
    def has_trace_file(self) -> bool:
        """Whether there is one; none is made."""
        return (self.folder / TRACE_KEY).exists()

    def next_trace_file(self) -> Ed25519PrivateKey:
        """A key to hand the trace over to, in a file beside the present one. Raises UnreadableKeyError."""
        return _signing(self.folder / NEXT_TRACE_KEY)

    def adopt_next(self) -> None:
        """Put the next key into the place of the one that it was handed over from. Raises OSError."""
        (self.folder / NEXT_TRACE_KEY).replace(self.folder / TRACE_KEY)
        sync_folder(self.folder, os.fsync)

    def destroy_trace_file(self) -> None:
        """Overwrite and remove the key file of a log that a token signs now. Raises OSError."""
        path = self.folder / TRACE_KEY
        path.write_bytes(bytes(path.stat().st_size))
        path.unlink()
        sync_folder(self.folder, os.fsync)

    def settle(self, trace: Path, node: str) -> None:
        """End a change of key that a crash cut short: as done where the next key has signed, else as never begun.

        Raises UnreadableKeyError, TraceUnavailable of the token's key, OSError.
        """
        if self.token is not None and self.has_trace_file and has_signed_last(trace, node, self.trace.public_key()):
            self.destroy_trace_file()
        following = self.folder / NEXT_TRACE_KEY
        if not following.exists():
            return
        if has_signed_last(trace, node, _signing(following).public_key()):
            self.adopt_next()
        else:
            following.unlink()


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
    sync_folder(path.parent, os.fsync)
    return secret
