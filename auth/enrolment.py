"""Making accounts and their factors: what the command line, the demo and later the officer's API call."""

from __future__ import annotations

import base64
from datetime import datetime

from auth.accounts import Account, AccountRepository, DigestSecret
from auth.passwords import Passwords
from auth.principals import Role
from auth.sealing import RandomBytes
from auth.totp import new_secret

_MACHINE_SECRET_BYTES = 30


class Enrolment:
    """Creates accounts and gives them factors; secrets are returned once and kept hashed or sealed."""

    def __init__(self, accounts: AccountRepository, passwords: Passwords, *, random_bytes: RandomBytes) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._random_bytes = random_bytes

    async def create(
        self,
        account_id: str,
        role: Role,
        password: str,
        *,
        agent: str | None = None,
        service: str | None = None,
        site: str | None = None,
        scope: str | None = None,
        ends_at: datetime | None = None,
    ) -> Account:
        """Create an account; ``agent`` is an opaque id, never a name (C17); it ends by itself at ``ends_at``.

        Raises:
            AccountConflictError: the id is taken.
            ValueError: the password is empty or too long.
        """
        account = Account(
            id=account_id,
            role=role,
            agent=agent,
            service=service,
            site=site,
            scope=scope,
            password_hash=await self._passwords.hash(password),
            ended_at=ends_at,
        )
        await self._accounts.add(account)
        return account

    async def renew_password(self, account_id: str, password: str) -> None:
        """Replace an account's password; what it has logged in ends.

        Raises:
            UnknownAccountError: there is no such account.
            ValueError: the password is empty or too long.
        """
        await self._accounts.set_password_hash(account_id, await self._passwords.hash(password))

    async def enrol_totp(self, account_id: str) -> str:
        """Give the account a new one-time-code secret, and return it in base32.

        Raises:
            UnknownAccountError: there is no such account.
        """
        secret = new_secret(self._random_bytes)
        await self._accounts.set_totp_secret(account_id, secret)
        return secret

    async def enrol_machine_secret(self, account_id: str, *, realm: str) -> str:
        """Draw a machine's secret, for its login and for RTSP Digest in ``realm``, and return it.

        It has 40 characters of letters, digits, ``-`` and ``_`` (240 bits).

        Raises:
            UnknownAccountError: there is no such account.
        """
        secret = base64.urlsafe_b64encode(self._random_bytes(_MACHINE_SECRET_BYTES)).decode()
        await self.renew_password(account_id, secret)
        await self._accounts.set_digest_secret(
            account_id, DigestSecret.derive(username=account_id, realm=realm, password=secret)
        )
        return secret

    async def bind_certificate(self, account_id: str, certificate_der: bytes) -> None:
        """Bind a card's or a machine's certificate to the account.

        Raises:
            AccountConflictError: it is bound already (C09), or there is no such account.
        """
        await self._accounts.bind_certificate(account_id, certificate_der)
