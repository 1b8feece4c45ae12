"""The files of an export, made from pictures: bit-exact, one for each stretch, gaps told (L15)."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import pytest

from halfgateway.exporting.failures import ExportFailed
from halfgateway.exporting.film import MIN_FREE_BYTES, Film, FilmWriter, Gap
from halfgateway.protocol.codec import Codec
from tests.exporting.footages import PERIOD, Shot, Take, shot

T = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PLENTY = 1 << 30


def writer(folder: Path, *, max_bytes: int = PLENTY, free: int = PLENTY) -> FilmWriter:
    return FilmWriter(folder, "mairie", max_bytes=max_bytes, free_bytes=lambda _: free)


def filmed(folder: Path, *takes: Take, end: datetime) -> Film:
    film = writer(folder)
    for take in takes:
        film.begin(take.shot.codec)
        film.add(take.pictures(take.start))
    return film.finish(T, end)


@pytest.mark.parametrize(
    "taken",
    [shot(Codec.H264), shot(Codec.H264, reordered=2), shot(Codec.H265), shot(Codec.H265, reordered=2)],
    ids=["h264", "h264-reordered", "h265", "h265-reordered"],
)
def test_a_file_holds_the_bits_that_the_recorder_sent(tmp_path: Path, taken: Shot) -> None:
    # L15: equal to what the encoder gave, by a hash of our own and by ffmpeg's
    take = Take(T, taken)
    (piece,) = filmed(tmp_path, take, end=take.end).pieces
    path = tmp_path / piece.name
    assert piece.stream_sha256 == taken.sha256()
    assert piece.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (piece.pictures, piece.start, piece.end, piece.size_bytes) == (20, T, take.end, path.stat().st_size)
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video"]  # L08
        shown = [float(frame.pts * frame.time_base) for frame in container.decode(video=0) if frame.pts is not None]
    assert shown == pytest.approx([number * PERIOD.total_seconds() for number in range(20)], abs=0.001)


@pytest.mark.peer
def test_anybody_can_hash_the_elementary_stream(tmp_path: Path) -> None:
    # L15: the command of docs/exports.md
    (piece,) = filmed(tmp_path, Take(T, shot()), end=T + 2 * SECOND).pieces
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / piece.name), "-map", "0:v", "-c", "copy"]
    said = subprocess.run([*command, "-f", "hash", "-hash", "sha256", "-"], capture_output=True, text=True, check=True)
    assert said.stdout == f"SHA256={piece.stream_sha256}\n"


def test_a_gap_and_another_codec_begin_another_file(tmp_path: Path) -> None:
    # L14: gaps
    first, second = Take(T, shot()), Take(T + 5 * SECOND, shot())
    third = Take(second.end, shot(Codec.H265))
    film = filmed(tmp_path, first, second, third, end=third.end + 3 * SECOND)
    assert [(piece.codec, piece.start) for piece in film.pieces] == [
        ("H264", T),
        ("H264", second.start),
        ("H265", third.start),
    ]
    assert film.gaps == (Gap(first.end, second.start), Gap(third.end, third.end + 3 * SECOND))
    assert sorted(piece.name for piece in film.pieces) == sorted(path.name for path in tmp_path.iterdir())


def test_other_parameter_sets_begin_another_file_without_a_gap(tmp_path: Path) -> None:
    small, large = Take(T, shot()), Take(T + 2 * SECOND, shot(width=320))
    film = writer(tmp_path)
    film.begin(Codec.H264)
    film.add([*small.pictures(T), *large.pictures(large.start)])
    made = film.finish(T, large.end)
    assert [piece.stream_sha256 for piece in made.pieces] == [small.shot.sha256(), large.shot.sha256()]
    assert made.gaps == ()


def test_a_picture_that_came_damaged_is_left_out_and_told(tmp_path: Path) -> None:
    # a decoder cannot go on from there: the next file begins with the next group of pictures
    take = Take(T, shot(), lost=frozenset({7}))
    film = filmed(tmp_path, take, end=take.end)
    assert [piece.stream_sha256 for piece in film.pieces] == [take.shot.sha256(0, 7), take.shot.sha256(10)]
    assert film.damaged == 3
    assert film.gaps == (Gap(T + 7 * PERIOD, T + 10 * PERIOD),)


def test_what_was_written_before_is_not_written_again(tmp_path: Path) -> None:
    # a recorder that is asked to go on begins with the group before
    take, film = Take(T, shot()), writer(tmp_path)
    film.begin(Codec.H264)
    film.add(take.pictures(T)[:12])
    film.begin(Codec.H264)
    film.add(take.pictures(T + 11 * PERIOD))
    made = film.finish(T, take.end)
    assert [piece.pictures for piece in made.pieces] == [12, 5]


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [({"max_bytes": 1000}, "too-large"), ({"free": MIN_FREE_BYTES - 1}, "no-space")],
)
def test_bounds_end_it(tmp_path: Path, bounds: dict[str, int], reason: str) -> None:
    film = writer(tmp_path, **bounds)
    film.begin(Codec.H264)
    with pytest.raises(ExportFailed) as failed:
        film.add(Take(T, shot()).pictures(T))
    assert failed.value.reason == reason
    film.abandon()


def test_what_cannot_be_copied_is_said(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed) as failed:
        writer(tmp_path).begin(Codec.JPEG)
    assert failed.value.reason == "codec-not-copied"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    film = writer(tmp_path / "none")
    film.begin(Codec.H264)
    film.add(Take(T, shot()).pictures(T)[:1])
    with pytest.raises(ExportFailed) as failed:
        film.finish(T, T + SECOND)
    assert failed.value.reason == "not-written"
