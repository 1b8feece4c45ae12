"""One simulated camera: its RTSP and ONVIF sides, and the knobs that tests turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from camera_registry.clock import Clock
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.identity import CameraIdentity
from halfgateway.simulator.media_session import MediaCounters
from halfgateway.simulator.onvif_device import OnvifDevice
from halfgateway.simulator.packets import Clip
from halfgateway.simulator.rtsp_dialogue import RtspCounters
from halfgateway.simulator.rtsp_server import RtspServer
from halfgateway.simulator.rtsp_session import RtspDesk

_RUBBISH: Final = b"\x00\x01\xfe\xffrubbish that no camera should send, and some do\r\n" * 4


class SimulatedCamera:
    """A camera with two ports; ``behaviour`` may be changed while it runs.

    ``sub_clip`` is what its smaller profile plays, where its identity has a path for one.
    """

    def __init__(
        self,
        identity: CameraIdentity,
        clip: Clip,
        behaviour: Behaviour,
        *,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        sub_clip: Clip | None = None,
    ) -> None:
        self.identity = identity
        self.behaviour = behaviour
        self._host = ""
        gate = DigestGate(identity, behaviour, clock=clock, random_bytes=random_bytes)
        clips = {identity.stream_path: clip}
        if sub_clip is not None and identity.sub_stream_path is not None:
            clips[identity.sub_stream_path] = sub_clip
        self._desk = RtspDesk(
            identity=identity, clips=clips, behaviour=behaviour, gate=gate, clock=clock, random_bytes=random_bytes
        )
        self._dropping: asyncio.TimerHandle | None = None
        self._rtsp = RtspServer(self._desk)
        self._onvif = OnvifDevice(
            identity=identity,
            specs={path: each.spec for path, each in clips.items()},
            behaviour=behaviour,
            gate=gate,
            clock=clock,
            rtsp_port=lambda: self._rtsp.port,
            make_key_frame=lambda path: self._desk.streams[path].player.make_key_frame(),
        )

    async def start(self, host: str, *, rtsp_port: int = 0, onvif_port: int = 0) -> None:
        """Listen on both ports; 0 takes any free one. Raises OSError."""
        self._host = host
        await self._rtsp.start(host, rtsp_port)
        try:
            await self._onvif.start(host, onvif_port)
        except OSError:
            await self._rtsp.stop()
            raise
        self._drop_now_and_then()

    async def stop(self) -> None:
        """Abort every connection and listen no more."""
        if self._dropping is not None:
            self._dropping.cancel()
        await self._rtsp.stop()
        await self._onvif.stop()

    @property
    def rtsp_url(self) -> str:
        """Where it is played from, without credentials."""
        return f"rtsp://{self._authority}:{self._rtsp.port}{self.identity.stream_path}"

    @property
    def onvif_url(self) -> str:
        """Its device service."""
        return f"http://{self._authority}:{self._onvif.port}{self._onvif.path}"

    @property
    def rtsp_counters(self) -> RtspCounters:
        """What it was asked over RTSP so far."""
        return self._desk.counters

    @property
    def media_counters(self) -> MediaCounters:
        """What it has sent so far."""
        return self._desk.media_counters

    @property
    def session_count(self) -> int:
        """How many RTSP sessions are set up now."""
        return len(self._desk.sessions)

    @property
    def connection_count(self) -> int:
        """How many RTSP connections are open now."""
        return self._rtsp.connection_count

    def drop_connections(self) -> None:
        """Abort every RTSP connection now, as a camera that restarts does."""
        self._rtsp.drop_connections()

    def _drop_now_and_then(self) -> None:
        after_s = self.behaviour.drop_every_s
        if after_s is None:
            return
        if self._dropping is not None:
            self.drop_connections()
        self._dropping = asyncio.get_running_loop().call_later(after_s, self._drop_now_and_then)

    def write_rubbish(self) -> None:
        """Write bytes that are neither RTSP nor a frame to every RTSP connection, between two frames."""
        self._rtsp.write_to_all(_RUBBISH)

    @property
    def _authority(self) -> str:
        return f"[{self._host}]" if ":" in self._host else self._host
