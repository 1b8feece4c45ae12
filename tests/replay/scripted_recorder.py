"""A recorder that plays what a test says it plays: pictures by the second, with ONVIF's extension or without."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from halfgateway.protocol.headers import Headers
from halfgateway.protocol.interleaved import frame
from halfgateway.protocol.messages import Request, Response, response, serialise
from halfgateway.protocol.ranges import ClockRange, parse_range
from halfgateway.protocol.replay_header import ReplayHeader, read_replay_header, with_replay_header
from halfgateway.protocol.rtcp import bye
from halfgateway.protocol.rtp_info import StreamInfo, rtp_info
from tests.relay.packets import IDR, NON_IDR, rtp
from tests.upstream.scripted import ScriptedCamera, serving

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PICTURE = timedelta(milliseconds=200)
PICTURES_A_GROUP = 5


@dataclasses.dataclass
class Manner:
    """How it plays. ``pause_s`` lies between two pictures, ``gap_s`` before one that follows nothing but the first.

    ``padding`` bytes are added to each.
    """

    footage: tuple[tuple[datetime, datetime], ...] = ((NOON, NOON + timedelta(hours=1)),)
    extension: bool = True
    names_cseq: bool = True
    knows_replay: bool = True
    tells_rtp_info: bool = False
    marks_end: bool = True
    says_goodbye: bool = False
    hangs_up: bool = False
    stragglers: int = 0
    pause_s: float = 0.0
    gap_s: float = 0.0
    padding: int = 0


class ScriptedRecorder(ScriptedCamera):
    """Answers PLAY with the footage of ``manner``; ``sent_bytes`` is what it could hand to the network."""

    def __init__(self, manner: Manner | None = None) -> None:
        super().__init__()
        self.manner = manner or Manner()
        self.sent_bytes = 0
        self._sequence = 100
        self._playing: asyncio.Task[None] | None = None

    def plays(self) -> list[Request]:
        return [request for request in self.asked if request.method == "PLAY"]

    def _usual(self, request: Request) -> Response:
        if request.headers.get("Require") and not self.manner.knows_replay:
            return response(551, Headers([("Unsupported", "onvif-replay")]))
        answer = super()._usual(request)
        if request.method == "PLAY" and self.manner.tells_rtp_info:
            first = self._sequence + self.manner.stragglers
            answer.headers.set("RTP-Info", rtp_info([StreamInfo(f"{self.url}/trackID=0", first & 0xFFFF)]))
        if request.method in {"PAUSE", "TEARDOWN"}:
            self._stop()
        return answer

    def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        scripted = self.script(request)
        self.asked.append(request)
        answer = scripted or self._usual(request)
        answer.headers.set("CSeq", request.headers.get("CSeq") or "")
        if request.method == "PLAY" and answer.status == 200:
            self._stop()
            writer.write(serialise(answer))
            self._playing = asyncio.ensure_future(self._replay(request, writer))
            self._players.add(self._playing)
            self._playing.add_done_callback(self._players.discard)
        else:
            writer.write(serialise(answer))

    def _stop(self) -> None:
        if self._playing is not None:
            self._playing.cancel()

    async def _replay(self, request: Request, writer: asyncio.StreamWriter) -> None:
        cseq = int(request.headers.get("CSeq") or 0)
        for number in range(self.manner.stragglers):
            self._send(writer, self._packet(NOON - timedelta(hours=1), number % 2 == 0, cseq=cseq - 2))
        for number, packet in enumerate(self._packets(request, cseq)):
            header = read_replay_header(packet)
            if number and header is not None and header.discontinuous:
                await asyncio.sleep(self.manner.gap_s)
            self._send(writer, packet)
            await writer.drain()
            await asyncio.sleep(self.manner.pause_s)
        if self.manner.says_goodbye:
            writer.write(frame(self.channels[1], bye(0x11223344)))
        if self.manner.hangs_up:
            writer.close()

    def _send(self, writer: asyncio.StreamWriter, packet: bytes) -> None:
        writer.write(frame(self.channels[0], packet))
        self.sent_bytes += len(packet)

    def _packets(self, request: Request, cseq: int) -> Iterator[bytes]:
        asked = parse_range(request.headers.get("Range") or "npt=0-")
        start, end = (asked.start, asked.end) if isinstance(asked, ClockRange) else (NOON, None)
        shown = [(max(start, begins), min(end or ends, ends)) for begins, ends in self.manner.footage if ends > start]
        for place, (begins, ends) in enumerate(shown):
            at, number = begins, 0
            while at < ends:
                after = at + PICTURE >= ends
                yield self._packet(
                    at,
                    number % PICTURES_A_GROUP == 0,
                    cseq=cseq,
                    discontinuous=number == 0,
                    last=after and self.manner.marks_end,
                    terminal=after and self.manner.marks_end and place == len(shown) - 1,
                )
                at, number = at + PICTURE, number + 1

    def _packet(
        self,
        at: datetime,
        clean: bool,
        *,
        cseq: int,
        discontinuous: bool = False,
        last: bool = False,
        terminal: bool = False,
    ) -> bytes:
        payload = (IDR if clean else NON_IDR) + bytes(self.manner.padding)
        ticks = (at - NOON) * 90_000 // timedelta(seconds=1) & 0xFFFFFFFF
        packet = rtp(self._sequence & 0xFFFF, ticks, payload)
        self._sequence += 1
        if not self.manner.extension:
            return packet
        named = cseq & 0xFF if self.manner.names_cseq else 0
        return with_replay_header(packet, ReplayHeader(at, clean, last, discontinuous, terminal, named))


@asynccontextmanager
async def scripted_recorder(manner: Manner | None = None) -> AsyncIterator[ScriptedRecorder]:
    async with serving(ScriptedRecorder(manner)) as recorder:
        yield recorder
