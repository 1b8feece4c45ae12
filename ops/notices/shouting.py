"""Making oneself heard by SYN: on stderr, in a metrics file, by a webhook, by mail over the second route (N09).

What is shouted is internal to SYN (C16): functions and ids, no address of a camera, no agent. Each way is tried,
whatever becomes of the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, TextIO

import aiohttp

from camera_registry.clock import rfc3339
from ops.appended import place_durably
from ops.contacts import Contact, check_copying
from ops.errors import CallFailed, CopyingRefused
from ops.notices.conversation import Letter, Route
from ops.notices.message import envelope_id
from ops.parties import Party

log = logging.getLogger(__name__)

CALL_LIMIT_S: Final = 15.0
"""Seconds for one call by one way."""

AGAIN_AFTER: Final = timedelta(minutes=15)
"""How long an alarm that still stands is not repeated."""


class AlarmKind(StrEnum):
    """Why somebody is to come."""

    NOTICE_LATE = "notice-late"
    DEADLINE_MISSED = "deadline-missed"
    CLOCK_RUNS_OUT = "clock-runs-out"
    NOT_WRITTEN = "notice-not-written"
    NOTIFIER_SILENT = "notifier-silent"
    WATCHDOG_SILENT = "watchdog-silent"
    BOOK_DAMAGED = "book-damaged"
    TELEPHONE = "telephone"
    DISK_LOW = "disk-low"
    NOT_RECORDING = "not-recording"
    NOT_DESTROYED = "not-destroyed"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One reason to come: ``about`` is the incident's id, with a clock's name where there are several, or the part
    of ours that is silent.
    """

    kind: AlarmKind
    about: str
    text: str
    deadline: datetime | None = None

    def document(self, now: datetime) -> Mapping[str, str | None]:
        """As a webhook is told of it."""
        deadline = None if self.deadline is None else rfc3339(self.deadline)
        return {"alarm": self.kind, "about": self.about, "text": self.text, "deadline": deadline, "at": rfc3339(now)}


class Voice(Protocol):
    """One way of making oneself heard."""

    async def call(self, alarm: Alarm, now: datetime) -> None:
        """Tell of one alarm. Raises CallFailed."""


@dataclass(frozen=True, slots=True)
class StderrVoice:
    """A line on stderr, where the service manager's journal keeps it."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)

    async def call(self, alarm: Alarm, now: datetime) -> None:
        """See :class:`Voice`."""
        try:
            self.stream.write(f"{rfc3339(now)} ALARM {alarm.kind} {alarm.about}: {alarm.text}\n")
            self.stream.flush()
        except (OSError, ValueError) as error:
            raise CallFailed(f"stderr: {error}") from error


@dataclass(frozen=True, slots=True)
class WebhookVoice:
    """An HTTP POST of the alarm as JSON, to SYN's own on-call system. ``token`` is sent as a bearer's."""

    url: str
    token: str | None = field(default=None, repr=False)

    async def call(self, alarm: Alarm, now: datetime) -> None:
        """See :class:`Voice`."""
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_LIMIT_S)) as session,
                session.post(self.url, json=alarm.document(now), headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status >= 300:
                    raise CallFailed(f"webhook: {answer.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise CallFailed(f"webhook: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class MailVoice:
    """A mail to SYN's on-call, or to its gateway to SMS, over the first of ``routes`` that takes it.

    ``contacts`` gives the contacts of the annexes that these recipients are: it is internal, and carries none of PP's
    (C14, C16).
    """

    routes: tuple[Route, ...]
    sender: str
    recipients: tuple[str, ...]
    domain: str
    contacts: Callable[[], Sequence[Contact]] = tuple

    async def call(self, alarm: Alarm, now: datetime) -> None:
        """See :class:`Voice`."""
        try:
            check_copying(Party.SYN, self.contacts(), internal=True)
        except CopyingRefused as error:
            raise CallFailed(f"mail: {error}") from error
        letter = self._letter(alarm, now)
        answers = []
        for route in self.routes:
            spoken = await route.converse(letter, limit_s=CALL_LIMIT_S)
            if spoken.taken:
                return
            answers.append(f"{route.name} {spoken.outcome}")
        raise CallFailed(f"mail: {', '.join(answers)}")

    def _letter(self, alarm: Alarm, now: datetime) -> Letter:
        mail = EmailMessage(policy=SMTP)
        name = hashlib.sha256(f"{alarm.kind} {alarm.about} {rfc3339(now)}".encode()).hexdigest()[:24]
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.recipients)
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<alarm.{name}@{self.domain}>"
        mail["Subject"] = f"[ALERTE interne SYN] {alarm.kind} {alarm.about}"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(f"{alarm.text}\n", cte="quoted-printable")
        return Letter(self.sender, self.recipients, mail.as_bytes(), envelope_id(mail["Message-ID"]))


class MetricsFile:
    """The alarms that stand, as a file for the node exporter's textfile collector; replaced whole each time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, alarms: Sequence[Alarm], now: datetime) -> None:
        """Replace what the file says. Raises CallFailed."""
        lines = ["# TYPE halfgateway_alarm gauge"]
        lines += [f'halfgateway_alarm{{kind="{alarm.kind}",about="{alarm.about}"}} 1' for alarm in alarms]
        lines += [
            "# TYPE halfgateway_watched_at_seconds gauge",
            f"halfgateway_watched_at_seconds {now.timestamp():.0f}",
        ]
        try:
            place_durably(self._path, ("\n".join(lines) + "\n").encode(), lambda _: None)
        except OSError as error:
            raise CallFailed(f"{self._path}: {error.strerror}") from error


class Alarms:
    """The alarms that stand, each shouted when it is raised, and again every ``AGAIN_AFTER`` while it does.

    A voice that has failed tries again the next time; the others do not repeat themselves for it. ``voices`` are asked
    for each time, and keep their places.
    """

    def __init__(self, voices: Callable[[], Sequence[Voice]], metrics: MetricsFile | None = None) -> None:
        self._voices = voices
        self._metrics = metrics
        self._heard_at: dict[tuple[AlarmKind, str, int], datetime] = {}

    async def stand(self, alarms: Sequence[Alarm], now: datetime) -> None:
        """Say which alarms stand now: those that are new, or old enough, are shouted. Never raises."""
        standing = {(alarm.kind, alarm.about): alarm for alarm in alarms}
        self._heard_at = {key: at for key, at in self._heard_at.items() if key[:2] in standing}
        if self._metrics is not None:
            with suppress(CallFailed):
                await asyncio.to_thread(self._metrics.write, tuple(standing.values()), now)
        voices = self._voices()
        due = [
            (*key, place)
            for key in standing
            for place in range(len(voices))
            if now >= self._heard_at.get((*key, place), now - AGAIN_AFTER) + AGAIN_AFTER
        ]
        answers = await asyncio.gather(
            *(_called(voices[place], standing[kind, about], now) for kind, about, place in due)
        )
        self._heard_at.update({key: now for key, was_heard in zip(due, answers, strict=True) if was_heard})


async def heard(voices: Sequence[Voice], alarm: Alarm, now: datetime) -> bool:
    """Tell of an alarm by every voice at once; return whether any has been heard."""
    answers = await asyncio.gather(*(_called(voice, alarm, now) for voice in voices))
    return any(answers)


async def _called(voice: Voice, alarm: Alarm, now: datetime) -> bool:
    try:
        await voice.call(alarm, now)
    except CallFailed as error:
        log.warning("alarm.not_heard kind=%s about=%s error=%s", alarm.kind, alarm.about, error)
        return False
    return True


class Pulse:
    """A part's sign of life: a file that says when it last went round, and by which others see that it does not."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def beat(self, now: datetime) -> None:
        """Say that it lives. Raises CallFailed."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            new.write_text(rfc3339(now), encoding="ascii")
            new.replace(self._path)
        except OSError as error:
            raise CallFailed(f"{self._path}: {error.strerror}") from error

    def last(self) -> datetime | None:
        """When it last did; None where it never has, or that cannot be read."""
        try:
            return datetime.fromisoformat(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
