"""Recordings through the one door, whatever recorder has them: granted, played, sought, refused, and told
(C01-C03, C05, S14; T1, T5, T13; rows 54 to 60)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from auth.trace import Kind
from camera_registry.clock import rfc3339
from halfgateway.protocol.ranges import clock_text
from halfgateway.protocol.rtp import RtpView
from halfgateway.simulator.film import GROUP, GROUP_S, PICTURE, clean_at, frame_at, instant_of
from halfgateway.simulator.recordings import GAPS
from halfgateway.simulator.segments import SegmentWriter
from tests.e2e.conftest import STEADY
from tests.e2e.recorders import KINDS, Recorded, edge, open_recorded
from tests.e2e.replaying import (
    REPLAY,
    clock,
    marks,
    of_each,
    pictures_until,
    play,
    terminal_picture,
    told,
    until_over,
    video,
)
from tests.players import needs_ffmpeg
from tests.replay.filmed import first_clean, instants_in_file, instants_in_packets

pytestmark = pytest.mark.asyncio(loop_scope="module")

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_recorded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Recorded]:
    async with open_recorded(tmp_path_factory.mktemp("recorded"), STEADY) as recorded:
        yield recorded


@pytest_asyncio.fixture(loop_scope="module")
async def recorded(module_recorded: Recorded) -> AsyncIterator[Recorded]:
    yield module_recorded
    await until_over(module_recorded)


async def test_what_was_filmed_then_is_shown(recorded: Recorded) -> None:
    # C03, T13, T14, rows 16, 54-57: from the clean picture at or before; each is told with the instant that it shows

    async def watch(kind: str) -> None:
        start = recorded.before(hours=5) + GROUP + timedelta(seconds=1, milliseconds=480)
        recorded.film(start)
        async with recorded.player() as player:
            assert (await player.set_up(recorded.path(kind))).status == 200
            status, headers = await play(player, recorded, kind, clock(start) | REPLAY)
            assert status == 200
            await pictures_until(player, lambda filmed: len(filmed) > GROUP / PICTURE)
            said, shown = told(player), instants_in_packets(video(player))
            assert abs(shown[0] - first_clean(start)) <= PICTURE
            exact = PICTURE if kind != "url" else GROUP  # a maker's URL knows seconds, and its recorder tells no time
            assert all(abs(of - at) <= exact for of, at in zip(said, shown, strict=False))
            first = RtpView(video(player)[0])
            assert f"seq={first.sequence};rtptime={first.timestamp}" in headers["rtp-info"][0]
            await player.tear_down(recorded.path(kind))

    await of_each(KINDS, watch)


async def test_a_gap_is_waited_out_and_an_edge_is_none(recorded: Recorded) -> None:
    # T13, rows 57: no time is compressed, across the recorder's gap of four seconds a day ago

    async def watch(kind: str) -> None:
        gap = GAPS[-1]
        begins = recorded.before(seconds=gap.ago.total_seconds())
        recorded.film(begins)
        async with recorded.player() as player:
            await player.set_up(recorded.path(kind))
            await play(player, recorded, kind, clock(begins - GROUP / 2, begins + timedelta(seconds=6)) | REPLAY)
            await pictures_until(player, lambda filmed: bool(filmed) and filmed[-1] >= begins + gap.lasts)
            shown = instants_in_packets(video(player))
            steps = [later - earlier for earlier, later in itertools.pairwise(shown)]
            assert set(steps) - {PICTURE} <= {gap.lasts + PICTURE}
            packets = [RtpView(data) for data in video(player)]
            stamps = sorted({(packet.timestamp - packets[0].timestamp) % 2**32 for packet in packets})
            assert abs(stamps[-1] / 90_000 - (told(player)[-1] - told(player)[0]).total_seconds()) < 0.1
            await player.tear_down(recorded.path(kind))

    await of_each(KINDS, watch)


async def test_ten_days_and_no_more(recorded: Recorded) -> None:
    # C03, T13, row 56: 10 d - 1 s is served, 10 d + 1 s is refused, apart from what is to come

    async def watch(kind: str) -> None:
        recorded.film(edge())
        status, problem = await recorded.ask(kind, edge() - timedelta(seconds=1))
        assert (status, problem["type"].rpartition("/")[2].rpartition(":")[2]) == (410, "outside-retention")
        async with recorded.player() as player:
            await player.set_up(recorded.path(kind))
            for start in (edge() - timedelta(seconds=1), datetime.now(UTC) + timedelta(hours=1)):
                status, headers = await play(player, recorded, kind, clock(start) | REPLAY)
                assert (status, headers["x-refusal"]) == (457, ["outside-retention"])
            assert not player.packets
            status, headers = await play(player, recorded, kind, clock(edge() + timedelta(seconds=1)) | REPLAY)
            assert status == 200, headers
            await player.packets_until(30)
            since = edge() - timedelta(seconds=20) - (GROUP if kind == "url" else timedelta())
            assert instants_in_packets(video(player))[0] >= since
            await player.tear_down(recorded.path(kind))

    await of_each(KINDS, watch)


@pytest.mark.parametrize("kind", ["onvif", "segments"])
async def test_no_footage_is_another_thing_than_too_old(recorded: Recorded, kind: str) -> None:
    # C05, T13, row 56: apart from 403 and 404, and kept with its cause
    nothing = recorded.before(seconds=GAPS[0].ago.total_seconds()) + timedelta(seconds=30)
    recorded.film(nothing, nothing + timedelta(seconds=1))
    async with recorded.player() as player:
        await player.set_up(recorded.path(kind))
        span = clock(nothing, nothing + timedelta(seconds=5))
        status, headers = await play(player, recorded, kind, span | REPLAY)
        assert (status, headers["x-refusal"]) == (457, ["no-recording"])
        await player.tear_down(recorded.path(kind))
    (refused, *_) = await recorded.gateway.traced(lambda entry: entry.refusal == "no-recording")
    assert (refused.kind, refused.mode, refused.detail["start"]) == (Kind.STREAM_REFUSED, "recorded", rfc3339(nothing))


@every_kind
async def test_seeking_takes_no_second_place_and_no_second_session(recorded: Recorded, kind: str) -> None:
    # C02, T5, T13, row 60: one place, whatever is sought; each passage that was shown is in the trace
    start, before = recorded.before(hours=6), len(await recorded.gateway.trace())
    recorded.film(start)
    async with recorded.player() as player:
        await player.set_up(recorded.path(kind))
        for index in range(4):
            seen = len(player.packets)
            status, headers = await play(player, recorded, kind, clock(start + index * GROUP) | REPLAY)
            assert status == 200, headers
            await player.packets_until(seen + 1)
            assert await recorded.gateway.slots_used() == 1
            assert recorded.recorder.session_count == (kind != "segments")
        paused = await player.ask("PAUSE", player.url(recorded.path(kind)), {"Session": player.session or ""})
        assert paused.status == 200
        assert await recorded.gateway.slots_used() == 1
        assert (await play(player, recorded, kind, {}))[0] == 200
        _, streams = await recorded.gateway.call("supervisor", "GET", "/streams")
        assert (streams["items"][0]["mode"], streams["items"][0]["position"] is None) == ("recorded", False)
        sequences = [RtpView(data).sequence for data in video(player)]
        assert all((later - earlier) % 65536 == 1 for earlier, later in itertools.pairwise(sequences))
        await player.tear_down(recorded.path(kind))
    await until_over(recorded)
    entries = (await recorded.gateway.trace())[before:]
    kinds = [entry.kind for entry in entries if entry.stream == entries[-1].stream]
    assert kinds.count(Kind.STREAM_STARTED) == 1
    assert kinds.count(Kind.STREAM_MOVED) == 5


async def test_who_scrubs_faster_than_it_is_shown_gets_the_last(recorded: Recorded) -> None:
    # T13, row 60: twenty seeks in one write are answered, and one session at the recorder plays what counts
    start, plays = recorded.before(hours=7), recorded.recorder.rtsp_counters.requests["PLAY"]
    async with recorded.player() as player:
        path = recorded.path("onvif")
        await player.set_up(path)
        await play(player, recorded, "onvif", clock(start) | REPLAY)
        url, session = player.url(path), {"Session": player.session or ""}
        storm = [player.request("PLAY", url, session | clock(start + index * GROUP) | REPLAY) for index in range(20)]
        await player.send(b"".join(storm))
        answers = [await player.next_answer() for _ in storm]
        assert {answer.status for answer in answers} == {200}
        wanted = start + 19 * GROUP
        await pictures_until(player, lambda filmed: bool(filmed) and filmed[-1] >= wanted)
        assert recorded.recorder.session_count == 1
        assert recorded.recorder.rtsp_counters.requests["PLAY"] - plays < 12
        await player.tear_down(path)


async def test_a_ticket_is_good_for_its_period(recorded: Recorded) -> None:
    # C03, row 51: bound to camera, mode, range and agent

    async def watch(kind: str) -> None:
        start = recorded.before(hours=8)
        end = start + GROUP
        recorded.film(start)
        async with recorded.player(await recorded.ticket(kind, start, end)) as player:
            path = recorded.path(kind)
            described = await player.ask("DESCRIBE", player.url(path))
            assert f"a=range:clock={clock_text(start)}-{clock_text(end)}" in described.body.decode()
            assert "a=x-onvif-track:VIDEO001" in described.body.decode()
            await player.set_up(path)
            assert (await play(player, recorded, kind, clock(start - GROUP) | REPLAY))[0] == 403
            assert (await play(player, recorded, kind, {"Range": "npt=0.000-"}))[0] == 200
            await player.packets_until_goodbye()
            assert instants_in_packets(video(player))[0] == start
            await player.tear_down(path)

    await of_each(KINDS, watch)


async def test_more_than_a_picture_s_pace_is_a_right_of_its_own(recorded: Recorded) -> None:
    # S14: without it, faster means keyframes alone, and five for each second of watching

    async def watch(kind: str) -> None:
        start = recorded.before(hours=9)
        recorded.film(start)
        async with recorded.player() as player:
            await player.set_up(recorded.path(kind))
            status, headers = await play(player, recorded, kind, clock(start) | REPLAY | {"Rate-Control": "no"})
            assert (status, headers["x-refusal"]) == (403, ["not-habilitated"])
            status, headers = await play(player, recorded, kind, clock(start) | REPLAY | {"Scale": "8.0"})
            assert (status, headers["frames"], headers["scale"]) == (200, ["intra/1600"], ["8.000000"])
            await pictures_until(player, lambda filmed: len(filmed) == 4)
            assert told(player) == [start + index * GROUP for index in range(4)]
            await player.tear_down(recorded.path(kind))

    await of_each(["onvif", "segments"], watch)


async def test_backwards_where_the_recorder_can(recorded: Recorded) -> None:
    # row 57; ONVIF Streaming 6.6: groups backwards, pictures within one forwards

    async def watch(kind: str) -> None:
        start = recorded.before(hours=9)
        recorded.film(start)
        async with recorded.player() as player:
            await player.set_up(recorded.path(kind))
            backwards = clock(start, start - 6 * GROUP) | REPLAY | {"Scale": "-8.0", "Frames": "intra"}
            status, headers = await play(player, recorded, kind, backwards)
            assert (status, headers["scale"], headers["frames"]) == (200, ["-8.000000"], ["intra/1600"])
            await pictures_until(player, lambda filmed: len(filmed) == 4)
            assert told(player) == sorted(told(player), reverse=True)
            await player.tear_down(recorded.path(kind))

    await of_each(["onvif", "segments"], watch)


async def test_a_maker_s_url_does_not_play_backwards(recorded: Recorded) -> None:
    # row 57
    async with recorded.player() as player:
        await player.set_up(recorded.path("url"))
        status, _ = await play(player, recorded, "url", clock(recorded.before(hours=9)) | {"Scale": "-1.0"})
        assert status == 456
        await player.tear_down(recorded.path("url"))


async def test_eleven_mixed_requests(recorded: Recorded) -> None:
    # C01, T1: live and recorded counted together; the eleventh gets 453 and scrubbing changes nothing
    start = recorded.before(hours=4)
    recorded.film(start)
    gateway = recorded.gateway
    tickets = [await gateway.ticket(recorded.cameras[kind]) for kind in KINDS]
    tickets += [await _granted(recorded, kind, start) for kind in KINDS for _ in range(2)]
    async with recorded.player() as tenth, recorded.player() as eleventh:
        path = recorded.path("segments")
        assert (await tenth.set_up(path)).status == 200
        refused = await eleventh.set_up(recorded.path("onvif"))
        assert (refused.status, refused.header("x-refusal")) == (453, "cap-reached")
        for index in range(3):
            assert (await play(tenth, recorded, "segments", clock(start + index * GROUP)))[0] == 200
            assert await gateway.slots_used() == 10
        assert (await recorded.ask("url", start))[0] == 409
        await tenth.tear_down(path)
    for ticket in tickets:
        assert (await gateway.call("operator", "DELETE", f"/streams/{ticket['id']}"))[0] in {200, 204}


async def _granted(recorded: Recorded, kind: str, start: datetime) -> dict[str, str]:
    status, ticket = await recorded.ask(kind, start)
    assert status == 201, ticket
    return ticket


@needs_ffmpeg
async def test_ffmpeg_shows_what_it_asks_for(recorded: Recorded) -> None:
    # C03, T13, row 42: by ticket, and by a URL that says when; it falls back from UDP by itself

    async def watch(kind: str) -> None:
        start = recorded.before(hours=3)
        end = start + GROUP
        recorded.film(start)
        ticket = await recorded.ticket(kind, start, end)
        url = recorded.gateway.url(recorded.path(kind), ticket)
        assert (await asyncio.to_thread(instants_in_file, url, most=10))[0] == start
        spanned = recorded.gateway.url(recorded.path(kind), recorded.gateway.machine)
        spanned += f"?start={clock_text(start)}&end={clock_text(end)}"
        shown = await asyncio.to_thread(instants_in_file, spanned)
        assert (shown[0], shown[-1] <= end) == (start, True)
        assert all(later - earlier == PICTURE for earlier, later in itertools.pairwise(shown))

    await of_each(KINDS, watch)


@every_kind
async def test_what_there_is_is_listed(recorded: Recorded, kind: str) -> None:
    # C03, C05: clipped to the window
    path = f"/cameras/{recorded.cameras[kind]}/recordings"
    status, found = await recorded.gateway.call("operator", "GET", path)
    assert status == 200, found
    intervals = [(each["start"], each["end"], each["verified"]) for each in found["intervals"]]
    assert min(start for start, _, _ in intervals) >= found["window"]["start"]
    if kind == "url":
        assert [verified for _, _, verified in intervals] == [False]
    if kind == "onvif":
        begins = [recorded.before(seconds=gap.ago.total_seconds()) for gap in GAPS]
        assert [end for _, end, _ in intervals[:-1]] == [rfc3339(each) for each in begins]


async def test_the_retention_probe_tells_what_each_recorder_has(recorded: Recorded) -> None:
    # C04: gaps of the window by the recorder's word; who tells its ends alone is not judged by them
    status, found = await recorded.gateway.call("ops", "POST", "/retention/probe")
    assert status == 200
    by_camera = {each["camera"]: each for each in found["items"]}
    for kind in KINDS:
        told = by_camera[recorded.cameras[kind]]
        assert (told["reached"], told["verified"]) == (True, kind != "url")
    gaps = [recorded.before(seconds=gap.ago.total_seconds()) for gap in GAPS if gap.lasts > timedelta(minutes=1)]
    told = by_camera[recorded.cameras["onvif"]]
    assert told["oldest"] < told["accessible_from"]
    assert ([each["start"] for each in told["gaps"]], told["breaches"]) == ([rfc3339(at) for at in gaps[::-1]], ["gap"])


@asynccontextmanager
async def filming(recorded: Recorded) -> AsyncIterator[None]:
    """The folder is given each segment once it is filmed, as a recorder that is running does."""
    began = datetime.now(UTC) - 5 * GROUP

    def lay() -> None:
        filmed = instant_of(clean_at(frame_at(datetime.now(UTC))))
        SegmentWriter(recorded.footage, segment_s=GROUP_S).write(recorded.recording("segments"), began, filmed)

    async def lay_on() -> None:
        while True:
            await asyncio.to_thread(lay)
            await asyncio.sleep(0.05)

    await asyncio.to_thread(lay)
    laying = asyncio.create_task(lay_on())
    try:
        yield
    finally:
        laying.cancel()
        await asyncio.wait({laying})


async def test_what_is_being_recorded_is_followed(recorded: Recorded) -> None:
    # T13, row 59; ONVIF Streaming 6.8: a range that begins near now goes on as film is made, without an end or to it
    asked = datetime.now(UTC)

    async def watch(kind: str, end: datetime | None) -> None:
        async with recorded.player() as player:
            path = recorded.path(kind)
            await player.set_up(path)
            status, _ = await play(player, recorded, kind, clock(asked - GROUP, end) | REPLAY)
            assert status == 200
            if end is None:
                await pictures_until(player, lambda filmed: filmed[-1] > asked)
                assert not any(mark.terminal for mark in marks(player))
            else:
                await terminal_picture(player)
                assert end - GROUP / 2 < told(player)[-1] <= end
            shown = instants_in_packets(video(player))
            assert {later - earlier for earlier, later in itertools.pairwise(shown)} == {PICTURE}
            await player.tear_down(path)

    async with filming(recorded):
        await asyncio.gather(
            of_each(KINDS, lambda kind: watch(kind, None)),
            of_each(KINDS, lambda kind: watch(kind, asked + GROUP / 2)),
        )
