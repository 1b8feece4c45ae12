"""Passwords: Argon2id in worker threads, with the same work whether the account exists or not."""

from __future__ import annotations

import asyncio
import base64
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from auth.errors import ThrottledError
from auth.sealing import RandomBytes

MAX_PASSWORD_CHARS = 1024
"""Longer ones never match: a passphrase fits many times over, and hashing input stays small."""

HASHING_THREADS = 2
"""Each hash takes 64 MiB (RFC 9106 section 4, second choice): two at once bound the memory at 128 MiB."""

MAX_WAITING = 64
"""Hashes waiting or running, a few seconds of work; past it the caller is told to come back."""

_RETRY_WHEN_FULL_S = 5

_Result = TypeVar("_Result")


class Passwords:
    """Hashes and verifies passwords without holding the event loop."""

    def __init__(self, *, random_bytes: RandomBytes, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(max_workers=HASHING_THREADS, thread_name_prefix="argon2")
        self._waiting = 0
        self._hash_of_nobody = _unmatchable_hash(self._hasher, random_bytes)

    async def hash(self, password: str) -> str:
        """Return ``password``'s hash as a PHC string.

        Raises:
            ValueError: it is empty or longer than 1024 characters.
            ThrottledError: too many hashes are waiting.
        """
        if not 0 < len(password) <= MAX_PASSWORD_CHARS:
            raise ValueError(f"a password has 1 to {MAX_PASSWORD_CHARS} characters")
        return await self._in_thread(lambda: self._hasher.hash(_canonical(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Tell whether ``password`` matches; without a hash, do the same work and answer no.

        Raises:
            ThrottledError: too many hashes are waiting.
        """
        candidate = _canonical(password[:MAX_PASSWORD_CHARS])
        expected = password_hash or self._hash_of_nobody
        matches = await self._in_thread(lambda: self._matches(expected, candidate))
        return matches and password_hash is not None and len(password) <= MAX_PASSWORD_CHARS

    def close(self) -> None:
        """End the worker threads, after the hashes under way."""
        self._threads.shutdown(wait=True)

    def _matches(self, expected: str, candidate: str) -> bool:
        try:
            return self._hasher.verify(expected, candidate)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= MAX_WAITING:
            raise ThrottledError(retry_after_s=_RETRY_WHEN_FULL_S, just_locked=False)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _canonical(password: str) -> str:
    """One spelling of accented letters, whatever the keyboard composed (RFC 8265 section 4.2, NFC)."""
    return unicodedata.normalize("NFC", password)


def _unmatchable_hash(hasher: PasswordHasher, random_bytes: RandomBytes) -> str:
    """A well-formed hash with ``hasher``'s costs and a random digest: verifying it is real work, in vain."""
    salt = base64.b64encode(random_bytes(hasher.salt_len)).rstrip(b"=").decode()
    digest = base64.b64encode(random_bytes(hasher.hash_len)).rstrip(b"=").decode()
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"
