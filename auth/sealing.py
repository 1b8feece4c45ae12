"""Secrets kept unreadable at rest, and certificates kept without a name.

One master key, held outside the database, gives two keys by HKDF-SHA256 (RFC 5869): one seals small secrets
with AES-256-GCM, one makes the pseudonyms of certificates (C17). A stolen database alone gives neither.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from auth.errors import SealError

MASTER_KEY_BYTES = 32
_NONCE_BYTES = 12  # what GCM takes without hashing (NIST SP 800-38D section 8.2)

RandomBytes = Callable[[int], bytes]


class Sealing:
    """Seals secrets to their owner and purpose; turns a certificate into its keyed pseudonym."""

    def __init__(self, master_key: bytes, *, random_bytes: RandomBytes) -> None:
        """Take a master key of exactly 32 bytes.

        Raises:
            ValueError: the key has another length.
        """
        if len(master_key) != MASTER_KEY_BYTES:
            raise ValueError(f"the master key must have {MASTER_KEY_BYTES} bytes, not {len(master_key)}")
        self._aead = AESGCM(_derive(master_key, b"halfgateway secrets at rest"))
        self._pseudonym_key = _derive(master_key, b"halfgateway certificate pseudonyms")
        self._code_key = _derive(master_key, b"halfgateway recovery codes")
        self._random_bytes = random_bytes

    def seal(self, secret: bytes, *, owner: str, purpose: str) -> bytes:
        """Encrypt ``secret`` so that it opens only for the same owner and purpose."""
        nonce = self._random_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, secret, _context(owner, purpose))

    def unseal(self, sealed: bytes, *, owner: str, purpose: str) -> bytes:
        """Decrypt what :meth:`seal` made.

        Raises:
            SealError: the key, the owner or the purpose differ, or the bytes were altered.
        """
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _context(owner, purpose))
        except (InvalidTag, ValueError) as error:
            raise SealError(f"the {purpose} of {owner} does not open") from error

    def pseudonym(self, certificate_der: bytes) -> str:
        """Name a certificate without its subject: HMAC-SHA256 of its SHA-256, in hexadecimal (C17)."""
        fingerprint = hashlib.sha256(certificate_der).digest()
        return hmac.new(self._pseudonym_key, fingerprint, hashlib.sha256).hexdigest()

    def code_hmac(self, code: str, *, owner: str) -> str:
        """Hash a short code of ``owner`` so that the database alone does not let it be guessed: HMAC-SHA256, in hex."""
        return hmac.new(self._code_key, _context(owner, code), hashlib.sha256).hexdigest()


def _derive(master_key: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(master_key)


def _context(owner: str, purpose: str) -> bytes:
    return f"{purpose}\0{owner}".encode()
