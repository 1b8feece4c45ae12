"""One conversation with whoever carries mail: what is handed over, what became of it, and the evidence (N05)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ops.incidents.events import MAX_TEXT_CHARS, NoticeAttempted, NoticeFailed, NoticeSubmitted, Said

Outcome = Literal["taken", "partly-taken", "deferred", "refused", "unreachable"]

_LEFT_OUT = "\n[…]\n"


@dataclass(frozen=True, slots=True)
class Letter:
    """What is handed over: the exact bytes, and the envelope that they travel in.

    ``envelope_id`` comes back in delivery reports (RFC 3461 section 4.4).
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    envelope_id: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """What became of a letter. A recipient that is neither in ``taken`` nor in ``failed`` is tried again.

    ``server`` is the name it greets with; ``tls`` says version, cipher and the SHA-256 of the peer's certificate.
    """

    server: str
    tls: str | None
    dialogue: str
    outcome: Outcome
    taken: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    def said(self, notice: str, route: str, sha256: str) -> tuple[Said, ...]:
        """The conversation as the incident's book keeps it."""
        attempted = NoticeAttempted(
            notice=notice,
            route=route,
            sha256=sha256,
            server=self.server,
            tls=self.tls,
            dialogue=self.dialogue,
            outcome=self.outcome,
        )
        submitted = [NoticeSubmitted(notice=notice, recipient=one, evidence=how) for one, how in self.taken.items()]
        failed = [NoticeFailed(notice=notice, recipient=one, evidence=how) for one, how in self.failed.items()]
        return (attempted, *submitted, *failed)


class Route(Protocol):
    """A way for mail to leave."""

    @property
    def name(self) -> str:
        """As it stands in the evidence."""

    async def converse(self, letter: Letter, *, limit_s: float) -> Conversation:
        """Hand a letter over, in at most ``limit_s`` seconds. Never raises for what the other side does."""


class Transcript:
    """What both sides said, a line each, without what is secret in it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = [secret for secret in secrets if secret]
        self._lines: list[str] = []

    def ours(self, line: str) -> None:
        """Keep what we said."""
        self._lines.append(f"C: {line}")

    def theirs(self, code: int, text: str) -> str:
        """Keep what the server answered; return it in one line, fit to be shown."""
        answer = self.shown(f"{code} {' '.join(text.split())}")
        self._lines.append(f"S: {answer}")
        return answer

    def happened(self, what: str) -> None:
        """Keep what nobody said: a handshake, a time limit."""
        self._lines.append(f"*: {self.shown(what)}")

    def shown(self, text: str) -> str:
        """The text without secrets and without what cannot be printed, at most as long as an event's may be."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return shortened("".join(character if character.isprintable() else "?" for character in text))

    def text(self) -> str:
        """The whole dialogue, its middle left out where it is too long."""
        return shortened("\n".join(self._lines) or "-")


def shortened(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Return a text of at most ``limit`` characters: its beginning and its end tell the most."""
    if len(text) <= limit:
        return text
    half = (limit - len(_LEFT_OUT)) // 2
    return text[:half] + _LEFT_OUT + text[-half:]
