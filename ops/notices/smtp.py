"""One conversation with a mail server: submission over TLS whose peer is verified (RFC 5321, RFC 6409, RFC 8314).

Delivery reports are asked for where the server offers them (RFC 3461). A server's refusal of one recipient is final
only where it speaks of that recipient; where it speaks of us, of the message or of itself, the letter is tried again,
by another way too: eight hours are too short to take a policy's mistake for an answer.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Literal

from aiosmtplib import SMTP, SMTPException, SMTPResponse, SMTPResponseException

from ops.notices.conversation import Conversation, Letter, Outcome, Transcript

Security = Literal["starttls", "tls", "none"]
"""How the connection is kept private: from the greeting on, at once, or, on this machine only, not at all."""

QUIT_LIMIT_S: Final = 5.0
"""Seconds for the leave-taking, when everything is said."""

_DSN_NOT_TAKEN: Final = frozenset({501, 504, 555})
"""A server that offers reports and refuses to be asked for them: it is asked without."""

_FINAL_WITHOUT_DETAIL: Final = frozenset({550, 551, 552, 553})
"""Of the mailbox (RFC 5321 section 4.2.3), where no enhanced code tells more."""

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.\d{1,3}(?:\s|$)")
_FINAL_SUBJECTS: Final = frozenset({"1", "2"})
"""Addressing and mailbox (RFC 3463 section 3); all else is about the server, the network or a policy."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to the server."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SmtpRoute:
    """A mail server that takes our notices: see :class:`~ops.notices.conversation.Route`.

    ``helo`` is the name that we give. ``tls`` verifies the peer. ``connect_limit_s`` and ``reply_limit_s`` bound the
    greeting and each answer, in seconds, within the whole conversation's limit. Raises ValueError for a server
    elsewhere without TLS.
    """

    name: str
    host: str
    port: int
    helo: str
    security: Security = "starttls"
    tls: ssl.SSLContext | None = None
    login: Login | None = None
    connect_limit_s: float = 20.0
    reply_limit_s: float = 60.0

    def __post_init__(self) -> None:
        if self.security == "none" and not _on_this_machine(self.host):
            raise ValueError(f"{self.name}: only a mail server on this machine is spoken to without TLS")
        if self.security != "none" and (self.tls is None or self.tls.verify_mode is not ssl.CERT_REQUIRED):
            raise ValueError(f"{self.name}: the mail server's certificate has to be verified")

    async def converse(self, letter: Letter, *, limit_s: float) -> Conversation:
        """See :class:`~ops.notices.conversation.Route`."""
        return await _Talk(self, letter).held(limit_s)


class _Refused(Exception):
    """The server will not go on with us; the letter is tried again."""


class _Talk:
    """One conversation, from the greeting to the leave-taking."""

    def __init__(self, route: SmtpRoute, letter: Letter) -> None:
        self._route = route
        self._letter = letter
        self._heard = Transcript(_secrets(route.login))
        self._server = "-"
        self._tls: str | None = None
        self._taken: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._deferred = False

    async def held(self, limit_s: float) -> Conversation:
        client = SMTP(
            hostname=self._route.host,
            port=self._route.port,
            local_hostname=self._route.helo,
            timeout=min(self._route.reply_limit_s, limit_s),
            use_tls=self._route.security == "tls",
            start_tls=False,
            tls_context=self._route.tls,
        )
        try:
            async with asyncio.timeout(limit_s):
                await self._introduce(client)
                await self._hand_over(client)
            outcome = self._outcome()
        except _Refused:
            outcome = "deferred" if self._deferred else "refused"
        except SMTPResponseException as error:
            self._heard.theirs(error.code, error.message)
            outcome = "deferred" if error.code < 500 else "refused"
        except TimeoutError:
            self._heard.happened("no answer in time")
            outcome = "unreachable"
        except ssl.SSLError as error:
            self._heard.happened(f"TLS: {error}")
            outcome = "unreachable"
        except (SMTPException, OSError) as error:
            self._heard.happened(str(error) or type(error).__name__)
            outcome = "unreachable"
        finally:
            await self._leave(client)
        return Conversation(self._server, self._tls, self._heard.text(), outcome, self._taken, self._failed)

    async def _introduce(self, client: SMTP) -> None:
        async with asyncio.timeout(self._route.connect_limit_s):
            greeting = await client.connect()
        self._server = self._heard.theirs(*greeting).split()[1:2][0] if greeting.message.split() else "-"
        await self._hello(client)
        if self._route.security == "starttls":
            self._heard.ours("STARTTLS")
            self._heard.theirs(*await client.starttls())
        if self._route.security != "none":
            self._tls = _described(client)
            self._heard.happened(self._tls)
        if self._route.security == "starttls":
            await self._hello(client)
        if self._route.login is not None:
            self._heard.ours("AUTH ***")
            self._heard.theirs(*await client.login(self._route.login.username, self._route.login.password))

    async def _hello(self, client: SMTP) -> None:
        self._heard.ours(f"EHLO {self._route.helo}")
        self._heard.theirs(*await client.ehlo())

    async def _hand_over(self, client: SMTP) -> None:
        reports = client.supports_extension("dsn")
        await self._name_sender(client, reports=reports)
        accepted = [one for one in self._letter.recipients if await self._name_recipient(client, one, reports=reports)]
        if not accepted:
            return
        self._heard.ours(f"DATA ({len(self._letter.content)} bytes)")
        answer = self._heard.theirs(*await client.data(self._letter.content))
        self._taken.update(dict.fromkeys(accepted, answer))

    async def _name_sender(self, client: SMTP, *, reports: bool) -> None:
        options = ["BODY=8BITMIME"] if not self._letter.content.isascii() else []
        asked = ["RET=HDRS", f"ENVID={self._letter.envelope_id}"] if reports else []
        answer = await self._told(client, f"MAIL FROM:<{self._letter.sender}>", options, asked)
        if answer.code >= 400:
            self._deferred = answer.code < 500
            raise _Refused

    async def _name_recipient(self, client: SMTP, recipient: str, *, reports: bool) -> bool:
        """Whether the server will take the letter for this recipient; what it says otherwise is kept."""
        if not recipient.isascii():
            self._failed[recipient] = "adresse non ASCII : non transmissible sans SMTPUTF8"
            return False
        asked = ["NOTIFY=SUCCESS,FAILURE,DELAY", f"ORCPT=rfc822;{xtext(recipient)}"] if reports else []
        answer = await self._told(client, f"RCPT TO:<{recipient}>", [], asked)
        if answer.code < 400:
            return True
        self._deferred = self._deferred or answer.code < 500
        if is_final(answer.code, answer.message):
            self._failed[recipient] = self._heard.shown(f"{answer.code} {' '.join(answer.message.split())}")
        return False

    async def _told(self, client: SMTP, command: str, options: Sequence[str], asked: Sequence[str]) -> SMTPResponse:
        """Give a command, with the reports asked for; without them where the server does not want to be asked."""
        line = " ".join((command, *options, *asked))
        self._heard.ours(line)
        answer = await client.execute_command(line.encode("ascii"))
        self._heard.theirs(*answer)
        if answer.code in _DSN_NOT_TAKEN and asked:
            return await self._told(client, command, options, ())
        return answer

    async def _leave(self, client: SMTP) -> None:
        """Take leave where there is still somebody to take it of; whatever was said before stands."""
        with suppress(SMTPException, OSError, TimeoutError):
            if client.is_connected:
                async with asyncio.timeout(QUIT_LIMIT_S):
                    await client.quit()
        client.close()

    def _outcome(self) -> Outcome:
        if self._taken:
            return "taken" if len(self._taken) == len(self._letter.recipients) else "partly-taken"
        return "deferred" if self._deferred else "refused"


def is_final(code: int, text: str) -> bool:
    """Whether an answer to RCPT says that this recipient will never be reached (RFC 5321, RFC 3463)."""
    if not 500 <= code <= 599:
        return False
    enhanced = _ENHANCED.match(text)
    if enhanced is None:
        return code in _FINAL_WITHOUT_DETAIL
    return enhanced[1] == "5" and enhanced[2] in _FINAL_SUBJECTS


def xtext(text: str) -> str:
    """Escape what may not stand in a parameter of SMTP (RFC 3461 section 4)."""
    return "".join(
        character if "!" <= character <= "~" and character not in "+=" else f"+{ord(character):02X}"
        for character in text
    )


def _described(client: SMTP) -> str:
    spoken = client.get_transport_info("ssl_object")
    certificate = hashlib.sha256(spoken.getpeercert(binary_form=True)).hexdigest()
    return f"{spoken.version()} {spoken.cipher()[0]} sha256:{certificate}"


def _secrets(login: Login | None) -> list[str]:
    """The password, and the ways in which a server could repeat it."""
    if login is None:
        return []
    plain = f"\0{login.username}\0{login.password}"
    return [login.password, *(base64.b64encode(text.encode()).decode() for text in (plain, login.password))]


def _on_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
