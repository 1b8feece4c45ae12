"""Recorders of ONVIF Profile G, asked what they have: answers of real ones (``tests/data/onvif``), and bad ones."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from registry.odd_device import odd_device, soap_answer
from registry.replayed_device import SOME, replayed

from camera_registry import onvif_search
from camera_registry.clock import SystemClock
from camera_registry.errors import ForbiddenHost, Malformed, NoSuchRecording, NotSupported, RegistryError, Timeout
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.onvif_client import OnvifClient, onvif_opener
from camera_registry.onvif_port import StateChange
from camera_registry.onvif_process import OnvifProcess
from camera_registry.onvif_search import read_instant

CORPUS = Path(__file__).parents[1] / "data" / "onvif"
START, END = datetime(2026, 11, 20, 11, tzinfo=UTC), datetime(2026, 11, 20, 13, tzinfo=UTC)
ADDRESSES = (
    "<tds:GetServicesResponse>"
    "<tds:Service><tds:Namespace>http://www.onvif.org/ver10/search/wsdl</tds:Namespace><tds:XAddr>{0}/s</tds:XAddr>"
    "</tds:Service><tds:Service><tds:Namespace>http://www.onvif.org/ver10/replay/wsdl</tds:Namespace>"
    "<tds:XAddr>{0}/r</tds:XAddr></tds:Service></tds:GetServicesResponse>"
)


def test_every_file_is_replayed_and_its_origin_told() -> None:
    files = {path.name for path in CORPUS.iterdir()} - {"README.md"}
    assert files == set(re.findall(r"`([a-z0-9-]+\.soap)`", (CORPUS / "README.md").read_text(encoding="utf-8")))
    assert files == set(re.findall(r'replayed\("([a-z0-9-]+\.soap)"', Path(__file__).read_text(encoding="utf-8")))


async def test_a_card_is_played_where_the_camera_was_found() -> None:
    # quirk onvif-address-elsewhere: it announces an address behind a NAT
    async with replayed("axis-sd-card.soap", CORPUS) as (_, client):
        url = await client.recorder.replay_url("SD_DISK_20200422_132655_67086B52")
        assert url == (
            "rtsp://127.0.0.1/onvif-media/record/play.amp"
            "?onvifreplayid=SD_DISK_20200422_132655_67086B52&onvifreplayext=1&streamtype=unicast&session_timeout=30"
        )
        assert not await client.recorder.reverses()


async def test_an_nvr_names_its_track_and_its_port() -> None:
    async with replayed("hikvision-nvr.soap", CORPUS) as (_, client):
        url = await client.recorder.replay_url("OnvifRecordingToken_1")
    assert url == "rtsp://127.0.0.1:554/Streaming/Tracks/101?transportmode=unicast&replaymode=onvifreplay"


async def test_a_recording_that_is_gone_is_no_failure_of_the_recorder() -> None:
    async with replayed("axis-no-recording.soap", CORPUS) as (_, client):
        with pytest.raises(NoSuchRecording):
            await client.recorder.replay_url("gone")


async def test_a_recording_is_looked_for_among_all_where_it_cannot_be_asked_for() -> None:
    async with replayed("earliest-1970.soap", CORPUS) as (device, client):
        span = await client.recorder.recording("OnvifRecordingToken_1")
        assert device.operations[-4:] == [
            "GetRecordingInformation",
            "FindRecordings",
            "GetRecordingSearchResults",
            "EndSearch",
        ]
        assert (await client.recorder.recordings()) == (span,)
        with pytest.raises(NoSuchRecording):
            await client.recorder.recording("another")
    assert span.earliest == datetime(1970, 1, 1, 0, 3, 15, tzinfo=UTC)
    assert span.latest == datetime(2025, 3, 15, 16, 28, tzinfo=UTC)
    assert span.tracks == ("videotracktoken_1",)
    assert not span.goes_on


async def test_the_state_at_the_start_is_a_change_like_others() -> None:
    async with replayed("start-state.soap", CORPUS) as (device, client):
        start = datetime(2023, 9, 5, 9, 5, 12, tzinfo=UTC)
        changes = await client.recorder.state_changes("REC_1693875846", start, start + timedelta(minutes=24))
        assert await client.recorder.state_changes("another", start, start + timedelta(minutes=24)) == ()
        assert device.operations[-1] == "EndSearch"
    video, sound = "REC_VIDEO_TRACK_1693875846", "REC_AUDIO_TRACK_1693875846"
    assert changes == (
        StateChange(at=start, present=False, track=sound),
        StateChange(at=start, present=False, track=video),
        StateChange(at=start.replace(minute=10, second=0), present=True, track=video),
    )


async def test_a_search_without_a_state_ends_where_it_repeats_itself() -> None:
    # SearchState missing; results out of order; an instant that is none
    async with replayed("no-search-state.soap", CORPUS) as (device, client):
        changes = await client.recorder.state_changes("REC_1693875846", START, END)
        assert device.operations.count("GetEventSearchResults") == 2
        spans = await client.recorder.recordings()
    assert [(change.at.isoformat(), change.present) for change in changes] == [
        ("2019-12-31T23:00:00+00:00", True),
        ("2026-11-20T11:00:00+00:00", False),
        ("2026-11-20T12:00:00.250000+00:00", True),
        ("2026-11-20T12:10:00+00:00", False),
    ]
    assert [(span.token, span.goes_on, span.latest) for span in spans] == [
        ("cam 2", True, None),
        ("cam 1", False, None),
    ]


async def test_a_recorder_without_events_says_so_and_is_asked_in_both_ways() -> None:
    async with replayed("no-events.soap", CORPUS) as (device, client):
        with pytest.raises(NotSupported):
            await client.recorder.state_changes("cam1", START, END)
        assert device.operations.count("FindEvents") == 2
        span = await client.recorder.recording("cam1")
    assert (span.earliest, span.latest) == (
        datetime(2026, 11, 10, tzinfo=UTC),
        datetime(2026, 11, 20, 12, tzinfo=UTC),
    )


@asynccontextmanager
async def answering(answers: dict[str, str], services: str = "") -> AsyncIterator[OnvifClient]:
    """A client of a recorder that gives these answers."""

    async def answer(request: web.Request, operation: str) -> web.StreamResponse:
        if operation == "GetServices":
            here = f"http://127.0.0.1:{request.url.port}"
            return soap_answer(services or ADDRESSES.format(here))
        return soap_answer(answers[operation]) if operation in answers else web.Response(status=400, text="Bad request")

    opened = onvif_opener(
        allowed=AllowedHosts(["127.0.0.1"]),
        guard=CredentialGuard(SystemClock()),
        clock=SystemClock(),
        random_bytes=bytes,
    )
    async with odd_device(answer) as device, opened(device.url, SOME) as client:
        yield client


SEARCHING = "<r><ResultList><SearchState>Searching</SearchState>{}</ResultList></r>"
TOKEN = "<r><SearchToken>1</SearchToken></r>"
EVENT = (
    "<Result><RecordingToken>1</RecordingToken><TrackToken>v</TrackToken><Time>{}</Time><Event>"
    "<Topic>RecordingHistory/Track/State</Topic><Message><Message><Data>"
    '<SimpleItem Name="IsDataPresent" Value="true"/></Data></Message></Message></Event></Result>'
)


async def test_a_search_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onvif_search, "SEARCH_LIMIT_S", 0.3)
    answers = {"FindEvents": TOKEN, "GetEventSearchResults": SEARCHING.format(""), "EndSearch": "<r/>"}
    async with answering(answers) as client:
        with pytest.raises(Timeout):
            await client.recorder.state_changes("1", START, END)


async def test_more_changes_than_can_be_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onvif_search, "MAX_CHANGES", 10)
    many = "".join(EVENT.format(f"2026-11-20T11:00:{second:02}Z") for second in range(11))
    async with answering({"FindEvents": TOKEN, "GetEventSearchResults": SEARCHING.format(many)}) as client:
        with pytest.raises(NotSupported):
            await client.recorder.state_changes("1", START, END)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("<r><Uri>http://127.0.0.1/</Uri></r>", Malformed),
        ("<r/>", Malformed),
        ("<r><Uri>rtsp://user:secret@10.9.9.9/x</Uri></r>", None),
    ],
)
async def test_what_is_announced_is_held_against_the_allow_list(answer: str, error: type[RegistryError] | None) -> None:
    async with answering({"GetReplayUri": answer}) as client:
        if error is None:
            assert await client.recorder.replay_url("1") == "rtsp://127.0.0.1/x"
            return
        with pytest.raises(error):
            await client.recorder.replay_url("1")


async def test_a_device_that_is_no_recorder_says_so() -> None:
    async with answering({}, "<tds:GetServicesResponse/>") as client:
        with pytest.raises(NotSupported):
            await client.recorder.replay_url("1")


async def test_the_process_gives_the_same_answers() -> None:
    # ADR 0005: through the process, with its allow-list on both sides
    async with replayed("no-search-state.soap", CORPUS) as (device, client):
        process = OnvifProcess(
            allowed=AllowedHosts(["127.0.0.1"]), guard=CredentialGuard(SystemClock()), now=time.monotonic
        )
        try:
            async with process.open(device.url, SOME) as remote:
                assert await remote.state_changes("REC_1693875846", START, END) == await client.recorder.state_changes(
                    "REC_1693875846", START, END
                )
                assert await remote.recordings() == await client.recorder.recordings()
                assert (await remote.recording("cam 2")).goes_on
                assert not await remote.reverses()
                with pytest.raises(NotSupported):
                    await remote.replay_url("cam 2")
            elsewhere = process.open("http://10.1.2.3/onvif/device_service", SOME)
            with pytest.raises(ForbiddenHost):
                await elsewhere.recordings()
        finally:
            await process.aclose()


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 (hypothesis wants them naive)
def test_instants_are_read_as_xml_has_them(instant: datetime) -> None:
    text = instant.isoformat()
    assert read_instant(text) == instant
    assert read_instant(text.replace("+00:00", "Z")) == instant
    assert read_instant(text.removesuffix("+00:00")) == instant


@given(st.text(alphabet="0123456789-:TZ+. ", max_size=30))
def test_what_is_no_instant_is_none(text: str) -> None:
    read = read_instant(text)
    assert read is None or read.tzinfo is UTC
