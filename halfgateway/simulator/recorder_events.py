"""The history of recordings as events tell it: when each began and ended (ONVIF Recording Search 5.21)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from halfgateway.simulator.clips import Codec
from halfgateway.simulator.recordings import Recording
from halfgateway.simulator.replay_sdp import video_track

RECORDING_STATE: Final = "tns1:RecordingHistory/Recording/State"
TRACK_STATE: Final = "tns1:RecordingHistory/Track/State"


@dataclass(frozen=True, slots=True)
class Track:
    """A video track: its token in ONVIF and in the SDP, and its codec."""

    token: str
    codec: Codec


@dataclass(frozen=True, slots=True)
class Change:
    """That a recording (or one of its tracks, as ``topic`` says) begins at an instant, or ends there."""

    at: datetime
    topic: str
    recording: str
    track: str
    begins: bool


def tracks_of(recording: Recording) -> tuple[Track, ...]:
    """The tracks of a recording, one a codec."""
    return tuple(Track(video_track(number), codec) for number, codec in enumerate(recording.codecs))


def history(recording: Recording) -> list[Change]:
    """All that has become of a recording, in its order; an end comes before what begins at the same instant."""
    changes = [*_of_tracks(recording), *_of_the_whole(recording)]
    return sorted(changes, key=lambda change: (change.at, change.begins))


def _of_tracks(recording: Recording) -> Iterator[Change]:
    tokens = {track.codec: track.token for track in tracks_of(recording)}
    for stretch in recording.stretches:
        token = tokens[stretch.codec]
        yield Change(stretch.start, TRACK_STATE, recording.token, token, begins=True)
        if stretch.end is not None:
            yield Change(stretch.end, TRACK_STATE, recording.token, token, begins=False)


def _of_the_whole(recording: Recording) -> Iterator[Change]:
    """Where one stretch joins the next the recording goes on, whatever its tracks do."""
    token = video_track(0)
    ends = {stretch.end for stretch in recording.stretches if stretch.end is not None}
    starts = {stretch.start for stretch in recording.stretches}
    for instant in starts - ends:
        yield Change(instant, RECORDING_STATE, recording.token, token, begins=True)
    for instant in ends - starts:
        yield Change(instant, RECORDING_STATE, recording.token, token, begins=False)
