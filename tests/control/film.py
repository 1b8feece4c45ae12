"""Film of one camera, a clean picture a second, at a recorder that a test holds in its hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.sdp import SessionDescription, parse
from halfgateway.relay.source import VideoFormat
from halfgateway.replay.footage import Interval, Passage, Picture
from tests.control.doors import SDP
from tests.relay.packets import IDR, rtp

SECOND = timedelta(seconds=1)


@dataclass
class Film:
    """The recordings of every camera; it goes back forever. ``fails`` is what comes of whatever is asked next,
    ``lead`` how long before what is asked it begins, ``turns`` how many of the event loop each answer takes.
    """

    reverses: bool = True
    fails: Exception | None = None
    breaks_after: int | None = None
    hangs: bool = False
    lead: timedelta = timedelta()
    turns: int = 1
    sessions: list[FilmReplay] = field(default_factory=list)
    described: int = 0

    def of(self, camera: str) -> Film:
        return self

    @property
    def open_sessions(self) -> int:
        return sum(not session.closed for session in self.sessions)

    async def answers(self) -> None:
        for _ in range(self.turns):
            await asyncio.sleep(0)

    async def find(self, start: datetime, end: datetime) -> Sequence[Interval]:
        await self.answers()
        return [Interval(start, end)]

    async def describe(self, at: datetime) -> SessionDescription:
        self.described += 1
        await self.answers()
        return parse(SDP)

    async def open(self, at: datetime) -> FilmReplay:
        await self.answers()
        if self.fails is not None:
            raise self.fails
        self.sessions.append(FilmReplay(self))
        return self.sessions[-1]


@dataclass
class FilmReplay:
    """A session that gives its pictures as fast as they are taken."""

    film: Film
    closed: bool = False
    passages: list[Passage] = field(default_factory=list)
    playing: int = 0

    @property
    def video(self) -> VideoFormat:
        return VideoFormat(Codec.H264, 90_000)

    async def play(self, passage: Passage) -> AsyncGenerator[Picture, None]:
        self.passages.append(passage)
        self.playing += 1
        assert self.playing == 1, "one passage at a time"
        step = SECOND if passage.options.scale > 0 else -SECOND
        try:
            at, number = passage.start.replace(microsecond=0) - self.film.lead, 0
            while passage.end is None or (at < passage.end if step > timedelta() else at > passage.end):
                await (asyncio.Event().wait() if self.film.hangs else self.film.answers())
                if number == self.film.breaks_after and self.film.fails is not None:
                    raise self.film.fails
                yield Picture([rtp(number & 0xFFFF, number * 90_000 & 0xFFFFFFFF, IDR)], at, clean=True)
                at, number = at + step, number + 1
        finally:
            self.playing -= 1

    async def close(self) -> None:
        await self.film.answers()
        self.closed = True
