"""What cameras are known to do, replayed from ``tests/corpus``; ``camera_registry/quirks.py`` says where it is seen."""

from __future__ import annotations

import itertools
import logging
import time

import pytest

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.reader_sdp import describe_for_reader
from halfgateway.protocol.rtcp import SenderReport, parse_compound, unix_ns
from halfgateway.protocol.rtp import RtpView
from halfgateway.protocol.sdp import first_video
from halfgateway.protocol.sdp import parse as parse_sdp
from halfgateway.simulator.packets import Clip
from halfgateway.upstream.backoff import BUSY_DELAY_S, CameraFailure
from halfgateway.upstream.client import Target
from tests.depacketise import access_units, decoded_counters
from tests.relay.packets import IDR
from tests.upstream.conftest import OpenLine
from tests.upstream.line import Line, Watcher, eventually
from tests.upstream.transcript_camera import OTHER_PICTURE, TICKS, TranscriptCamera, playing, sections

PICTURE_S = TICKS / 90_000


def line_to(open_line: OpenLine, camera: TranscriptCamera, **limits: float) -> Line:
    return open_line(Target(camera.url, "gateway", "secret"), **limits)


def sender_reports(watcher: Watcher) -> list[SenderReport]:
    packets = (packet for data in watcher.reports for packet in parse_compound(data))
    return [packet for packet in packets if isinstance(packet, SenderReport)]


def is_one_stream(watcher: Watcher) -> bool:
    """One source, every sequence number, and time that moves on as pictures do."""
    return (
        len(watcher.sources) == 1
        and watcher.sequence_steps == {1}
        and min(watcher.timestamp_steps) > 0
        and max(watcher.timestamp_steps) < 90_000
    )


async def test_rubbish_between_frames_is_passed_over(open_line: OpenLine) -> None:  # row 7
    async with playing("rubbish-between-frames.rtsp") as camera:
        watcher = await line_to(open_line, camera).watch()
        await watcher.packets(60)
        assert is_one_stream(watcher)
        assert camera.connections == 1


async def test_a_folded_answer_is_read_to_its_end(open_line: OpenLine) -> None:  # row 1
    async with playing("folded-answer.rtsp") as camera:
        watcher = await line_to(open_line, camera).watch()
        await watcher.packets(20)
        assert is_one_stream(watcher)
        assert camera.connections == 1


@pytest.mark.parametrize("name", ["cseq-spelled-otherwise.rtsp", "cseq-zero.rtsp"])
async def test_answers_are_matched_whatever_becomes_of_their_number(open_line: OpenLine, name: str) -> None:  # row 2
    async with playing(name) as camera:
        await (await line_to(open_line, camera).watch()).packets(5)
        assert camera.methods()[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
        assert camera.connections == 1


async def test_a_refused_sign_of_life_with_a_wrong_number_gives_way_to_options(open_line: OpenLine) -> None:
    # rows 2, 27
    async with playing("keep-alive-refused-with-wrong-number.rtsp") as camera:
        watcher = await line_to(open_line, camera).watch()
        await eventually(lambda: camera.methods().count("OPTIONS") >= 4)
        await watcher.packets(2)
        assert camera.methods().count("GET_PARAMETER") == 1
        assert camera.connections == 1


@pytest.mark.parametrize("name", ["keep-alive-unanswered.rtsp", "keep-alive-unknown-session.rtsp"])
async def test_a_sign_of_life_that_is_not_taken_is_given_by_options(open_line: OpenLine, name: str) -> None:
    # row 27, quirk get-parameter-unanswered: and the camera is remembered for it when it comes back
    async with playing(name) as camera:
        line = line_to(open_line, camera)
        watcher = await line.watch()
        await eventually(lambda: camera.methods().count("OPTIONS") >= 4)
        assert camera.methods().count("GET_PARAMETER") == 1
        camera.write(b"\x00rubbish" * 40_000)
        await line.waited(1)
        await eventually(lambda: camera.methods().count("OPTIONS") >= 8)
        assert camera.methods().count("GET_PARAMETER") == 1
        assert camera.connections == 2
        assert watcher.ended == []


async def test_a_camera_that_hangs_up_on_a_sign_of_life_is_asked_otherwise(open_line: OpenLine) -> None:  # row 27
    async with playing("keep-alive-hangs-up.rtsp") as camera:
        watcher = await line_to(open_line, camera).watch()
        await eventually(lambda: camera.connections == 3)
        await eventually(lambda: camera.methods().count("OPTIONS") >= 6)
        await watcher.packets(5)
        assert camera.methods().count("GET_PARAMETER") == 2
        assert camera.connections == 3
        assert is_one_stream(watcher)


async def test_a_short_session_is_kept_by_its_own_timeout(open_line: OpenLine) -> None:  # row 27
    async with playing("timeout-short.rtsp") as camera:
        began_s = time.monotonic()
        await line_to(open_line, camera).watch()
        await eventually(lambda: "GET_PARAMETER" in camera.methods())
        assert time.monotonic() - began_s > 0.9, "half of two seconds"
        asked = next(request for request in camera.asked if request.method == "GET_PARAMETER")
        assert asked.headers.get("Session") == "708345999"


async def test_a_session_without_a_timeout_lives_sixty_seconds(
    open_line: OpenLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # row 27, RFC 2326 section 12.37
    monkeypatch.setattr("halfgateway.upstream.setup.DEFAULT_SESSION_TIMEOUT_S", 1)
    async with playing("timeout-not-named.rtsp") as camera:
        await line_to(open_line, camera).watch()
        await eventually(lambda: camera.methods().count("GET_PARAMETER") >= 2)
        assert camera.connections == 1


async def test_channels_that_were_not_asked_for_are_taken(open_line: OpenLine) -> None:  # row 34
    async with playing("channels-of-its-own.rtsp") as camera:
        camera.channels = (8, 9)
        watcher = await line_to(open_line, camera).watch()
        await watcher.packets(10)
        assert is_one_stream(watcher)


async def test_a_camera_without_a_session_left_is_not_hammered(open_line: OpenLine) -> None:  # quirk few-sessions
    async with playing("sessions-all-taken.rtsp") as camera:
        line = line_to(open_line, camera)
        line.patience.clear()
        with pytest.raises(CameraFailure) as failed:
            await line.watch()
        assert failed.value.status == 453
        await line.waited(1)
        assert line.waits == pytest.approx([BUSY_DELAY_S], abs=0.25)
        assert camera.connections == 1


async def test_the_best_of_several_challenges_is_answered(open_line: OpenLine) -> None:  # quirk several-challenges
    async with playing("several-challenges.rtsp") as camera:
        await (await line_to(open_line, camera).watch()).packets(3)
        proofs = {request.headers.get("Authorization", "") for request in camera.asked[1:]}
        assert all(proof.startswith("Digest ") and "algorithm=SHA-256" in proof for proof in proofs if proof)


@pytest.mark.parametrize("name", ["source-changes.rtsp", "numbers-begin-anew.rtsp", "timestamps-jump.rtsp"])
async def test_readers_see_one_stream_whatever_its_numbers_do(open_line: OpenLine, name: str) -> None:  # row 52
    async with playing(name) as camera:
        watcher = await line_to(open_line, camera).watch()
        await watcher.packets(40)
        assert is_one_stream(watcher)
        assert camera.connections == 1


async def test_packets_of_another_session_are_kept_apart(open_line: OpenLine) -> None:  # row 52
    async with playing("two-sessions-on-a-connection.rtsp") as camera:
        watcher = await line_to(open_line, camera).watch()
        await watcher.packets(60)
        assert is_one_stream(watcher)
        others = [bytes(packet.payload) for packet in watcher.video].count(OTHER_PICTURE)
        assert others <= 1, "before it was known that there are two"


async def test_packets_of_other_payload_types_do_not_pass(open_line: OpenLine) -> None:  # L08, row 52
    async with playing("other-payload-types.rtsp") as camera:
        watcher = await line_to(open_line, camera).watch()
        await watcher.packets(40)
        assert {packet.payload_type for packet in watcher.video} == {96}
        assert is_one_stream(watcher)


async def decoded(line: Line, watcher: Watcher) -> int:
    """How many pictures a decoder shows that knows what a reader knows: its description, and its packets."""
    await watcher.packets(60)
    offered = describe_for_reader(line.described[0].description, control="trackID=0", session_id=1, name="essai")
    parameters = first_video(parse_sdp(offered)).fmtp.get(96, "")
    sets = parameters.partition("sprop-parameter-sets=")[2].partition(";")[0]
    packets = [bytes(packet.payload.obj) for packet in watcher.video]
    return len([each for each in decoded_counters(packets, Codec.H264, described=sets) if each is not None])


def kinds_of(watcher: Watcher) -> set[int]:
    """The types of the NAL units that a reader was given."""
    units = access_units([bytes(packet.payload.obj) for packet in watcher.video], Codec.H264)
    return {part[0] & 0x1F for unit in units for part in unit.split(b"\0\0\0\1") if part}


async def test_sets_that_are_only_in_the_description_reach_the_reader(open_line: OpenLine, small_clip: Clip) -> None:
    # row 50, quirk sets-only-in-band
    async with playing("sets-only-in-sdp.rtsp", small_clip) as camera:
        line = line_to(open_line, camera)
        watcher = await line.watch()
        assert await decoded(line, watcher) > 10
        assert not kinds_of(watcher) & {7, 8}


async def test_sets_that_are_only_in_the_stream_are_where_a_reader_begins(
    open_line: OpenLine, small_clip: Clip
) -> None:
    # row 50, quirk sets-only-in-band
    async with playing("sets-only-in-band.rtsp", small_clip) as camera:
        line = line_to(open_line, camera)
        await (await line.watch()).packets(100)
        late = await line.watch()
        assert await decoded(line, late) > 10
        assert kinds_of(late) >= {5, 7, 8}


async def test_half_a_pair_of_sets_is_not_described(open_line: OpenLine, small_clip: Clip) -> None:
    # row 50: decoders that take it for the whole show nothing
    async with playing("sets-broken-in-sdp.rtsp", small_clip) as camera:
        line = line_to(open_line, camera)
        watcher = await line.watch()
        assert await decoded(line, watcher) > 10
        offered = describe_for_reader(line.described[0].description, control="trackID=0", session_id=1, name="essai")
        assert b"sprop-parameter-sets" not in offered


@pytest.mark.parametrize("name", ["no-sender-reports.rtsp", "reports-without-a-clock.rtsp"])
async def test_what_a_camera_does_not_tell_of_time_we_tell(open_line: OpenLine, name: str) -> None:
    # row 53: within a second of the first packet, then every five; by the clock of arrival
    async with playing(name) as camera:
        line = line_to(open_line, camera)
        watcher = await line.watch()
        await watcher.packets(1)
        for count in (1, 2, 3):
            line.skipped_s += 1.0 if count == 1 else 5.0
            await eventually(lambda count=count: len(sender_reports(watcher)) >= count)  # type: ignore[misc]
        for report in sender_reports(watcher):
            assert abs(unix_ns(report.ntp_timestamp, time.time_ns()) - time.time_ns()) < 20e9
        assert {report.ssrc for report in sender_reports(watcher)} == watcher.sources
        assert sender_reports(watcher)[0].rtp_timestamp in {packet.timestamp for packet in watcher.video}
        assert next(iter(line.hub)).clock_offset_s is None


@pytest.mark.parametrize(("name", "ahead_s"), [("clock-five-seconds-off.rtsp", 5.5), ("clock-hours-off.rtsp", -7200.0)])
async def test_a_camera_whose_clock_is_off_loses_nothing_and_is_flagged(
    open_line: OpenLine, caplog: pytest.LogCaptureFixture, name: str, ahead_s: float
) -> None:
    # T14: the report carries the camera's own time
    with caplog.at_level(logging.WARNING):
        async with playing(name) as camera:
            line = line_to(open_line, camera)
            watcher = await line.watch()
            await watcher.packets(60)
            await eventually(lambda: sender_reports(watcher))
            offset_s = next(iter(line.hub)).clock_offset_s
            assert is_one_stream(watcher)
            assert offset_s == pytest.approx(ahead_s, abs=4)
            now_ns = time.time_ns()
            for report in sender_reports(watcher):
                assert (unix_ns(report.ntp_timestamp, now_ns) - now_ns) / 1e9 == pytest.approx(ahead_s, abs=20)
    assert [record.message for record in caplog.records if "source.clock_off" in record.message] != []


async def test_a_camera_that_sends_no_more_pictures_is_dialled_again(open_line: OpenLine) -> None:
    # quirk no-more-pictures
    async with playing("no-more-pictures.rtsp") as camera:
        watcher = await line_to(open_line, camera, silence_limit_s=0.4).watch()
        await eventually(lambda: camera.connections >= 2)
        await watcher.packets(10)
        assert watcher.ended == []
        assert is_one_stream(watcher)


async def test_odd_h265_is_relayed_as_it_is(open_line: OpenLine) -> None:  # row 52, quirk odd-h265
    said = sections("h265-odd-fragments.rtsp")["MEDIA"].split()
    sent = [bytes.fromhex(payload) for command, payload in itertools.pairwise(said) if command == "payload"]
    async with playing("h265-odd-fragments.rtsp") as camera:
        watcher = await line_to(open_line, camera).watch()
        await watcher.packets(3 * len(sent))
        received = [bytes(packet.payload) for packet in watcher.video]
        begin = sent.index(received[0])
        expected = itertools.islice(itertools.cycle(sent), begin, begin + len(received))
        assert received == list(expected)


async def test_the_largest_packet_passes_with_its_extension_and_padding(open_line: OpenLine) -> None:  # rows 5, 52
    async with playing("packet-of-65535-bytes.rtsp") as camera:
        watcher = await line_to(open_line, camera).watch()
        await watcher.packets(20)
        assert is_one_stream(watcher)
        large = [packet for packet in watcher.video if bytes(packet.payload) != IDR]
        assert large
        for packet in large:
            assert isinstance(packet, RtpView)
            assert len(packet.payload.obj) == 65535
            assert packet.extension is not None
            assert packet.extension[0] == 0xBEEF
            assert packet.padding_bytes == 4
