"""Pulls cameras into the hub: connect, play, keep alive, and begin again with back-off when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from halfgateway.errors import RemoteProtocolError
from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES, InterleavedBatch, frame
from halfgateway.protocol.rtcp import ReceiverReport, SenderReport, parse_compound, receiver_report, sender_report
from halfgateway.relay.chunk import RTCP_CHANNEL, RTP_CHANNEL, Chunk
from halfgateway.relay.source import Source, SourceKey
from halfgateway.upstream.backoff import Backoff, CameraFailure
from halfgateway.upstream.client import USER_AGENT, CameraClient, Target
from halfgateway.upstream.keep_alive import KeepAlive
from halfgateway.upstream.presentation import Presentation, describe, probe
from halfgateway.upstream.setup import DEFAULT_SESSION_TIMEOUT_S, Granted, set_up

log = logging.getLogger(__name__)

GOODBYE_TIMEOUT_S = 1.0
"""How long a camera may take to answer TEARDOWN."""

SILENCE_LIMIT_S = 10.0
"""A camera that is connected and sends no picture for so long is gone (docs/quirks.md, no-more-pictures)."""


class Puller:
    """Starts pulls for the hub. Remembers how each camera failed, also between two pulls of it."""

    def __init__(
        self,
        find_target: Callable[[SourceKey], Target | None],
        *,
        chance: Callable[[], float],
        now: Callable[[], float],
        on_described: Callable[[SourceKey, Presentation], None],
        coalescing: Coalescing,
        silence_limit_s: float = SILENCE_LIMIT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._find_target = find_target
        self._chance = chance
        self._now = now
        self._silence_limit_s = silence_limit_s
        self._on_described = on_described
        self._coalescing = coalescing
        self._sleep = sleep
        self._backoffs: dict[SourceKey, Backoff] = {}
        self._troubles: dict[SourceKey, _Trouble] = {}
        self._keep_alives: dict[SourceKey, KeepAlive] = {}
        self._resting: dict[SourceKey, asyncio.Future[None]] = {}

    async def pull(self, source: Source) -> None:
        """Pull one camera into ``source`` until cancelled."""
        while True:
            trouble = self._trouble(source.key)
            if trouble is not None:
                source.interrupt(trouble.failure)
                await self._rest(source.key, trouble.until_s - self._now())
            try:
                await self._play_once(source)
            except CameraFailure as failure:
                self._note(source.key, failure)

    def reconsider(self, camera: str) -> None:
        """The way to this camera is another now: a pull that leaves it alone dials again at once."""
        for key, resting in self._resting.items():
            if key.camera == camera:
                resting.cancel()

    async def describe(self, key: SourceKey) -> Presentation:
        """What a camera says of itself; one that failed a moment ago is not dialled again. Raises CameraFailure."""
        trouble = self._trouble(key)
        if trouble is not None:
            raise trouble.failure.with_traceback(None)  # or it would grow with each refusal
        try:
            return await probe(self._target(key))
        except CameraFailure as failure:
            self._note(key, failure)
            raise

    async def _rest(self, key: SourceKey, rest_s: float) -> None:
        resting = self._resting[key] = asyncio.ensure_future(self._sleep(rest_s))
        try:
            await asyncio.wait({resting})
        finally:
            resting.cancel()
            del self._resting[key]

    def _trouble(self, key: SourceKey) -> _Trouble | None:
        """Why this camera is not to be dialled now, if so. One whose address or password has changed is."""
        trouble = self._troubles.get(key)
        if trouble is None or trouble.until_s <= self._now() or trouble.target != self._find_target(key):
            return None
        return trouble

    def _note(self, key: SourceKey, failure: CameraFailure) -> None:
        """Remember a failure, and how long to leave the camera alone."""
        delay_s = self._backoffs.setdefault(key, Backoff(self._chance)).failed(failure)
        self._troubles[key] = _Trouble(failure, self._now() + delay_s, self._find_target(key))
        log.warning("pull.failed camera=%s status=%s retry_in_s=%.1f", key.camera, failure.status, delay_s)

    def _target(self, key: SourceKey) -> Target:
        target = self._find_target(key)
        if target is None:
            raise CameraFailure("La caméra n'a pas d'adresse connue.")
        return target

    async def _play_once(self, source: Source) -> None:
        key, live_since_s = source.key, math.inf

        def on_live(presentation: Presentation) -> None:
            nonlocal live_since_s
            live_since_s = self._now()
            self._on_described(key, presentation)
            log.info("pull.live camera=%s codec=%s", key.camera, presentation.video.codec)

        habit = self._keep_alives.setdefault(key, KeepAlive())
        try:
            pull = _Pull(source, self._target(key), habit, self._silence_limit_s, self._now, on_live)
            await pull.run(self._coalescing)
        finally:
            if key in self._backoffs:
                self._backoffs[key].played(self._now() - live_since_s)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A camera failed so, and is left alone until then (monotonic seconds), unless its target changes."""

    failure: CameraFailure
    until_s: float
    target: Target | None


class _Pull:
    """One connection to one camera, from SETUP to its end."""

    def __init__(
        self,
        source: Source,
        target: Target,
        habit: KeepAlive,
        silence_limit_s: float,
        now: Callable[[], float],
        on_live: Callable[[Presentation], None],
    ) -> None:
        self._source = source
        self._target = target
        self._silence_limit_s = silence_limit_s
        self._now = now
        self._on_live = on_live
        self._channels = {RTP_CHANNEL: RTP_CHANNEL, RTCP_CHANNEL: RTCP_CHANNEL}
        self._presentation: Presentation | None = None
        self._granted: Granted | None = None
        self._is_live = False
        self._last_video_s = now()
        self._session = ""
        self._habit = habit
        self._keep_alive_s = DEFAULT_SESSION_TIMEOUT_S / 2
        self._aggregate_url = target.url

    async def run(self, coalescing: Coalescing) -> None:
        """Play until the camera is lost, then raise CameraFailure; a cancelled run says goodbye."""
        client = await CameraClient.connect(self._target, self._take_interleaved, coalescing=coalescing)
        try:
            self._presentation = await self._set_up(client)
            self._source.prepare(self._presentation.video)
            await client.request("PLAY", self._aggregate_url, {"Session": self._session, "Range": "npt=0.000-"})
            self._last_video_s = self._now()
            keeping_alive = asyncio.create_task(self._keep_alive(client))
            try:
                await self._watch(client)
            finally:
                keeping_alive.cancel()
        finally:
            self._stop_listening()
            await self._say_goodbye(client)

    async def _set_up(self, client: CameraClient) -> Presentation:
        options = await client.request("OPTIONS", self._target.url)
        self._habit.announced(options.headers.get("Public"))
        presentation = await describe(client, self._target)
        self._aggregate_url = presentation.aggregate_url
        self._granted = granted = await set_up(client, presentation, self._take, now=self._now)
        self._session = granted.session.id
        self._keep_alive_s = granted.keep_alive_s
        self._channels = dict(zip(granted.channels, (RTP_CHANNEL, RTCP_CHANNEL), strict=True))
        return presentation

    async def _watch(self, client: CameraClient) -> None:
        """Return never; raise CameraFailure once the connection has ended or no picture has come for the limit."""
        while True:
            await asyncio.wait({client.closed}, timeout=self._silence_limit_s / 4)
            if client.closed.done():
                raise CameraFailure("La caméra a fermé la connexion.")
            if self._now() - self._last_video_s >= self._silence_limit_s:
                raise CameraFailure("La caméra n'envoie plus d'images.")

    async def _keep_alive(self, client: CameraClient) -> None:
        """Give signs of life of both kinds, for some cameras heed only one."""
        report = frame(
            self._own_channel(RTCP_CHANNEL), receiver_report(ReceiverReport(secrets.randbits(32)), USER_AGENT)
        )
        await asyncio.sleep(self._keep_alive_s)
        while True:
            asked_s = self._now()
            if not self._by_udp:  # there, reports go their own way
                client.send_media(report)
            await self._habit.ask(client, self._aggregate_url, self._session, patience_s=self._keep_alive_s / 2)
            await asyncio.sleep(asked_s + self._keep_alive_s - self._now())

    async def _say_goodbye(self, client: CameraClient) -> None:
        """TEARDOWN, and a moment for its answer: a camera has few sessions to give, and ours should be free again."""
        try:
            if self._session and not client.closed.done():
                goodbye = client.request(
                    "TEARDOWN", self._aggregate_url, {"Session": self._session}, timeout_s=GOODBYE_TIMEOUT_S
                )
                with contextlib.suppress(CameraFailure):
                    await goodbye
        finally:
            client.close()

    def _stop_listening(self) -> None:
        """Give back the ports that the session took, if it did, and tell how its datagrams fared."""
        if self._granted is None or (datagrams := self._granted.datagrams) is None:
            return
        datagrams.close()
        camera, lost, discarded = self._source.key.camera, datagrams.lost, datagrams.discarded
        log.info("pull.datagrams camera=%s lost=%d discarded=%d", camera, lost, discarded)

    def _own_channel(self, ours: int) -> int:
        """The channel number that the camera gave to one of ours."""
        return next(channel for channel, known in self._channels.items() if known == ours)

    @property
    def _by_udp(self) -> bool:
        return self._granted is not None and self._granted.datagrams is not None

    def _take_interleaved(self, batch: InterleavedBatch) -> bool:
        """Take what was read; answers whether more of the same picture is to come at once."""
        return not self._by_udp and self._take(batch)

    def _take(self, batch: InterleavedBatch) -> bool:
        chunk = Chunk(batch)
        if chunk.others or self._channels.get(RTP_CHANNEL) != RTP_CHANNEL:
            chunk = self._only_ours(batch)
        if not chunk.data:
            return False
        if chunk.packets:
            self._last_video_s = self._now()
            if not self._is_live and self._presentation is not None:
                self._is_live = True
                self._source.begin()
                self._on_live(self._presentation)
        self._source.feed(chunk)
        return chunk.is_within_picture

    def _only_ours(self, batch: InterleavedBatch) -> Chunk:
        """The batch without what was not asked for, on the channels that the hub knows; reports written anew."""
        kept = bytearray()
        for channel, start, end in batch.frames:
            ours = self._channels.get(channel)
            payload = batch.data[start + FRAME_HEADER_BYTES : end]
            if ours == RTCP_CHANNEL:
                payload = _sender_report(payload, self._source.key.camera)
            if ours is not None and payload:
                kept += frame(ours, payload)
        return Chunk(InterleavedBatch(kept))


def _sender_report(compound: bytes, cname: str) -> bytes:
    """The sender report in a camera's RTCP packet, in a packet of ours; empty where there is none, or none with a time.

    Nothing else passes. A camera's SDES names it by its address (RFC 3550 section 6.5.1; C16), and its BYE would end
    the readers' players, who are held while it comes back.
    """
    try:
        found = next((packet for packet in parse_compound(compound) if isinstance(packet, SenderReport)), None)
    except RemoteProtocolError:
        found = None
    return sender_report(replace(found, reports=()), cname) if found is not None and found.ntp_timestamp else b""
