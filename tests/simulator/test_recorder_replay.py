"""The simulated recorder's replay over RTSP: T13's raw-socket half, rows 54 to 60."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.ranges import ClockRange
from halfgateway.protocol.rtp import RtpView
from halfgateway.simulator.film import GROUP, GROUP_FRAMES, PICTURE, clean_at, frame_at, instant_of
from halfgateway.simulator.recorder import SimulatedRecorder
from halfgateway.simulator.recorder_behaviour import RecorderBehaviour
from halfgateway.simulator.recordings import CHANGED_CODEC, GAPS, Gap, Kind, Recording, Stretch
from halfgateway.simulator.replay_resource import LOCAL_ZONE
from tests.raw_player import RawPlayer
from tests.replay.filmed import first_clean, instants_in_file, instants_in_packets, picture_at
from tests.simulator.recorder_player import (
    headers,
    pictures,
    play,
    replayer,
    running_recorder,
    set_up,
    told,
    until_terminal,
    video,
    with_credentials,
)

UNPACED = {"Rate-Control": "no"}


@pytest.fixture
async def recorder() -> AsyncIterator[SimulatedRecorder]:
    async with running_recorder() as running:
        yield running


def path_of(recorder: SimulatedRecorder, kind: Kind) -> str:
    return recorder.replay_path(recorder.recording_of(kind))


def clock(start: datetime, end: datetime | None = None) -> dict[str, str]:
    return {"Range": str(ClockRange(start, end))}


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


def begun(recorder: SimulatedRecorder) -> datetime:
    """The instant to which the recordings' gaps and changes are relative."""
    return recorder.recording_of(Kind.ADDED_LATER).stretches[0].start + timedelta(days=5)


async def test_it_begins_at_the_key_picture_at_or_before_ten_days_ago_less_a_second(
    recorder: SimulatedRecorder,
) -> None:
    """T13, rows 54, 55, 57: the decoded pictures were filmed when the extension says so."""
    asked = ago(days=10) + timedelta(seconds=1)
    path = path_of(recorder, Kind.CONTINUOUS)
    async with replayer(recorder) as player:
        described = await player.ask("DESCRIBE", player.url(path), {"Require": "onvif-replay"})
        assert b"a=x-onvif-track:VIDEO001" in described.body
        await set_up(player, path)
        answer = await play(player, path, clock(asked))
        packets = await pictures(player, 3)
        cseq = int(answer.header("cseq"))
    begins = first_clean(asked)
    assert answer.header("range") == str(ClockRange(begins))
    assert told(packets)[:3] == instants_in_packets(packets)[:3] == [begins + n * PICTURE for n in range(3)]
    first = headers(packets)[0]
    assert (first.clean, first.discontinuous, first.cseq) == (True, True, cseq & 0xFF)
    marks = sum(RtpView(packet).marker for packet in packets)
    assert len(headers(packets)) - marks in {0, 1}  # the first packet of each picture alone has it
    info = answer.header("rtp-info")
    assert f"seq={RtpView(packets[0]).sequence};rtptime={RtpView(packets[0]).timestamp}" in info


async def test_a_closed_range_without_rate_control_ends_with_its_last_picture_and_stays_in_play(
    recorder: SimulatedRecorder,
) -> None:
    """Rows 55, 57, 59; ONVIF 6.5.2, 6.9: RTP times are those of filming."""
    start = first_clean(ago(days=4))
    path = path_of(recorder, Kind.CONTINUOUS)
    async with replayer(recorder) as player:
        await set_up(player, path)
        await play(player, path, {**clock(start, start + 5 * GROUP), **UNPACED})
        packets = await until_terminal(player)
        assert (await player.ask("PLAY", player.url(path), {"Session": player.session or ""})).status == 200
        seek = await play(player, path, {**clock(start + GROUP), **UNPACED})
        assert seek.status == 200
    assert told(packets) == [start + n * PICTURE for n in range(5 * GROUP_FRAMES)]
    assert instants_in_packets(packets) == told(packets)
    stamps = list(dict.fromkeys(RtpView(packet).timestamp for packet in packets))
    assert {(later - earlier) % 2**32 for earlier, later in pairwise(stamps)} == {3600}


@pytest.mark.parametrize("gap", GAPS)
async def test_each_gap_is_told_where_it_begins_and_ends(recorder: SimulatedRecorder, gap: Gap) -> None:
    """T13, row 57."""
    number = GAPS.index(gap)
    before, after = recorder.recording_of(Kind.GAPS).stretches[number : number + 2]
    assert before.end is not None
    path = path_of(recorder, Kind.GAPS)
    async with replayer(recorder) as player:
        await set_up(player, path)
        await play(player, path, {**clock(before.end - GROUP, after.start + GROUP), **UNPACED})
        packets = await until_terminal(player)
    assert told(packets)[GROUP_FRAMES - 1 : GROUP_FRAMES + 1] == [before.end - PICTURE, after.start]
    assert [header.at for header in headers(packets) if header.last] == [before.end - PICTURE]
    assert [header.at for header in headers(packets) if header.discontinuous] == [before.end - GROUP, after.start]
    assert instants_in_packets(packets) == told(packets)


async def test_with_rate_control_a_gap_takes_its_time_unless_the_recorder_skips_it() -> None:
    """Row 57: RTP times go on through the gap."""
    lasts, scale = timedelta(seconds=4), 5.0
    for skips in (False, True):
        async with running_recorder(RecorderBehaviour(skips_gaps=skips)) as recorder:
            before, after = recorder.recording_of(Kind.GAPS).stretches[-2:]
            assert before.end is not None
            path = path_of(recorder, Kind.GAPS)
            async with replayer(recorder) as player:
                await set_up(player, path)
                await play(player, path, {**clock(before.end - GROUP, after.start + GROUP), "Scale": str(scale)})
                await until_terminal(player)
            arrived = {RtpView(packet).timestamp: at for _, packet, at in player.packets}
            stamps = list(arrived)
            waited = arrived[stamps[GROUP_FRAMES]] - arrived[stamps[GROUP_FRAMES - 1]]
            assert (waited >= lasts.total_seconds() / scale / 2) is not skips


async def test_reverse_and_key_pictures_alone(recorder: SimulatedRecorder) -> None:
    """Rows 56, 57; ONVIF 6.5.3, 6.6."""
    start = first_clean(ago(days=2)) + 4 * PICTURE
    path = path_of(recorder, Kind.CONTINUOUS)
    async with replayer(recorder) as player:
        await set_up(player, path)
        answer = await play(player, path, {**clock(start, start - 2 * GROUP), "Scale": "-1.0", **UNPACED})
        backwards = await until_terminal(player)
        assert answer.header("scale") == "-1"
        player.packets.clear()
        await play(player, path, {**clock(start, start + 9 * GROUP), "Frames": "intra/4000", **UNPACED})
        keys = await until_terminal(player)
    key = first_clean(start)
    expected = [key + n * PICTURE for n in range(5)]
    expected += [key - back * GROUP + n * PICTURE for back in (1, 2) for n in range(GROUP_FRAMES)]
    assert told(backwards) == expected
    assert [header.at for header in headers(backwards) if header.discontinuous] == [key - n * GROUP for n in range(3)]
    numbers = [RtpView(packet).sequence for packet in backwards]
    assert [(number - numbers[0]) % 65536 for number in numbers] == list(range(len(numbers)))
    assert told(keys) == instants_in_packets(keys) == [key + 2 * n * GROUP for n in range(5)]


async def test_immediate_seeks_use_one_session_and_the_last_wins(recorder: SimulatedRecorder) -> None:
    """T13, row 60."""
    start = first_clean(ago(days=7))
    path = path_of(recorder, Kind.CONTINUOUS)
    async with replayer(recorder) as player:
        await set_up(player, path)
        for hour in range(20):
            answer = await play(player, path, {**clock(start + timedelta(hours=hour)), "Immediate": "yes"})
        wanted = int(answer.header("cseq")) & 0xFF
        while not any(header.cseq == wanted for header in headers(video(player))):
            await player.next_packet()
        first = next(header for header in headers(video(player)) if header.cseq == wanted)
        assert (recorder.session_count, recorder.rtsp_counters.requests["PLAY"]) == (1, 20)
    assert (first.at, first.discontinuous) == (start + timedelta(hours=19), True)


async def test_after_pause_it_goes_on_where_it_was(recorder: SimulatedRecorder) -> None:
    path = path_of(recorder, Kind.CONTINUOUS)
    async with replayer(recorder) as player:
        await set_up(player, path)
        await play(player, path, clock(ago(days=1)))
        await pictures(player, 3)
        await player.ask("PAUSE", player.url(path), {"Session": player.session or ""})
        last = told(video(player))[-1]
        player.packets.clear()
        await play(player, path, {})
        again = told(await pictures(player, 1))[0]
    assert again == first_clean(last + PICTURE)


async def test_it_follows_the_live_edge(recorder: SimulatedRecorder) -> None:
    """Row 59; ONVIF 6.8: nothing is shown before it was filmed, and the end is not told."""
    path = path_of(recorder, Kind.CONTINUOUS)
    async with replayer(recorder) as player:
        await set_up(player, path)
        await play(player, path, {**clock(ago(seconds=0.1)), **UNPACED})
        packets = await pictures(player, GROUP_FRAMES + 5)
        assert told(packets)[-1] <= datetime.now(UTC)
    assert not any(header.last or header.terminal for header in headers(packets))
    assert instants_in_packets(packets)[:5] == told(packets)[:5]


async def test_each_codec_has_a_track_of_its_own(recorder: SimulatedRecorder) -> None:
    """A codec change: the first track ends where the second begins."""
    changed = begun(recorder) - CHANGED_CODEC
    path = path_of(recorder, Kind.CODEC_CHANGE)
    async with replayer(recorder) as player:
        described = await player.ask("DESCRIBE", player.url(path))
        assert described.body.count(b"m=video") == 2
        assert b"H265/90000" in described.body
        await set_up(player, path, 0)
        await set_up(player, path, 1)
        await play(player, path, {**clock(changed - GROUP, changed + GROUP), **UNPACED})
        while not any(header.terminal for header in headers(video(player, 2))):
            await player.next_packet()
    old, new = video(player, 0), video(player, 2)
    assert instants_in_packets(old) == [changed + (n - GROUP_FRAMES) * PICTURE for n in range(GROUP_FRAMES)]
    assert instants_in_packets(new, Codec.H265)[:1] == [changed]


async def test_what_is_not_there_is_told_apart(recorder: SimulatedRecorder) -> None:
    """Rows 54 to 56."""
    path = path_of(recorder, Kind.ADDED_LATER)
    async with replayer(recorder) as player:
        assert (await player.ask("DESCRIBE", player.url(path_of(recorder, Kind.NONE)))).status == 404
        assert (await player.ask("DESCRIBE", player.url("/onvif-replay/Another"))).status == 404
        unknown = await player.ask("DESCRIBE", player.url(path), {"Require": "time-travel"})
        assert (unknown.status, unknown.header("unsupported")) == (551, "time-travel")
        udp = {"Transport": "RTP/AVP;unicast;client_port=5000-5001"}
        assert (await player.ask("SETUP", f"{player.url(path)}/trackID=0", udp)).status == 461
        await set_up(player, path)
        assert (await play(player, path, clock(ago(hours=-1)))).status == 457
        assert (await play(player, path, {"Range": "clock=yesterday-"})).status == 400
        before = await play(player, path, clock(ago(days=8)))
        assert before.header("range") == str(ClockRange(begun(recorder) - timedelta(days=5)))


async def test_misbehaviour_on_demand() -> None:
    """Its limit of sessions, no feature, no reverse, no times, another clock, silence."""
    knobs = RecorderBehaviour(session_limit=1, knows_replay=False)
    async with running_recorder(knobs) as recorder:
        path = path_of(recorder, Kind.CONTINUOUS)
        async with replayer(recorder) as player, replayer(recorder) as second:
            assert (await set_up(player, path)).status == 551
            knobs.knows_replay = True
            assert (await set_up(player, path)).status == 200
            assert (await set_up(second, path)).status == 453
            knobs.reverses = False
            assert (await play(player, path, {**clock(ago(days=1)), "Scale": "-1"})).status == 457
            knobs.clock_offset_s = 5.0
            asked = first_clean(ago(days=1))
            await play(player, path, {**clock(asked, asked + GROUP), **UNPACED})
            packets = await until_terminal(player)
            filmed = instants_in_packets(packets)
            assert {late - true for late, true in zip(told(packets), filmed, strict=True)} == {timedelta(seconds=5)}
            knobs.tells_times = False
            player.packets.clear()
            await play(player, path, clock(asked))
            assert headers(await pictures(player, 1)) == []
            knobs.hangs_up_after = 0
            assert await player.read_to_end() in {"fin", "reset"}
            knobs.silent = True
            await second.send(second.request("OPTIONS", second.url(path)))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await second.next_packet()


async def test_a_reader_that_does_not_read_holds_the_recorder_up(recorder: SimulatedRecorder) -> None:
    """Row 58: without rate control no more is sent than the connection takes."""
    path = path_of(recorder, Kind.CONTINUOUS)
    host, _, port = recorder.rtsp_authority.rpartition(":")
    async with RawPlayer(host, int(port), replayer(recorder).credentials, receive_buffer_bytes=4096) as player:
        await set_up(player, path)
        await play(player, path, {**clock(ago(days=10)), **UNPACED})
        player.pause_reading()
        sent = -1
        while sent != recorder.media_counters.video_packets:
            sent = recorder.media_counters.video_packets
            await asyncio.sleep(0.09)
        player.resume_reading()
        await pictures(player, 1)
    assert sent * 100 < 50_000_000


@pytest.mark.peer
async def test_makers_urls_are_plain_rtsp_from_the_instant_on(recorder: SimulatedRecorder) -> None:
    """FFmpeg plays Hikvision's and Dahua's URLs; their end is told by a goodbye."""
    start = begun(recorder) - timedelta(days=8)
    end = start + 2 * GROUP
    hikvision = recorder.url_template.format(channel=1, start=f"{start:%Y%m%dt%H%M%Sz}", end=f"{end:%Y%m%dt%H%M%Sz}")
    local = start.astimezone(LOCAL_ZONE)
    dahua = f"rtsp://{recorder.rtsp_authority}/cam/playback?channel=1&subtype=0&starttime={local:%Y_%m_%d_%H_%M_%S}"
    for url in (hikvision, dahua):
        filmed = await asyncio.to_thread(
            instants_in_file,
            with_credentials(recorder, url),
            {"rtsp_transport": "tcp", "analyzeduration": "100000"},
            most=5,
        )
        assert filmed == [picture_at(start) + n * PICTURE for n in range(5)]
    path = hikvision.removeprefix(f"rtsp://{recorder.rtsp_authority}")
    async with replayer(recorder) as player:
        await set_up(player, path)
        await player.ask("PLAY", player.url(path), {"Session": player.session or ""})
        while not player.goodbyes():
            await player.next_packet()
    assert headers(video(player)) == []
    assert instants_in_packets(video(player)) == [start + n * PICTURE for n in range(2 * GROUP_FRAMES)]


async def test_the_end_of_a_recording_that_stopped_is_told() -> None:
    """Row 59."""
    end = instant_of(clean_at(frame_at(ago(hours=1))))
    stopped = Recording("gate", "Gate", "Stopped1", 1, (Stretch(end - timedelta(hours=1), end),))
    async with running_recorder(held=[stopped]) as recorder, replayer(recorder) as player:
        path = recorder.replay_path(stopped)
        await set_up(player, path)
        assert (await play(player, path, clock(end))).status == 457
        await play(player, path, {**clock(end - PICTURE), **UNPACED})
        packets = await until_terminal(player)
    assert headers(packets)[-1].at == end - PICTURE
    assert headers(packets)[-1].last
