"""The bench's own machinery, on its smallest scene: what it prints of the relay must not rot."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.bench.exports import exporting
from tests.bench.footage import KINDS
from tests.bench.frames import FrameTable, counter_nal
from tests.bench.kernel import watched
from tests.bench.plan import PARTS, parts
from tests.bench.reader import Reader, Target
from tests.bench.replay import WARM_SEEKS, replaying, seeking
from tests.bench.report import AIMS, CPU, FFMPEG, OURS, aims, table
from tests.bench.results import Results, Setting, p99
from tests.bench.rig import Rig, Stream, rig
from tests.bench.scenes import ONE, relaying

KEYS = {
    "scene",
    "transport",
    "camera",
    "mbps",
    "gop_s",
    "reader",
    "peer",
    "metric",
    "median",
    "min",
    "p99",
    "max",
    "runs",
}
PACKET = b"\x80\x60%b\x00\x00\x00\x00\x00\x00\x00\x00%b"
PICTURE, KEY_PICTURE = b"\x41", b"\x65"


def framed(sequence: int, payload: bytes, *, marker: bool = False) -> bytes:
    packet = bytearray(PACKET % (sequence.to_bytes(2, "big"), payload))
    packet[1] |= 0x80 if marker else 0
    return b"$\x00" + len(packet).to_bytes(2, "big") + packet


def picture(sequence: int, number: int, slice_nal: bytes) -> bytes:
    """A frame of two packets: its number and its slice."""
    return framed(sequence, counter_nal(number)) + framed(sequence + 1, slice_nal, marker=True)


def fed(*data: bytes, begins: str | None = None) -> Reader:
    """A reader that has been given this, in pieces that end anywhere."""
    reader = Reader(Target("rtsp://127.0.0.1:1/", 0, begins=begins))
    whole = b"".join(data)
    for begin in range(0, len(whole), 7):
        piece = whole[begin : begin + 7]
        reader.get_buffer(-1)[: len(piece)] = piece
        reader.buffer_updated(len(piece))
    return reader


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[Rig]:
    async with rig(Stream(4, 2), len(KINDS), with_gst=False, with_recorders=True) as opened:
        yield opened


def test_a_quick_run_measures_what_the_aims_name_and_whatever_it_is_asked() -> None:
    assert parts([]) == list(PARTS)
    assert set(PARTS) - set(parts(["quick"])) == {"manners", "heavy"}
    assert parts(["quick", "heavy", "relay"]) == ["heavy", "relay"]


@pytest.mark.asyncio(loop_scope="module")
async def test_our_gateway_and_the_camera_are_measured_and_written_down(house: Rig, tmp_path: Path) -> None:
    results = Results()
    await relaying(house, results, ONE, "nodelay", [house.ours.rtsp], runs=1, seconds=1.0)
    results.write(tmp_path / "bench.json")
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["machine"]["cores"] >= 1
    rows = {(row["peer"], row["metric"]): row for row in written["results"]}
    assert all(set(row) == KEYS for row in rows.values())
    ours, direct = rows[OURS, "cpu_ms_per_stream_s"], rows["direct", "latency_median_ms"]
    assert 0 < ours["median"] < 1000
    assert 0 < direct["median"] < 1000
    assert {metric for peer, metric in rows if peer == OURS} == {
        "added_latency_median_ms",
        "added_latency_p99_ms",
        "cpu_ms_per_stream_s",
        "lost_packets",
        "rss_mb",
    }
    assert rows[OURS, "lost_packets"]["max"] == rows["direct", "lost_packets"]["max"] == 0
    assert OURS in table(results)


@pytest.mark.asyncio(loop_scope="module")
async def test_replays_seeks_and_an_export_are_measured(house: Rig) -> None:
    results = Results()
    await replaying(house, results, "onvif", (1,), runs=1, seconds=1.0)
    await seeking(house, results, "url", runs=1)
    await exporting(house, results, runs=1, segments=1)
    rows = {(row["scene"], row["camera"], row["peer"], row["metric"]): row for row in results.rows()}
    assert 0 < rows["replay-1", "onvif", OURS, "replay_cpu_ms_per_stream_s"]["median"] < 1000
    assert rows["replay-1", "onvif", OURS, "lost_packets"]["max"] == 0
    assert rows["seek", "url", OURS, "seek_cold_ms"]["runs"] == 1
    assert rows["seek", "url", OURS, "seek_warm_ms"]["runs"] == WARM_SEEKS
    speeds = [rows["export", "segments", peer, "export_times_real_time"]["median"] for peer in (OURS, FFMPEG)]
    assert min(speeds) > 0
    ratio = rows["export", "segments", OURS, "export_speed_to_ffmpeg"]["median"]
    assert ratio == pytest.approx(speeds[0] / speeds[1], abs=0.01)
    assert FFMPEG in table(results)


def test_a_seek_ends_with_a_key_frame_that_comes_behind_its_answer() -> None:
    before, after = framed(5, KEY_PICTURE, marker=True), framed(6, KEY_PICTURE, marker=True)
    answer = b"RTSP/1.0 200 OK\r\nCSeq: 4\r\nRTP-Info: url=rtsp://h/;seq=6\r\n\r\n"
    begins = "clock=20261113T123812Z-"
    assert not fed(before, begins=begins).first_key.is_set()
    assert not fed(before, answer, framed(6, PICTURE, marker=True), begins=begins).first_key.is_set()
    sought = fed(before, answer, after, begins=begins)
    assert sought.first_key.is_set()
    assert (sought.seen.pictures, sought.seen.lost) == (2, 0)


def test_the_documentation_names_every_part_and_what_it_measures_of_recordings() -> None:
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    for name in (*PARTS, "replay_cpu_ms_per_stream_s", "seek_cold_ms", "seek_warm_ms", "export_times_real_time"):
        assert f"`{name}`" in text


def test_a_reader_matches_frames_and_finds_what_is_missing() -> None:
    reader = fed(picture(10, 5, KEY_PICTURE), picture(12, 6, PICTURE), picture(20, 9, PICTURE))
    seen = reader.take_seen()
    assert [(number, key) for number, _, _, key in seen.frames] == [(5, True), (6, False), (9, False)]
    assert (seen.packets, seen.lost, seen.gaps, seen.gaps_off_key) == (6, 6, 1, 1)
    assert reader.first_key.is_set()


def test_a_gap_that_ends_with_a_key_frame_is_no_fault() -> None:
    seen = fed(picture(65534, 5, KEY_PICTURE), picture(3, 9, KEY_PICTURE)).take_seen()
    assert (seen.lost, seen.gaps, seen.gaps_off_key) == (3, 1, 0)


def test_a_frames_instant_is_known_until_its_place_is_taken(tmp_path: Path) -> None:
    kept = FrameTable.make(tmp_path / "frames", 2)
    kept.note(1, 7, 3.5, key=True)
    kept.note(1, 8, 3.6, key=False)
    assert FrameTable(tmp_path / "frames", 2).instant(1, 7) == 3.5
    assert kept.instant(0, 7) is None
    assert (kept.last_key(1), kept.last_key(0)) == (3.5, None)
    kept.note(1, 7 + 4096, 9.0, key=False)
    assert kept.instant(1, 7) is None


def test_a_wish_for_a_key_frame_is_heard_once(tmp_path: Path) -> None:
    kept = FrameTable.make(tmp_path / "frames", 2)
    FrameTable(tmp_path / "frames", 2).wish_key(1)
    assert [kept.take_wish(0), kept.take_wish(1), kept.take_wish(1)] == [False, True, False]


async def test_bytes_are_counted_once_the_kernel_has_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as reader:
        server, _ = listener.accept()
        with server:
            port = reader.getsockname()[1]
            server.sendall(b"x" * 1000)
            async with watched(listener.getsockname()[1], [port]) as handed:
                async with asyncio.timeout(10):
                    while handed.last_s(port) is None:
                        await asyncio.sleep(0.001)
                began_s = handed.last_s(port) or 0.0
                server.sendall(b"x" * 5000)  # nobody has read anything yet
                async with asyncio.timeout(10):
                    while handed.after(port, began_s) < 5000:
                        await asyncio.sleep(0.001)
            assert handed.after(port, began_s) == 5000
            assert handed.after(port, handed.last_s(port) or 0.0) == 0


def test_an_aim_is_a_figure_or_its_ratio_to_a_peers() -> None:
    results = Results()
    against_gst = next(aim for aim in AIMS if aim.metric == CPU and aim.to is not None)
    assert list(aims(results)) == []
    assert against_gst.to is not None
    results.add(against_gst.setting, CPU, 3.0)
    results.add(against_gst.to, CPU, 10.0)
    assert against_gst.value(results) == pytest.approx(0.3)
    assert [line.split()[-1] for line in aims(results)] == ["met"]
    results.add(against_gst.setting, CPU, 20.0)
    assert [line.split()[-1] for line in aims(results)] == ["missed"]


def test_a_row_is_the_median_and_the_range_of_its_runs() -> None:
    results = Results()
    for value in (3.0, 1.0, 2.0):
        results.add(Setting("1-1", "rtsp", "nodelay", 4, 2, "prompt", OURS), "rss_mb", value)
    (row,) = results.rows()
    assert (row["median"], row["min"], row["max"], row["runs"]) == (2.0, 1.0, 3.0, 3)


def test_the_slowest_of_a_hundred_is_no_p99_and_that_of_fewer_is() -> None:
    assert p99([*range(1, 101)]) == 99
    assert p99([*range(1, 31)]) == 30
    assert p99([7.0]) == 7.0
