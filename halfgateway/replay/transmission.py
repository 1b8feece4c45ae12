"""One passage on its way to one reader: whole pictures, none lost, none from outside the window (C03)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from halfgateway.errors import OutsideRetention
from halfgateway.protocol.interleaved import frame
from halfgateway.protocol.replay_header import ReplayHeader
from halfgateway.relay.reader import Reader, TooSlow
from halfgateway.replay.footage import Picture
from halfgateway.replay.numbering import Numbering

SLIDE_TOLERANCE = timedelta(seconds=2)
"""How far what plays may fall behind the edge of the window before it is ended: as much as a line hiccups. Who begins
at the edge and watches at a picture's pace stays there."""

Pictures: TypeAlias = AsyncGenerator[Picture, None]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a reader is served.

    ``cseq`` is PLAY's where the reader asked for ONVIF replay, else None: it is told when each picture was filmed.
    ``stays``: no goodbye is said at the end of the footage (6.9). ``paced``: RTP time is that of the watching.
    ``patience_s`` is for how long the reader may take nothing.
    """

    cseq: int | None
    stays: bool
    paced: bool
    patience_s: float


class Transmission:
    """A passage from its first picture to its last; ``edge`` is the oldest instant that may be seen now.

    What was filmed before ``oldest``, the edge when it was asked for, is not seen at all.
    """

    def __init__(
        self,
        pictures: Pictures,
        numbering: Numbering,
        manner: Manner,
        *,
        oldest: datetime,
        edge: Callable[[], datetime],
        now: Callable[[], float],
    ) -> None:
        self.position: datetime | None = None
        self._pictures = pictures
        self._numbering = numbering
        self._manner = manner
        self._oldest = oldest
        self._edge = edge
        self._now = now
        self._first: Picture | None = None

    @property
    def begins_at(self) -> datetime | None:
        """When the first picture was filmed; None before :meth:`begin`, and where the passage has none."""
        return self._first.at if self._first is not None else None

    async def begin(self) -> bool:
        """Wait for the first picture, or for the end of a passage that has none; False if it may not be seen.

        A recorder begins at the clean picture at or before what was asked, perhaps outside the window.
        """
        async for picture in self._pictures:
            if picture.clean:
                self._first = picture if picture.at >= self._oldest else None
                return self._first is not None
        return True

    async def run(self, reader: Reader) -> None:
        """Give the reader all of it. Returns at its end, or when the reader's gate has closed.

        Raises OutsideRetention once it has come to the edge of the window, TooSlow, RecorderUnreachable.
        """
        reader.ssrc = self._numbering.ssrc
        async with aclosing(self._marked()) as pictures:
            async for picture, terminal in pictures:
                if not await self._give(reader, picture, terminal=terminal):
                    return
        if not self._manner.stays:
            reader.hand(frame(reader.channels[1], self._numbering.goodbye()), 0)
            reader.ssrc = None

    async def close(self) -> None:
        """Ask the recorder for no more."""
        await self._pictures.aclose()

    async def _marked(self) -> AsyncGenerator[tuple[Picture, bool], None]:
        """The pictures, and whether none comes after; told only to who asked for marks, for it takes the next one."""
        held, waits = self._first, self._manner.cseq is not None
        if held is not None and not waits:
            yield held, False
        async for picture in self._pictures:
            if not waits:
                yield picture, False
            elif held is not None:
                yield held, False
            held = picture
        if held is not None and waits:
            yield held, True

    async def _give(self, reader: Reader, picture: Picture, *, terminal: bool = False) -> bool:
        if picture.at < max(self._oldest, self._edge() - SLIDE_TOLERANCE):
            raise OutsideRetention("La lecture est parvenue à la limite de la période accessible.")
        frames = self._numbering.frames(picture, self._header(picture, terminal=terminal), reader.channels[0])
        if not reader.hand(frames, len(picture.packets)):
            return False
        self.position = picture.at
        report = self._numbering.report(picture.at, self._now()) if self._manner.paced else b""
        if report:
            reader.hand(frame(reader.channels[1], report), 0)
        if not reader.queued_bytes:
            return True
        try:
            async with asyncio.timeout(self._manner.patience_s):
                await reader.room()
        except TimeoutError as error:
            raise TooSlow("Le lecteur n'a rien pris pendant la durée d'une pause.") from error
        return True

    def _header(self, picture: Picture, *, terminal: bool) -> ReplayHeader | None:
        if self._manner.cseq is None:
            return None
        return ReplayHeader(
            picture.at,
            clean=picture.clean,
            last=picture.last,
            discontinuous=picture.discontinuous,
            terminal=terminal,
            cseq=self._manner.cseq,
        )
