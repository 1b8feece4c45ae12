"""The bench's cameras, in a process of their own: ``python -m tests.bench.camera`` with a JSON line of settings.

One thread, one ``epoll``, sleeps of the system's own precision: what a camera does must neither cost much nor come
late. Settings: ``{"cameras", "mbps", "gop_s", "table"}``; the first answer is ``{"ports": […]}``. Then
``{"manner": "nodelay" | "nagle" | "frame"}`` sets how all of them write, and each line is answered by ``{"sessions",
"late_ms"}``: sessions that play, and how late a packet has left at worst since the last answer.
"""

from __future__ import annotations

import ctypes
import heapq
import json
import os
import secrets
import select
import socket
import struct
import time
from pathlib import Path
from typing import Any, Final

from camera_registry.clock import SystemClock
from halfgateway.protocol.interleaved import frame as interleaved
from halfgateway.protocol.rtcp import SenderReport, ntp_timestamp, sender_report
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.clips import FPS
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.packets import VIDEO_PAYLOAD_TYPE, VIDEO_TICKS
from tests.bench.camera_session import CameraSession
from tests.bench.clip import BenchClip, Picture, bench_clip, bench_spec
from tests.bench.frames import FrameTable, counter_nal
from tests.bench.identities import bench_identity

GAP_S: Final = 100e-6
"""Between two packets of a frame, as real cameras have it."""

FRAME_SHARE: Final = 0.9
"""The largest part of a frame's time that its packets may take: a key frame's are closer together where need be."""

REPORT_EVERY_FRAMES: Final = 5 * FPS
POLL_S: Final = 0.002
"""How long a request may wait while packets are being paced."""

SSRC: Final = 0x48470000
BASE_SEQUENCE: Final = 20_000
BASE_TIMESTAMP: Final = 1_000_000_000

_HEADER: Final = struct.Struct("!BBHBBHII")
_PR_SET_TIMERSLACK: Final = 29
_STDIN: Final = 0


class BenchCamera:
    """One camera: its clip's packets, each at its instant, to all who play it."""

    def __init__(self, index: int, clip: BenchClip, gate: DigestGate, table: FrameTable, begins_s: float) -> None:
        self.clip = clip.source
        self.gate = gate
        self.whole_frames = False
        self.sessions: list[CameraSession] = []
        self._index = index
        self._pictures = clip.pictures
        self._gop_frames = clip.frames_to_key
        self._table = table
        self._begins_s = begins_s
        # Key frames of different cameras come at different times, as in a town.
        self._frame = index * self._gop_frames // 10
        self._first_frame = self._frame
        self._shift = 0
        self._sequence = BASE_SEQUENCE
        self._packets: list[bytes] = []
        self._next = 0
        self._gap_s = GAP_S
        self._sent = 0
        self._octets = 0
        self._cut_frame()

    @property
    def due_s(self) -> float:
        """When the next packet leaves (monotonic)."""
        of_frame = self._begins_s + (self._frame - self._first_frame) / FPS
        return of_frame + (0.0 if self.whole_frames else self._next * self._gap_s)

    def step(self) -> None:
        """Send what is due."""
        first, count = self._next, len(self._packets)
        if self.whole_frames:
            data, self._next = b"".join(self._packets[first:]), count
        else:
            data, self._next = self._packets[first], first + 1
        begins_frame, ends_frame = first == 0, self._next == count
        begins_key = begins_frame and self._picture.key
        if ends_frame:
            self._table.note(self._index, self._frame, time.monotonic(), key=self._picture.key)
        for session in self.sessions:
            if session.plays:
                session.take(data, begins_key=begins_key, begins_frame=begins_frame)
        if ends_frame:
            self._frame += 1
            if self._table.take_wish(self._index):
                self._shift -= (self._frame + self._shift) % self._gop_frames
            self._cut_frame()

    def first_packet(self) -> tuple[int, int]:
        """See :class:`tests.bench.camera_session.Channel`."""
        if self._next == 0:
            return (self._sequence - len(self._picture.payloads) - 1) & 0xFFFF, self._timestamp(self._frame)
        return self._sequence & 0xFFFF, self._timestamp(self._frame + 1)

    @property
    def _picture(self) -> Picture:
        return self._pictures[(self._frame + self._shift) % len(self._pictures)]

    def _timestamp(self, frame: int) -> int:
        return (BASE_TIMESTAMP + frame * VIDEO_TICKS) & 0xFFFFFFFF

    def _cut_frame(self) -> None:
        """Give the present frame's packets their headers: once, for all sessions."""
        picture, timestamp = self._picture, self._timestamp(self._frame)
        payloads = list(picture.payloads)
        payloads.insert(picture.counter_at, (counter_nal(self._frame), False))
        self._packets, self._next = [], 0
        if self._frame % REPORT_EVERY_FRAMES == 0:
            self._packets.append(self._report(timestamp))
        for payload, marker in payloads:
            kind = VIDEO_PAYLOAD_TYPE | (0x80 if marker else 0)
            header = _HEADER.pack(
                0x24, 0, 12 + len(payload), 0x80, kind, self._sequence & 0xFFFF, timestamp, SSRC + self._index
            )
            self._packets.append(header + payload)
            self._sequence += 1
            self._octets += len(payload)
        self._sent += len(payloads)
        self._gap_s = min(GAP_S, FRAME_SHARE / FPS / len(self._packets))

    def _report(self, timestamp: int) -> bytes:
        report = SenderReport(
            SSRC + self._index, ntp_timestamp(time.time_ns()), timestamp, self._sent, self._octets & 0xFFFFFFFF
        )
        return interleaved(1, sender_report(report, "bench"))


class CameraHouse:
    """All cameras, their listeners and their clock."""

    def __init__(self, settings: dict[str, Any]) -> None:
        count, identity = settings["cameras"], bench_identity(0)
        clip = bench_clip(bench_spec(settings["mbps"], settings["gop_s"]))
        table = FrameTable(Path(settings["table"]), count)
        gate = DigestGate(identity, Behaviour(), clock=SystemClock(), random_bytes=secrets.token_bytes)
        begins_s = time.monotonic() + 0.1
        self._cameras = [
            BenchCamera(index, clip, gate, table, begins_s + index / count / FPS) for index in range(count)
        ]
        self._manner = "nodelay"
        self._late_s = 0.0
        self._said = b""
        self._ended = False
        self._poll = select.epoll()
        self._listeners: dict[int, tuple[socket.socket, BenchCamera]] = {}
        self._sessions: dict[int, tuple[CameraSession, BenchCamera]] = {}
        for camera in self._cameras:
            listener = socket.create_server(("127.0.0.1", 0), backlog=64)
            listener.setblocking(False)
            self._listeners[listener.fileno()] = (listener, camera)
            self._poll.register(listener, select.EPOLLIN)
        self._poll.register(_STDIN, select.EPOLLIN)

    @property
    def ports(self) -> list[int]:
        """Where each camera listens."""
        return [listener.getsockname()[1] for listener, _ in self._listeners.values()]

    def run(self) -> None:
        """Pace packets and answer requests until standard input ends."""
        due = [(camera.due_s, number) for number, camera in enumerate(self._cameras)]
        heapq.heapify(due)
        polled_s = 0.0
        while not self._ended:
            due_s, number = due[0]
            now = time.monotonic()
            if due_s - now > POLL_S or now - polled_s > POLL_S:
                self._serve(max(0.0, due_s - now - POLL_S / 2))
                polled_s = now = time.monotonic()
            if due_s > now:
                time.sleep(due_s - now)
            else:
                self._late_s = max(self._late_s, now - due_s)
            self._cameras[number].step()
            heapq.heapreplace(due, (self._cameras[number].due_s, number))

    def _serve(self, wait_s: float) -> None:
        for descriptor, events in self._poll.poll(wait_s if wait_s >= POLL_S / 2 else 0):
            if descriptor == _STDIN:
                self._take_commands()
            elif descriptor in self._listeners:
                self._accept(*self._listeners[descriptor])
            else:
                self._attend(descriptor, events)

    def _accept(self, listener: socket.socket, camera: BenchCamera) -> None:
        sock, _ = listener.accept()
        sock.setblocking(False)
        session = CameraSession(sock, camera, self._await_writable)
        session.set_nodelay(nodelay=self._manner != "nagle")
        camera.sessions.append(session)
        self._sessions[sock.fileno()] = (session, camera)
        self._poll.register(sock, select.EPOLLIN)

    def _attend(self, descriptor: int, events: int) -> None:
        session, camera = self._sessions[descriptor]
        if events & select.EPOLLOUT:
            session.flush()
            if not session.waiting:
                self._poll.modify(descriptor, select.EPOLLIN)
        if events & ~select.EPOLLOUT:
            session.receive()
        if session.ended:
            self._poll.unregister(descriptor)
            del self._sessions[descriptor]
            camera.sessions.remove(session)
            session.sock.close()

    def _await_writable(self, session: CameraSession) -> None:
        self._poll.modify(session.sock, select.EPOLLIN | select.EPOLLOUT)

    def _take_commands(self) -> None:
        said = os.read(_STDIN, 65536)
        self._ended = not said
        *lines, self._said = (self._said + said).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, command: dict[str, str]) -> None:
        self._manner = command.get("manner", self._manner)
        for camera in self._cameras:
            camera.whole_frames = self._manner == "frame"
        for session, _ in self._sessions.values():
            session.set_nodelay(nodelay=self._manner != "nagle")
        playing = sum(session.plays for session, _ in self._sessions.values())
        print(json.dumps({"sessions": playing, "late_ms": round(self._late_s * 1000, 3)}), flush=True)
        self._late_s = 0.0


def main() -> None:
    """Read the settings, say the ports, play."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(_STDIN, 1)
    house = CameraHouse(json.loads(line))
    print(json.dumps({"ports": house.ports}), flush=True)
    house.run()


if __name__ == "__main__":
    main()
