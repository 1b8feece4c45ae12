"""The bodies of a simulated recorder's ONVIF answers (Recording Control, Recording Search, Replay Control)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from halfgateway.simulator.clips import FPS
from halfgateway.simulator.film_coder import SIZES
from halfgateway.simulator.onvif_messages import DEVICE
from halfgateway.simulator.recorder_events import RECORDING_STATE, TRACK_STATE, Change, Track, tracks_of
from halfgateway.simulator.recordings import KEEPS, Recording

RECORDING: Final = "http://www.onvif.org/ver10/recording/wsdl"
SEARCH: Final = "http://www.onvif.org/ver10/search/wsdl"
REPLAY: Final = "http://www.onvif.org/ver10/replay/wsdl"

_DIALECT: Final = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet"
_ITEMS: Final = {TRACK_STATE: "IsDataPresent", RECORDING_STATE: "IsRecording"}


@dataclass(frozen=True, slots=True)
class ReplayCapabilities:
    """What the Replay service tells of itself."""

    reverses: bool
    session_timeout_s: float


def answer(namespace: str, name: str, content: str = "") -> str:
    """Answer an operation; the prefix ``r`` is its service's."""
    return f'<r:{name}Response xmlns:r="{namespace}">{content}</r:{name}Response>'


def services(addresses: Mapping[str, str]) -> str:
    """Answer GetServices with the addresses of services by their namespaces."""
    listed = "".join(
        f"<r:Service><r:Namespace>{namespace}</r:Namespace><r:XAddr>{escape(url)}</r:XAddr>"
        "<r:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></r:Version></r:Service>"
        for namespace, url in addresses.items()
    )
    return answer(DEVICE, "GetServices", listed)


def capabilities(addresses: Mapping[str, str]) -> str:
    """Answer GetCapabilities, where these services stand in the extension."""
    device = f"<tt:Device><tt:XAddr>{escape(addresses[DEVICE])}</tt:XAddr></tt:Device>"
    recording = (
        f"<tt:Recording><tt:XAddr>{escape(addresses[RECORDING])}</tt:XAddr>"
        "<tt:ReceiverSource>false</tt:ReceiverSource><tt:MediaProfileSource>false</tt:MediaProfileSource>"
        "<tt:DynamicRecordings>false</tt:DynamicRecordings><tt:DynamicTracks>false</tt:DynamicTracks>"
        "<tt:MaxStringLength>64</tt:MaxStringLength></tt:Recording>"
    )
    search = (
        f"<tt:Search><tt:XAddr>{escape(addresses[SEARCH])}</tt:XAddr>"
        "<tt:MetadataSearch>false</tt:MetadataSearch></tt:Search>"
    )
    replay = f"<tt:Replay><tt:XAddr>{escape(addresses[REPLAY])}</tt:XAddr></tt:Replay>"
    extension = f"<tt:Extension>{recording}{search}{replay}</tt:Extension>"
    return answer(DEVICE, "GetCapabilities", f"<r:Capabilities>{device}{extension}</r:Capabilities>")


def recording_capabilities() -> str:
    """Answer GetServiceCapabilities of Recording: nothing can be changed over ONVIF."""
    return answer(
        RECORDING,
        "GetServiceCapabilities",
        '<r:Capabilities DynamicRecordings="false" DynamicTracks="false" Encoding="H264 H265"/>',
    )


def search_capabilities() -> str:
    """Answer GetServiceCapabilities of Search."""
    content = '<r:Capabilities MetadataSearch="false" GeneralStartEvents="false"/>'
    return answer(SEARCH, "GetServiceCapabilities", content)


def replay_capabilities(of: ReplayCapabilities) -> str:
    """Answer GetServiceCapabilities of Replay (5.5)."""
    content = (
        f'<r:Capabilities ReversePlayback="{_bool(of.reverses)}"'
        f' SessionTimeoutRange="10 {of.session_timeout_s:g}" RTP_RTSP_TCP="true"/>'
    )
    return answer(REPLAY, "GetServiceCapabilities", content)


def replay_uri(url: str) -> str:
    """Answer GetReplayUri."""
    return answer(REPLAY, "GetReplayUri", f"<r:Uri>{escape(url)}</r:Uri>")


def replay_configuration(session_timeout_s: float) -> str:
    """Answer GetReplayConfiguration: the timeout that is deprecated (5.2)."""
    content = f"<tt:SessionTimeout>PT{session_timeout_s:g}S</tt:SessionTimeout>"
    return answer(REPLAY, "GetReplayConfiguration", f"<r:Configuration>{content}</r:Configuration>")


def recordings(listed: Iterable[Recording], internal_address: str) -> str:
    """Answer GetRecordings."""
    items = "".join(
        f"<r:RecordingItem><tt:RecordingToken>{recording.token}</tt:RecordingToken><tt:Configuration>"
        f"<tt:Source>{_source(recording, internal_address)}</tt:Source>"
        f"<tt:Content>{escape(recording.name)}</tt:Content>"
        f"<tt:MaximumRetentionTime>P{KEEPS.days}D</tt:MaximumRetentionTime></tt:Configuration><tt:Tracks>"
        + "".join(_track_item(track) for track in tracks_of(recording))
        + "</tt:Tracks></r:RecordingItem>"
        for recording in listed
    )
    return answer(RECORDING, "GetRecordings", items)


def summary(earliest: datetime, latest: datetime, count: int) -> str:
    """Answer GetRecordingSummary."""
    content = (
        f"<tt:DataFrom>{_time(earliest)}</tt:DataFrom><tt:DataUntil>{_time(latest)}</tt:DataUntil>"
        f"<tt:NumberRecordings>{count}</tt:NumberRecordings>"
    )
    return answer(SEARCH, "GetRecordingSummary", f"<r:Summary>{content}</r:Summary>")


def recording_information(content: str) -> str:
    """Answer GetRecordingInformation with what :func:`information` gives."""
    return answer(SEARCH, "GetRecordingInformation", f"<r:RecordingInformation>{content}</r:RecordingInformation>")


def information(recording: Recording, internal_address: str, told: Sequence[tuple[Track, datetime, datetime]]) -> str:
    """What RecordingInformation holds; ``told`` are its tracks, each with its first and its last instant."""
    span = ""
    if told:
        earliest, latest = min(start for _, start, _ in told), max(end for _, _, end in told)
        span = (
            f"<tt:EarliestRecording>{_time(earliest)}</tt:EarliestRecording>"
            f"<tt:LatestRecording>{_time(latest)}</tt:LatestRecording>"
        )
    tracks = "".join(f"<tt:Track>{_track_information(*each)}</tt:Track>" for each in told)
    goes_on = any(stretch.end is None for stretch in recording.stretches)
    status = "Recording" if goes_on else "Stopped" if recording.stretches else "Initiated"
    return (
        f"<tt:RecordingToken>{recording.token}</tt:RecordingToken>"
        f"<tt:Source>{_source(recording, internal_address)}</tt:Source>{span}"
        f"<tt:Content>{escape(recording.name)}</tt:Content>{tracks}<tt:RecordingStatus>{status}</tt:RecordingStatus>"
    )


def media_attributes(told: Iterable[tuple[str, datetime, Sequence[tuple[Track, datetime, datetime]]]]) -> str:
    """Answer GetMediaAttributes: of each recording the token, the instant asked, and its tracks then."""
    listed = "".join(
        f"<r:MediaAttributes><tt:RecordingToken>{token}</tt:RecordingToken>"
        + "".join(_attributes(*track) for track in tracks)
        + f"<tt:From>{_time(at)}</tt:From><tt:Until>{_time(at)}</tt:Until></r:MediaAttributes>"
        for token, at, tracks in told
    )
    return answer(SEARCH, "GetMediaAttributes", listed)


def search_begun(name: str, token: str) -> str:
    """Answer FindRecordings or FindEvents, as ``name`` says."""
    return answer(SEARCH, name, f"<r:SearchToken>{token}</r:SearchToken>")


def search_ended(at: datetime) -> str:
    """Answer EndSearch."""
    return answer(SEARCH, "EndSearch", f"<r:Endpoint>{_time(at)}</r:Endpoint>")


def results(name: str, found: Iterable[str], *, state: str | None) -> str:
    """Answer GetRecordingSearchResults or GetEventSearchResults, as ``name`` says."""
    told = "" if state is None else f"<tt:SearchState>{state}</tt:SearchState>"
    return answer(SEARCH, name, f"<r:ResultList>{told}{''.join(found)}</r:ResultList>")


def found_recording(content: str) -> str:
    """A result of FindRecordings, from what :func:`information` gives."""
    return f"<tt:RecordingInformation>{content}</tt:RecordingInformation>"


def found_event(change: Change, *, at: datetime, is_start_state: bool) -> str:
    """A result of FindEvents (Recording Search 5.9, 5.21)."""
    source = _item("RecordingToken", change.recording)
    if change.topic == TRACK_STATE:
        source += _item("Track", change.track)
    operation = "Initialized" if is_start_state else "Changed"
    message = (
        f'<tt:Message UtcTime="{_time(at)}" PropertyOperation="{operation}"><tt:Source>{source}</tt:Source>'
        f"<tt:Data>{_item(_ITEMS[change.topic], _bool(change.begins))}</tt:Data></tt:Message>"
    )
    event = f'<n:Topic Dialect="{_DIALECT}">{change.topic}</n:Topic><n:Message>{message}</n:Message>'
    return (
        '<tt:Result xmlns:n="http://docs.oasis-open.org/wsn/b-2" xmlns:tns1="http://www.onvif.org/ver10/topics">'
        f"<tt:RecordingToken>{change.recording}</tt:RecordingToken><tt:TrackToken>{change.track}</tt:TrackToken>"
        f"<tt:Time>{_time(at)}</tt:Time><tt:Event>{event}</tt:Event>"
        f"<tt:StartStateEvent>{_bool(is_start_state)}</tt:StartStateEvent></tt:Result>"
    )


def _source(recording: Recording, internal_address: str) -> str:
    return (
        f"<tt:SourceId>urn:simulated:{escape(recording.camera)}</tt:SourceId><tt:Name>{escape(recording.camera)}</tt:Name>"
        f"<tt:Location>{escape(recording.name)}</tt:Location><tt:Description>{escape(recording.name)}</tt:Description>"
        f"<tt:Address>http://{internal_address}/onvif/device_service</tt:Address>"
    )


def _track_item(track: Track) -> str:
    return (
        f"<tt:Track><tt:TrackToken>{track.token}</tt:TrackToken><tt:Configuration><tt:TrackType>Video</tt:TrackType>"
        f"<tt:Description>{track.codec.upper()}</tt:Description></tt:Configuration></tt:Track>"
    )


def _track_information(track: Track, start: datetime, end: datetime) -> str:
    return (
        f"<tt:TrackToken>{track.token}</tt:TrackToken><tt:TrackType>Video</tt:TrackType>"
        f"<tt:Description>{track.codec.upper()}</tt:Description>"
        f"<tt:DataFrom>{_time(start)}</tt:DataFrom><tt:DataTo>{_time(end)}</tt:DataTo>"
    )


def _attributes(track: Track, start: datetime, end: datetime) -> str:
    width, height = SIZES[track.codec]
    return (
        f"<tt:TrackAttributes><tt:TrackInformation>{_track_information(track, start, end)}</tt:TrackInformation>"
        f"<tt:VideoAttributes><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height>"
        f"<tt:Encoding>{track.codec.upper()}</tt:Encoding><tt:Framerate>{FPS}</tt:Framerate></tt:VideoAttributes>"
        "</tt:TrackAttributes>"
    )


def _item(name: str, value: str) -> str:
    return f"<tt:SimpleItem Name={quoteattr(name)} Value={quoteattr(value)}/>"


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _time(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
