"""The simulated recorder: twelve days of the cameras' footage, over ONVIF Profile G and over makers' URLs."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import Final

from camera_registry.clock import Clock
from halfgateway.simulator.clips import Codec
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.film_coder import Coder, film_coder
from halfgateway.simulator.identity import DeviceIdentity
from halfgateway.simulator.media_session import MediaCounters
from halfgateway.simulator.recorder_behaviour import RecorderBehaviour
from halfgateway.simulator.recorder_device import RecorderDevice
from halfgateway.simulator.recordings import Recording
from halfgateway.simulator.replay_dialogue import ReplayDesk
from halfgateway.simulator.replay_resource import ONVIF_FOLDER
from halfgateway.simulator.rtsp_dialogue import RtspCounters
from halfgateway.simulator.rtsp_server import RtspServer

USERNAME: Final = "relecture"


class SimulatedRecorder:
    """A recorder with two ports; ``behaviour`` may be changed while it runs."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        behaviour: RecorderBehaviour | None = None,
        *,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        coder_of: Callable[[Codec], Coder] = film_coder,
    ) -> None:
        """``coder_of`` gives the coder of a codec, in a thread: what it shows."""
        self.recordings: Final = tuple(recordings)
        self.behaviour: Final = behaviour or RecorderBehaviour()
        self.identity: Final = _identity(random_bytes)
        self._clock = clock
        self._random_bytes = random_bytes
        self._coder_of = coder_of
        self._host = ""
        self._rtsp: RtspServer | None = None
        self._onvif: RecorderDevice | None = None

    async def start(self, host: str, *, rtsp_port: int = 0, onvif_port: int = 0) -> None:
        """Listen on both ports; 0 takes any free one. Raises OSError, ClipError."""
        self._host = host
        codecs = dict.fromkeys(codec for recording in self.recordings for codec in recording.codecs)
        coders = {codec: await asyncio.to_thread(self._coder_of, codec) for codec in codecs}
        gate = DigestGate(self.identity, self.behaviour, clock=self._clock, random_bytes=self._random_bytes)
        self._desk = ReplayDesk(
            identity=self.identity,
            recordings=self.recordings,
            coders=coders,
            behaviour=self.behaviour,
            gate=gate,
            clock=self._clock,
            random_bytes=self._random_bytes,
        )
        self._rtsp = rtsp = RtspServer(self._desk)
        self._onvif = RecorderDevice(
            identity=self.identity,
            recordings=self.recordings,
            behaviour=self.behaviour,
            gate=gate,
            clock=self._clock,
            rtsp_port=lambda: rtsp.port,
            random_bytes=self._random_bytes,
        )
        await self._rtsp.start(host, rtsp_port)
        try:
            await self._onvif.start(host, onvif_port)
        except OSError:
            await self._rtsp.stop()
            raise

    async def stop(self) -> None:
        """Abort every connection and listen no more."""
        if self._rtsp is not None:
            await self._rtsp.stop()
        if self._onvif is not None:
            await self._onvif.stop()

    def recording_of(self, camera: str) -> Recording:
        """The recording of a camera. Raises KeyError."""
        return {recording.camera: recording for recording in self.recordings}[camera]

    @property
    def onvif_url(self) -> str:
        """Its device service."""
        return "" if self._onvif is None else f"http://{self._authority}:{self._onvif.port}{self._onvif.path}"

    @property
    def rtsp_authority(self) -> str:
        """Host and port of its RTSP side, as URLs have them."""
        return "" if self._rtsp is None else f"{self._authority}:{self._rtsp.port}"

    @property
    def url_template(self) -> str:
        """A maker's URL, as ``[[recorders]]`` of kind ``url`` takes it: UTC, in the default format."""
        return f"rtsp://{self.rtsp_authority}/Streaming/tracks/{{channel}}01?starttime={{start}}&endtime={{end}}"

    def replay_path(self, recording: Recording) -> str:
        """The path that GetReplayUri gives for a recording."""
        return f"{ONVIF_FOLDER}{recording.token}"

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
        return 0 if self._rtsp is None else self._rtsp.connection_count

    def drop_connections(self) -> None:
        """Abort every RTSP connection now, as a recorder that restarts does."""
        if self._rtsp is not None:
            self._rtsp.drop_connections()

    @property
    def _authority(self) -> str:
        return f"[{self._host}]" if ":" in self._host else self._host


def _identity(random_bytes: Callable[[int], bytes]) -> DeviceIdentity:
    return DeviceIdentity(
        id="enregistreur-01",
        name="Enregistreur",
        manufacturer="Grenier",
        model="E12",
        serial="E12-00001",
        internal_address="10.78.0.10",
        username=USERNAME,
        # Characters that must be percent-encoded in a URL, as passwords of real sites hold.
        password="r@ec:w0rd/" + base64.urlsafe_b64encode(random_bytes(9)).decode(),
    )
