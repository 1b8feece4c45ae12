"""Pulls cameras into the hub: connect, play, keep alive, and begin again with back-off when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.connection import InterleavedBatch
from halfgateway.protocol.session import Session
from halfgateway.protocol.transport import parse_transports
from halfgateway.relay.chunk import RTCP_CHANNEL, RTP_CHANNEL, Frame
from halfgateway.relay.source import Source, SourceKey
from halfgateway.upstream.backoff import Backoff, CameraFailure
from halfgateway.upstream.client import CameraClient, Target
from halfgateway.upstream.presentation import Presentation, describe, probe

log = logging.getLogger(__name__)

DEFAULT_SESSION_TIMEOUT_S = 60
"""What a camera means that names no timeout (RFC 2326 section 12.37)."""

SILENCE_LIMIT_S = 10.0
"""A camera that is connected and sends nothing for so long is gone (onvif.md, quirk 5)."""


class Puller:
    """Starts pulls for the hub. Remembers how each camera failed, also between two pulls of it."""

    def __init__(
        self,
        find_target: Callable[[SourceKey], Target | None],
        *,
        chance: Callable[[], float],
        now: Callable[[], float],
        on_described: Callable[[SourceKey, Presentation], None],
        silence_limit_s: float = SILENCE_LIMIT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._find_target = find_target
        self._chance = chance
        self._now = now
        self._silence_limit_s = silence_limit_s
        self._on_described = on_described
        self._sleep = sleep
        self._backoffs: dict[SourceKey, Backoff] = {}
        self._not_before: dict[SourceKey, tuple[float, CameraFailure]] = {}

    async def pull(self, source: Source) -> None:
        """Pull one camera into ``source`` until cancelled."""
        key = source.key
        due, failure = self._not_before.get(key, (0.0, None))
        if failure is not None and due > self._now():
            source.interrupt(failure)
            await self._sleep(due - self._now())
        while True:
            try:
                await self._play_once(source)
            except CameraFailure as failure:
                source.interrupt(failure)
                await self._sleep(self._note(key, failure))

    async def describe(self, key: SourceKey) -> Presentation:
        """What a camera says of itself; one that failed a moment ago is not dialled again. Raises CameraFailure."""
        due, failure = self._not_before.get(key, (0.0, None))
        if failure is not None and due > self._now():
            raise failure
        target = self._find_target(key)
        if target is None:
            raise CameraFailure("La caméra n'a pas d'adresse connue.")
        try:
            return await probe(target)
        except CameraFailure as failure:
            self._note(key, failure)
            raise

    def _note(self, key: SourceKey, failure: CameraFailure) -> float:
        """Remember a failure; returns the seconds to leave the camera alone."""
        delay_s = self._backoffs.setdefault(key, Backoff(self._chance)).failed(failure)
        self._not_before[key] = (self._now() + delay_s, failure)
        log.warning("pull.failed camera=%s status=%s retry_in_s=%.1f", key.camera, failure.status, delay_s)
        return delay_s

    async def _play_once(self, source: Source) -> None:
        target = self._find_target(source.key)
        if target is None:
            raise CameraFailure("La caméra n'a pas d'adresse connue.")

        def on_live(presentation: Presentation) -> None:
            self._backoffs.pop(source.key, None)
            self._not_before.pop(source.key, None)
            self._on_described(source.key, presentation)
            log.info("pull.live camera=%s codec=%s", source.key.camera, presentation.video.codec)

        await _Pull(source, target, self._silence_limit_s, self._now).run(on_live)


class _Pull:
    """One connection to one camera, from SETUP to its end."""

    def __init__(self, source: Source, target: Target, silence_limit_s: float, now: Callable[[], float]) -> None:
        self._source = source
        self._target = target
        self._silence_limit_s = silence_limit_s
        self._now = now
        self._channels = {RTP_CHANNEL: RTP_CHANNEL, RTCP_CHANNEL: RTCP_CHANNEL}
        self._last_media_s = now()
        self._session = ""
        self._keep_alive_method = "OPTIONS"
        self._keep_alive_s = DEFAULT_SESSION_TIMEOUT_S / 2
        self._aggregate_url = target.url

    async def run(self, on_live: Callable[[Presentation], None]) -> None:
        """Play until the camera is lost, then raise CameraFailure; a cancelled run says goodbye."""
        client = await CameraClient.connect(self._target, self._take)
        try:
            presentation = await self._set_up(client)
            self._source.prepare(presentation.video)
            await client.request("PLAY", self._aggregate_url, {"Session": self._session, "Range": "npt=0.000-"})
            self._last_media_s = self._now()
            self._source.begin()
            on_live(presentation)
            await self._keep_alive(client)
        finally:
            self._say_goodbye(client)

    async def _set_up(self, client: CameraClient) -> Presentation:
        options = await client.request("OPTIONS", self._target.url)
        public = {method.strip().upper() for method in (options.headers.get("Public") or "").split(",")}
        if "GET_PARAMETER" in public:
            self._keep_alive_method = "GET_PARAMETER"
        presentation = await describe(client, self._target)
        self._aggregate_url = presentation.aggregate_url
        transport = f"RTP/AVP/TCP;unicast;interleaved={RTP_CHANNEL}-{RTCP_CHANNEL}"
        answer = await client.request("SETUP", presentation.track_url, {"Transport": transport})
        try:
            session = Session.parse(answer.headers.get("Session") or "")
            chosen = parse_transports(answer.headers.get("Transport") or transport)
        except RemoteProtocolError as error:
            raise CameraFailure("La caméra répond à SETUP de façon illisible.") from error
        self._session = session.id
        self._keep_alive_s = max(1.0, (session.timeout_s or DEFAULT_SESSION_TIMEOUT_S) / 2)
        if chosen and chosen[0].interleaved is not None:
            self._channels = dict(zip(chosen[0].interleaved, (RTP_CHANNEL, RTCP_CHANNEL), strict=True))
        return presentation

    async def _keep_alive(self, client: CameraClient) -> None:
        """Keep the session until the connection ends or falls silent.

        No answer to a keep-alive is not a fault while media flows: some cameras never answer it.
        """
        due_s = self._now() + self._keep_alive_s
        while True:
            await asyncio.wait({client.closed}, timeout=min(self._keep_alive_s, self._silence_limit_s / 2))
            if client.closed.done():
                raise CameraFailure("La caméra a fermé la connexion.")
            now = self._now()
            if now - self._last_media_s >= self._silence_limit_s:
                raise CameraFailure("La caméra n'envoie plus d'images.")
            if now >= due_s:
                due_s = now + self._keep_alive_s
                client.send(self._keep_alive_method, self._aggregate_url, {"Session": self._session})

    def _say_goodbye(self, client: CameraClient) -> None:
        if self._session and not client.closed.done():
            client.send("TEARDOWN", self._aggregate_url, {"Session": self._session})
        client.close()

    def _take(self, batch: InterleavedBatch) -> None:
        self._last_media_s = self._now()
        data, frames = batch.data, batch.frames
        if any(self._channels.get(channel) != channel for channel, _, _ in frames):
            data, frames = self._only_video(batch)
        if frames:
            self._source.feed(data, frames)

    def _only_video(self, batch: InterleavedBatch) -> tuple[bytes, tuple[Frame, ...]]:
        """The batch without what was not asked for, on the channels that the hub knows."""
        kept = bytearray()
        frames: list[Frame] = []
        for channel, start, end in batch.frames:
            ours = self._channels.get(channel)
            if ours is not None:
                frames.append((ours, len(kept), len(kept) + end - start))
                kept += batch.data[start:end]
                kept[frames[-1][1] + 1] = ours
        return bytes(kept), tuple(frames)
