"""The ONVIF services of the simulated recorder: Profile G's Search and Replay, and what leads to them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web

from camera_registry import soap
from camera_registry.clock import Clock
from halfgateway.simulator import onvif_messages, recorder_messages
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.identity import DeviceIdentity
from halfgateway.simulator.onvif_messages import DEVICE
from halfgateway.simulator.onvif_server import DEVICE_PATH, Call, OnvifServer, Refused
from halfgateway.simulator.recorder_behaviour import RecorderBehaviour
from halfgateway.simulator.recorder_events import Change, Track, history, tracks_of
from halfgateway.simulator.recorder_messages import RECORDING, REPLAY, SEARCH, ReplayCapabilities
from halfgateway.simulator.recordings import Recording
from halfgateway.simulator.replay_resource import ONVIF_FOLDER

SILENCE_S: Final = 3600.0
"""How long a recorder that is silent keeps who asks waiting, in seconds: longer than anybody waits."""

MAX_SEARCHES: Final = 16
"""Searches whose results are kept; the oldest is forgotten for one more."""

_PATHS: Final[Mapping[str, str]] = {
    DEVICE: DEVICE_PATH,
    RECORDING: "/onvif/recording_service",
    SEARCH: "/onvif/search_service",
    REPLAY: "/onvif/replay_service",
}

KEEP_ALIVE: Final = timedelta(seconds=60)
"""How long results are kept for who does not say how long, since they were last asked for."""

_SECONDS = re.compile(r"PT(?P<seconds>[0-9]{1,6}(?:\.[0-9]{1,6})?)S")


@dataclass(slots=True)
class _Search:
    """What was found and not yet given, and until when it is kept."""

    left: list[str]
    keep_alive: timedelta
    kept_until: datetime


Answers = Mapping[tuple[str, str], Callable[[], str]]


class RecorderDevice(OnvifServer):
    """Answers for one recorder, at the address that the client used."""

    def __init__(
        self,
        *,
        identity: DeviceIdentity,
        recordings: Sequence[Recording],
        behaviour: RecorderBehaviour,
        gate: DigestGate,
        clock: Clock,
        rtsp_port: Callable[[], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        super().__init__(identity=identity, behaviour=behaviour, gate=gate, clock=clock, paths=_PATHS.values())
        self._identity = identity
        self._recordings = {recording.token: recording for recording in recordings}
        self._behaviour = behaviour
        self._rtsp_port = rtsp_port
        self._random_bytes = random_bytes
        self._searches: dict[str, _Search] = {}

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self._behaviour.silent:
            await asyncio.sleep(SILENCE_S)
        return await super()._serve(request)

    def _answer(self, call: Call, host: str) -> str | None:
        addresses = {namespace: f"http://{host}:{self.port}{path}" for namespace, path in _PATHS.items()}
        answers: Answers = {
            (DEVICE, "GetSystemDateAndTime"): lambda: onvif_messages.system_date_and_time(
                self._now(), tells_utc=not self._behaviour.odd_soap
            ),
            (DEVICE, "GetServices"): lambda: recorder_messages.services(addresses),
            (DEVICE, "GetCapabilities"): lambda: recorder_messages.capabilities(addresses),
            (DEVICE, "GetDeviceInformation"): lambda: onvif_messages.device_information(self._identity),
            (RECORDING, "GetServiceCapabilities"): recorder_messages.recording_capabilities,
            (RECORDING, "GetRecordings"): lambda: recorder_messages.recordings(
                self._recordings.values(), self._identity.internal_address
            ),
            (REPLAY, "GetServiceCapabilities"): lambda: recorder_messages.replay_capabilities(
                ReplayCapabilities(self._behaviour.reverses, self._behaviour.session_timeout_s)
            ),
            (REPLAY, "GetReplayUri"): lambda: self._replay_uri(call, host),
            (REPLAY, "GetReplayConfiguration"): lambda: recorder_messages.replay_configuration(
                self._behaviour.session_timeout_s
            ),
            (REPLAY, "SetReplayConfiguration"): lambda: recorder_messages.answer(REPLAY, call.name),
            **self._search_answers(call),
        }
        answer = answers.get((call.namespace, call.name))
        return answer() if answer else None

    def _search_answers(self, call: Call) -> Answers:
        answers: dict[tuple[str, str], Callable[[], str]] = {
            (SEARCH, "GetServiceCapabilities"): recorder_messages.search_capabilities,
            (SEARCH, "GetRecordingSummary"): self._summary,
            (SEARCH, "GetRecordingInformation"): lambda: recorder_messages.recording_information(
                self._information(self._recording(call.text("RecordingToken")))
            ),
            (SEARCH, "GetMediaAttributes"): lambda: self._media_attributes(call),
            (SEARCH, "FindRecordings"): lambda: self._find(call, self._found_recordings(call)),
            (SEARCH, "GetRecordingSearchResults"): lambda: self._results(call),
            (SEARCH, "GetEventSearchResults"): lambda: self._results(call),
            (SEARCH, "EndSearch"): lambda: self._end_search(call),
        }
        if self._behaviour.finds_events:
            answers[(SEARCH, "FindEvents")] = lambda: self._find(call, self._found_events(call))
        return answers

    def _replay_uri(self, call: Call, host: str) -> str:
        recording = self._recording(call.text("RecordingToken"))
        return recorder_messages.replay_uri(f"rtsp://{host}:{self._rtsp_port()}{ONVIF_FOLDER}{recording.token}")

    def _recording(self, token: str) -> Recording:
        recording = self._recordings.get(token)
        if recording is None:
            raise Refused("InvalidToken", "The RecordingToken does not exist")
        return recording

    def _told_tracks(self, recording: Recording) -> list[tuple[Track, datetime, datetime]]:
        """The tracks of a recording with their first and last instants, by the recorder's clock."""
        told = []
        for track in tracks_of(recording):
            stretches = recording.of([track.codec])
            end = stretches[-1].end
            told.append((track, self._told(stretches[0].start), self._now() if end is None else self._told(end)))
        return told

    def _information(self, recording: Recording) -> str:
        return recorder_messages.information(recording, self._identity.internal_address, self._told_tracks(recording))

    def _summary(self) -> str:
        spans = [track for recording in self._recordings.values() for track in self._told_tracks(recording)]
        earliest = min((start for _, start, _ in spans), default=self._now())
        latest = max((end for _, _, end in spans), default=self._now())
        return recorder_messages.summary(earliest, latest, len(self._recordings))

    def _media_attributes(self, call: Call) -> str:
        at = _instant(call.text("Time"))
        told = [
            (each.token, at, [track for track in self._told_tracks(each) if track[1] <= at <= track[2]])
            for each in self._scope(call, "RecordingTokens")
        ]
        return recorder_messages.media_attributes(told)

    def _scope(self, call: Call, *path: str) -> list[Recording]:
        """The recordings that are asked for, all where none is named."""
        within = soap.first(call.element, *path[:-1]) if len(path) > 1 else call.element
        named = [] if within is None else [(each.text or "").strip() for each in soap.children(within, path[-1])]
        return [self._recording(token) for token in named] or list(self._recordings.values())

    def _found_recordings(self, call: Call) -> list[str]:
        scope = self._scope(call, "Scope", "IncludedRecordings")
        return [recorder_messages.found_recording(self._information(recording)) for recording in scope]

    def _found_events(self, call: Call) -> list[str]:
        """The changes between two instants, backwards where the second comes first, after the state at the first."""
        start, last = _instant(call.text("StartPoint")), call.text("EndPoint")
        end = _instant(last) if last else datetime.max.replace(tzinfo=UTC)
        since, until = min(start, end), max(start, end)
        topics = call.text("SearchFilter", "TopicExpression")
        found: list[tuple[datetime, str]] = []
        for recording in self._scope(call, "Scope", "IncludedRecordings"):
            changes = [each for each in history(recording) if not topics or each.topic in topics]
            within = [each for each in changes if since <= self._told(each.at) <= until]
            if self._behaviour.ignores_times:
                within = changes
            if call.text("IncludeStartState") in {"true", "1"}:
                found += [(start, self._event(each, start)) for each in self._states(changes, start)]
            found += [(self._told(each.at), self._event(each)) for each in within]
        found.sort(key=lambda event: event[0], reverse=end < start)
        return [event for _, event in found]

    def _states(self, changes: Iterable[Change], at: datetime) -> Iterable[Change]:
        """The last change of each kind before an instant; what has not begun yet has ended."""
        states: dict[tuple[str, str], Change] = {}
        for each in changes:
            key = (each.topic, each.track)
            if self._told(each.at) < at:
                states[key] = each
            else:
                states.setdefault(key, Change(each.at, each.topic, each.recording, each.track, begins=False))
        return states.values()

    def _event(self, change: Change, start: datetime | None = None) -> str:
        at = self._told(change.at) if start is None else start
        return recorder_messages.found_event(change, at=at, is_start_state=start is not None)

    def _find(self, call: Call, found: list[str]) -> str:
        most = call.text("MaxMatches")
        if most.isdigit() and int(most):
            found = found[: int(most)]
        token = f"Search{self._random_bytes(4).hex()}"
        if len(self._searches) >= MAX_SEARCHES:
            self._searches.pop(next(iter(self._searches)))
        said = _SECONDS.fullmatch(call.text("KeepAliveTime"))
        keep_alive = KEEP_ALIVE if said is None else timedelta(seconds=float(said["seconds"]))
        left = found[::-1] if self._behaviour.out_of_order else found
        self._searches[token] = _Search(left, keep_alive, self._clock.now() + keep_alive)
        return recorder_messages.search_begun(call.name, token)

    def _results(self, call: Call) -> str:
        left = self._search(call).left
        most = call.text("MaxResults")
        wanted = int(most) if most.isdigit() and int(most) else len(left)
        count = min(wanted, self._behaviour.results_at_once)
        found, left[:] = left[:count], left[count:]
        state = "Searching" if left else "Completed"
        return recorder_messages.results(call.name, found, state=state if self._behaviour.tells_search_state else None)

    def _end_search(self, call: Call) -> str:
        self._search(call)
        del self._searches[call.text("SearchToken")]
        return recorder_messages.search_ended(self._now())

    def _search(self, call: Call) -> _Search:
        """The search that is asked about, which is kept for longer by that."""
        search, now = self._searches.get(call.text("SearchToken")), self._clock.now()
        if search is None or search.kept_until < now:
            raise Refused("InvalidToken", "The search token is invalid")
        search.kept_until = now + search.keep_alive
        return search

    def _told(self, instant: datetime) -> datetime:
        return instant + timedelta(seconds=self._behaviour.clock_offset_s)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused("InvalidArgVal", "not an xs:dateTime") from error
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
