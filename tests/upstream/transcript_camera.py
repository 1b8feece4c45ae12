"""A camera that says what a file of ``tests/corpus`` says; the README beside those files explains how to read them."""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from halfgateway.protocol.messages import Request
from halfgateway.protocol.rtcp import SenderReport, ntp_timestamp, sender_report
from halfgateway.simulator.packets import Clip
from tests.relay.packets import IDR, frames
from tests.upstream.scripted import ScriptedCamera, serving

CORPUS = Path(__file__).parent.parent / "corpus"
PACE_S = 0.005
TICKS = 1800
CLOCK_HZ = 90_000
OTHER_TICKS = 1 << 28
OTHER_PICTURE = b"\x65other"
SILENCE, HANGS_UP = "(silence)", "(hangs up)"
_SECTION = re.compile(r"^== (.+)\n", re.MULTILINE)


def sections(name: str, corpus: Path = CORPUS) -> dict[str, str]:
    """The sections of a corpus file, by their names."""
    parts = _SECTION.split((corpus / name).read_text(encoding="utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def playing(name: str, clip: Clip | None = None) -> AbstractAsyncContextManager[TranscriptCamera]:
    """A camera that speaks as that file of the corpus has it."""
    return serving(TranscriptCamera(sections(name), clip))


class TranscriptCamera(ScriptedCamera):
    """Answers by a transcript, and like any camera where that is silent."""

    def __init__(self, said: Mapping[str, str], clip: Clip | None) -> None:
        super().__init__()
        self._said = said
        self._clip = clip
        self._sets = _parameter_sets(clip) if clip else ()

    def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        proven = "Authorization" in request.headers or "UNAUTHORISED" not in self._said
        said = self._said.get(request.method if proven else "UNAUTHORISED")
        if said is None:
            super()._answer(request, writer)
            return
        self.asked.append(request)
        if said.strip() == HANGS_UP:
            writer.transport.abort()
        elif said.strip() != SILENCE:
            writer.write(self._bytes(said, int(request.headers.get("CSeq") or 0)))
            if request.method == "PLAY" and proven:
                self._start(writer)

    def _bytes(self, said: str, cseq: int) -> bytes:
        values = {
            "{cseq}": str(cseq),
            "{cseq-1}": str(cseq - 1),
            "{address}": f"127.0.0.1:{self.port}",
            "{sets}": ",".join(base64.b64encode(unit).decode() for unit in self._sets),
            "{profile}": self._sets[0][1:4].hex() if self._sets else "",
        }
        for name, value in values.items():
            said = said.replace(name, value)
        head, _, body = said.partition("\n\n")
        content = body.rstrip("\n").replace("\n", "\r\n").encode()
        lines = [*head.rstrip("\n").split("\n"), *([f"Content-Length: {len(content)}"] if content else []), "", ""]
        return "\r\n".join(lines).encode() + content

    async def _play(self, writer: asyncio.StreamWriter) -> None:
        media = _Media(self.channels[0], self._clip)
        for data in media.played(self._said.get("MEDIA", "").splitlines()):
            if writer.is_closing():
                return
            writer.write(data)
            await asyncio.sleep(PACE_S)


class _Media:
    """What a transcript has sent, as it goes on the wire piece by piece."""

    def __init__(self, channel: int, clip: Clip | None) -> None:
        self._channel = channel
        self._clip = clip
        self._ssrc = 0x11223344
        self._payload_type = 96
        self._sequence = 0
        self._timestamp = 0
        self._sent = 0
        self._other_sequence = 500

    def played(self, script: list[str]) -> Iterator[bytes]:
        steps = [line.split() for line in script if line]
        while steps:
            for command, *words in steps:
                if command == "silence":
                    return
                if command == "repeat":
                    break
                yield from self._step(command, words)
            else:
                break
        for _ in itertools.count():
            yield self._picture(IDR)

    def _step(self, command: str, words: list[str]) -> Iterator[bytes]:
        if command == "pictures":
            yield from (self._picture(IDR) for _ in range(int(words[0])))
        elif command == "clip":
            yield from self._clips(bare=words == ["bare"])
        elif command == "type":
            header = self._header(int(words[0]), (self._sequence - 1) & 0xFFFF, self._ssrc)
            yield self._frame(header + bytes.fromhex(words[1]))
        elif command == "other":
            self._other_sequence += 1
            ours, self._timestamp = self._timestamp, self._timestamp + OTHER_TICKS
            yield self._frame(self._header(96, self._other_sequence, int(words[0], 16)) + OTHER_PICTURE)
            self._timestamp = ours
        elif command == "payload":
            yield self._picture(bytes.fromhex(words[0]))
        elif command == "bytes":
            yield bytes.fromhex(words[0])
        elif command == "report":
            yield self._report(words[0])
        elif command == "large":
            yield self._large(int(words[0]))
        else:
            self._change(command, words[0])

    def _change(self, command: str, word: str) -> None:
        if command == "ssrc":
            self._ssrc = int(word, 16)
        elif command == "sequence":
            self._sequence = int(word)
        elif command == "jump":
            self._timestamp += round(float(word) * CLOCK_HZ)
        elif command == "payload-type":
            self._payload_type = int(word)
        else:
            raise ValueError(f"no such step in a transcript: {command}")

    def _picture(self, payload: bytes, *, ticks: int = TICKS, marker: bool = True) -> bytes:
        header = self._header(self._payload_type, self._sequence, self._ssrc, marker=marker)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp += ticks
        self._sent += 1
        return self._frame(header + payload)

    def _header(self, payload_type: int, sequence: int, ssrc: int, *, marker: bool = True, flags: int = 0) -> bytes:
        second = payload_type | (0x80 if marker else 0)
        return struct.pack("!BBHII", 0x80 | flags, second, sequence, self._timestamp & 0xFFFFFFFF, ssrc)

    def _frame(self, packet: bytes) -> bytes:
        return frames((self._channel, packet))

    def _large(self, size: int) -> bytes:
        header = self._header(self._payload_type, self._sequence, self._ssrc, flags=0x30)
        extension, padding = bytes.fromhex("beef0001cafecafe"), bytes(3) + b"\x04"
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp += TICKS
        payload = b"\x65" * (size - len(header) - len(extension) - len(padding))
        return self._frame(header + extension + payload + padding)

    def _report(self, ahead: str) -> bytes:
        ntp = 0 if ahead == "none" else ntp_timestamp(time.time_ns() + round(float(ahead) * 1e9))
        report = SenderReport(self._ssrc, ntp, self._timestamp & 0xFFFFFFFF, self._sent, self._sent * 100)
        return frames((self._channel + 1, sender_report(report, "root@192.168.1.108")))

    def _clips(self, *, bare: bool) -> Iterator[bytes]:
        assert self._clip is not None
        for unit in itertools.cycle(self._clip.access_units):
            packets = [each for each in unit.packets if not (bare and _is_parameters(each.payload))]
            for packet in packets:
                last = packet is packets[-1]
                yield self._picture(packet.payload, ticks=3600 if last else 0, marker=last)


def _is_parameters(payload: bytes) -> bool:
    """Whether a packet holds parameter sets alone, or with what may stand beside them."""
    kinds = {payload[0] & 0x1F}
    if kinds == {24}:
        kinds, at = set(), 1
        while at + 2 < len(payload):
            kinds.add(payload[at + 2] & 0x1F)
            at += 2 + int.from_bytes(payload[at : at + 2], "big")
    return bool(kinds & {7, 8}) and kinds <= {6, 7, 8, 9}


def _parameter_sets(clip: Clip) -> tuple[bytes, ...]:
    text = clip.format_parameters.partition("sprop-parameter-sets=")[2]
    return tuple(base64.b64decode(unit) for unit in text.split(","))
