"""The simulated recorder's ONVIF side, asked by onvif-zeep-async: its answers keep to the WSDLs of Profile G."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout
from lxml import etree

from camera_registry.onvif_library import DEVICE, load_library
from halfgateway.simulator.recorder import SimulatedRecorder
from halfgateway.simulator.recorder_messages import RECORDING, REPLAY, SEARCH
from halfgateway.simulator.recordings import GAPS, Kind
from tests.held_clock import HeldClock
from tests.simulator.recorder_player import running_recorder

FILES = {RECORDING: "recording", SEARCH: "search", REPLAY: "replay", DEVICE: "devicemgmt"}
BINDINGS = {RECORDING: "RecordingBinding", SEARCH: "SearchBinding", REPLAY: "ReplayBinding", DEVICE: "DeviceBinding"}
TRACKS = "tns1:RecordingHistory/Track/State"


@pytest.fixture(scope="module")
def library() -> Any:
    asyncio.run(load_library())  # without what its import does to the process
    from onvif import client

    return client


@pytest.fixture
async def recorder() -> AsyncIterator[SimulatedRecorder]:
    async with running_recorder() as running:
        yield running


@asynccontextmanager
async def service(library: Any, recorder: SimulatedRecorder, namespace: str) -> AsyncIterator[Any]:
    """One of the recorder's services, found as GetServices tells."""
    wsdl = Path(library.__file__).parent / "wsdl"
    url = recorder.onvif_url
    if namespace != DEVICE:
        async with service(library, recorder, DEVICE) as device:
            told = await device.GetServices({"IncludeCapability": False})
        url = next(each.XAddr for each in told if each.Namespace == namespace)
    found = library.ONVIFService(
        url,
        recorder.identity.username,
        recorder.identity.password,
        str(wsdl / f"{FILES[namespace]}.wsdl"),
        encrypt=True,
        no_cache=True,
        binding_name=f"{{{namespace}}}{BINDINGS[namespace]}",
    )
    await found.setup()
    try:
        yield found
    finally:
        await found.close()


def token_of(recorder: SimulatedRecorder, kind: Kind) -> str:
    return recorder.recording_of(kind).token


async def events(search: Any, token: str, start: datetime, end: datetime, most: int = 100) -> list[Any]:
    """All that FindEvents finds of the tracks of a recording."""
    wanted = etree.Element("{http://docs.oasis-open.org/wsn/b-2}TopicExpression")
    wanted.text = TRACKS
    begun = await search.FindEvents(
        {
            "StartPoint": start,
            "EndPoint": end,
            "Scope": {"IncludedRecordings": [token]},
            "SearchFilter": {"_value_1": [wanted]},
            "IncludeStartState": True,
            "KeepAliveTime": timedelta(seconds=10),
        }
    )
    found: list[Any] = []
    state = ""
    while state not in {"Completed", None}:
        answer = await search.GetEventSearchResults({"SearchToken": begun, "MaxResults": most})
        found += answer.Result
        state = answer.SearchState
    return found


async def test_search_tells_of_each_recording_what_there_is(library: Any, recorder: SimulatedRecorder) -> None:
    """C01: FindRecordings and its results, in pages; GetRecordingInformation; what has no footage yet."""
    async with service(library, recorder, SEARCH) as search:
        token = await search.FindRecordings({"Scope": {}, "KeepAliveTime": timedelta(seconds=10)})
        first = await search.GetRecordingSearchResults({"SearchToken": token, "MaxResults": 3})
        second = await search.GetRecordingSearchResults({"SearchToken": token, "MaxResults": 3})
        summary = await search.GetRecordingSummary()
        asked = {"RecordingToken": token_of(recorder, Kind.ADDED_LATER)}
        added = await search.GetRecordingInformation(asked)
        at = datetime.now(UTC) - timedelta(days=2)
        wanted = {"RecordingTokens": [token_of(recorder, Kind.CODEC_CHANGE)], "Time": at}
        attributes = await search.GetMediaAttributes(wanted)
        ended = await search.EndSearch({"SearchToken": token})
        with pytest.raises(Exception, match="token is invalid"):
            await search.EndSearch({"SearchToken": token})
    assert (first.SearchState, second.SearchState) == ("Searching", "Completed")
    found = {each.Source.Name: each for each in [*first.RecordingInformation, *second.RecordingInformation]}
    assert list(found) == [kind.value for kind in Kind]
    changed = recorder.recording_of(Kind.CODEC_CHANGE).stretches[0]
    whole = found["codec-change"]
    assert whole.EarliestRecording == changed.start
    assert [(track.TrackToken, track.Description) for track in whole.Track] == [
        ("VIDEO001", "H264"),
        ("VIDEO002", "H265"),
    ]
    assert whole.Track[0].DataTo == whole.Track[1].DataFrom == changed.end
    assert found["none"].EarliestRecording is None
    assert summary.DataFrom == changed.start
    assert added.EarliestRecording == recorder.recording_of(Kind.ADDED_LATER).stretches[0].start
    assert attributes[0].TrackAttributes[0].VideoAttributes.Width == 640
    assert ended <= datetime.now(UTC)


async def test_events_tell_the_gaps(library: Any, recorder: SimulatedRecorder) -> None:
    """Row 57, T13: the state at the start, then each end and each beginning."""
    gaps = recorder.recording_of(Kind.GAPS)
    now = datetime.now(UTC)
    async with service(library, recorder, SEARCH) as search:
        found = await events(search, gaps.token, now - timedelta(days=10), now, most=2)
        backwards = await events(search, gaps.token, now, now - timedelta(days=10))
    told = [(each.Time, each.StartStateEvent) for each in found]
    edges = [edge for stretch in gaps.stretches for edge in (stretch.start, stretch.end)][1:-1]
    assert told == [(found[0].Time, True), *((edge, False) for edge in edges)]
    assert len(edges) == 2 * len(GAPS)
    assert [each.Time for each in backwards][1:] == edges[::-1]


async def test_replay_tells_where_and_what_it_can(library: Any, recorder: SimulatedRecorder) -> None:
    async with service(library, recorder, REPLAY) as replay:
        capabilities = await replay.GetServiceCapabilities()
        setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
        asked = {"StreamSetup": setup, "RecordingToken": token_of(recorder, Kind.GAPS)}
        uri = await replay.GetReplayUri(asked)
        configuration = await replay.GetReplayConfiguration()
        await replay.SetReplayConfiguration({"Configuration": configuration})
        with pytest.raises(Exception, match="does not exist"):
            await replay.GetReplayUri({**asked, "RecordingToken": "Another"})
    async with service(library, recorder, RECORDING) as control:
        items = await control.GetRecordings()
        assert (await control.GetServiceCapabilities()).DynamicRecordings is False
    assert capabilities.ReversePlayback is True
    assert uri == f"rtsp://{recorder.rtsp_authority}{recorder.replay_path(recorder.recording_of(Kind.GAPS))}"
    assert [item.RecordingToken for item in items] == [each.token for each in recorder.recordings]
    assert [len(item.Tracks.Track) if item.Tracks else 0 for item in items] == [1, 1, 2, 1, 0]


async def test_a_search_is_forgotten_unless_its_results_are_asked_for(library: Any, clock: HeldClock) -> None:
    """Recording Search 5.2.3: the keep-alive time."""
    async with running_recorder(clock=clock) as recorder:
        recorder.behaviour.clock_offset_s = (datetime.now(UTC) - clock.now()).total_seconds()
        async with service(library, recorder, SEARCH) as search:
            token = await search.FindRecordings({"Scope": {}, "KeepAliveTime": timedelta(seconds=10)})
            for _ in range(2):
                clock.advance(timedelta(seconds=9))
                await search.GetRecordingSearchResults({"SearchToken": token, "MaxResults": 1})
            clock.advance(timedelta(seconds=11))
            with pytest.raises(Exception, match="token is invalid"):
                await search.GetRecordingSearchResults({"SearchToken": token})


async def test_misbehaviour_of_search(library: Any, recorder: SimulatedRecorder) -> None:
    """Its state left out, times ignored, results the last first, its clock wrong, no events at all."""
    knobs, gaps = recorder.behaviour, recorder.recording_of(Kind.GAPS)
    now = datetime.now(UTC)
    async with service(library, recorder, SEARCH) as search:
        knobs.ignores_times = True
        assert len(await events(search, gaps.token, now - timedelta(hours=1), now)) == 2 * len(GAPS) + 2
        knobs.ignores_times, knobs.out_of_order, knobs.results_at_once = False, True, 1
        times = [each.Time for each in await events(search, gaps.token, now - timedelta(days=10), now)]
        assert times == sorted(times, reverse=True)
        knobs.out_of_order, knobs.clock_offset_s = False, 60.0
        edges = [each.Time for each in await events(search, gaps.token, now - timedelta(days=10), now)]
        assert edges[1] - timedelta(seconds=60) == gaps.stretches[0].end
        knobs.finds_events = False
        with pytest.raises(Exception, match="not implemented"):
            await events(search, gaps.token, now, now)
        knobs.tells_search_state = False
        token = await search.FindRecordings({"Scope": {}, "KeepAliveTime": timedelta(seconds=10)})
    envelope = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>'
        f'<GetRecordingSearchResults xmlns="{SEARCH}"><SearchToken>{token}</SearchToken></GetRecordingSearchResults>'
        "</s:Body></s:Envelope>"
    )
    async with ClientSession(timeout=ClientTimeout(0.5)) as session:
        refused = await session.post(recorder.onvif_url, data=envelope)
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].startswith("Digest ")
        knobs.silent = True
        with pytest.raises(TimeoutError):
            await session.post(recorder.onvif_url, data=envelope)
