"""One camera behind every way to write its URL: by property, and as players join URLs (rows 13, 42; T9)."""

from __future__ import annotations

import string
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.downstream.door import StreamPath
from halfgateway.downstream.paths import TRACK, base_url, stream_path
from halfgateway.errors import UnknownCamera
from halfgateway.protocol import sdp
from halfgateway.protocol.uri import RtspUri, join, same_resource
from tests.downstream.stage import CAMERA, PATH, SDP, VIEWER, Stage
from tests.raw_player import RawPlayer

TCP = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}

NAME = st.text(string.ascii_letters + string.digits + "._~-", min_size=1, max_size=12).filter(
    lambda name: not name.lower().startswith(("track", "stream"))
)
WORD = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=8)
AUTHORITIES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "viewer:secret@", "a:b@c:d@", "viewer@"]),
    st.sampled_from(["gw.example", "GW.Example", "192.0.2.1", "[2001:db8::1]", "[::1]"]),
    st.sampled_from(["", ":", ":554", ":8554"]),
)
QUERIES = st.none() | st.lists(st.builds("{}={}".format, WORD, WORD), min_size=1, max_size=3).map("&".join)


@st.composite
def spellings(draw: st.DrawFn) -> tuple[StreamPath, list[str]]:
    """What is named, and two URLs that name it."""
    camera, profile, track = draw(NAME), draw(st.none() | NAME), draw(st.sampled_from([None, TRACK]))
    query = draw(QUERIES)
    named = StreamPath("live", camera, profile, track)
    urls = []
    for _ in range(2):
        names = [camera, *([profile] if profile else [])]
        path = "/live/" + "/".join(draw(st.sampled_from([name, percent(name)])) for name in names)
        suffix = "" if track is None else f"/{track}"
        slash = draw(st.sampled_from(["", "/"]))
        asked = "" if query is None else f"?{query}"
        tail = (
            draw(st.sampled_from([f"{suffix}{slash}{asked}", f"{asked}{suffix}{slash}"])) if asked else suffix + slash
        )
        urls.append(f"{draw(st.sampled_from(['rtsp', 'RTSP', 'rtsps']))}://{draw(AUTHORITIES)}{path}{tail}")
    return named, urls


def percent(name: str) -> str:
    """The name with each letter percent-encoded, as nobody need and anybody may (RFC 3986 section 2.3)."""
    return "".join(f"%{ord(letter):02X}" for letter in name)


@given(spellings())
def test_every_spelling_names_the_same(given_spellings: tuple[StreamPath, list[str]]) -> None:
    # row 42, as server: slash, port, case, credentials, query on either side of the track, percent-encoding
    named, urls = given_spellings
    assert [stream_path(url) for url in urls] == [named, named]
    assert same_resource(*urls), "a digest over one is good for the other"


@given(spellings())
def test_a_base_is_clean_and_leads_back(given_spellings: tuple[StreamPath, list[str]]) -> None:
    # rows 13, 42, 43: Content-Base ends in a slash, has no credentials, and is the same resource again
    named, urls = given_spellings
    for url in urls:
        base = base_url(url)
        assert base.endswith("/")
        assert "@" not in base
        found = stream_path(base + TRACK)
        assert (found.camera, found.profile, found.track) == (named.camera, named.profile, TRACK)


@given(spellings(), st.sampled_from(["", "*", TRACK, f"/{TRACK}", "absolute"]))
def test_our_own_client_joins_a_control_to_what_a_server_reads(
    given_spellings: tuple[StreamPath, list[str]], control: str
) -> None:
    # row 42, as client: relative, absolute and "*" control, under a base with and without slash and query
    named, urls = given_spellings
    base, _ = RtspUri.parse(urls[0]).split_track()
    text = f"{base_url(urls[0])}{TRACK}" if control == "absolute" else control
    found = stream_path(str(join(base, text)))
    assert (found.camera, found.profile) == (named.camera, named.profile)
    assert found.track == (None if control in {"", "*"} else TRACK)


@given(NAME)
def test_an_encoded_slash_is_no_way_into_another_camera(name: str) -> None:
    # row 42
    with pytest.raises(UnknownCamera):
        stream_path(f"rtsp://h/live%2F{quote(name)}/x/y")


def appended(url: str, base: str) -> str:
    """As live555 does without a base: the control behind the URL that was asked for, with one slash between."""
    return f"{url}{'' if url.endswith('/') else '/'}{TRACK}"


def behind_the_query(url: str, base: str) -> str:
    """As ffmpeg does: the control behind all of the URL that was asked for, its query included."""
    return f"{url.rstrip('/')}/{TRACK}"


def before_the_query(url: str, base: str) -> str:
    """As those who resolve paths do: the query stays at the end."""
    path, question, query = url.partition("?")
    return f"{path.rstrip('/')}/{TRACK}{question}{query}"


def under_the_base(url: str, base: str) -> str:
    """As the RFC says (C.1.1): relative to Content-Base."""
    return f"{base}{TRACK}"


def with_two_slashes(url: str, base: str) -> str:
    """As those do who add a slash to a base that has one (janus#1999)."""
    return f"{base}/{TRACK}"


def of_the_whole(url: str, base: str) -> str:
    """As those do who set up the presentation itself, where it has one track: "*" is the base."""
    return base


JOINS = (appended, behind_the_query, before_the_query, under_the_base, with_two_slashes, of_the_whole)
ASKED = ("{base}", "{base}/", "{base}?x=1", "{base}/?x=1&y=/z", "rtsp://u:secret@127.0.0.1:{port}{path}?x=1")


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("joined", JOINS, ids=lambda join: join.__name__)
async def test_whichever_way_a_player_joins_base_and_control_it_plays(
    stage: Stage, asked: str, joined: Callable[[str, str], str]
) -> None:
    # row 13, T9: matrix of base, control and query, from DESCRIBE to TEARDOWN
    async with stage.player() as player:
        url = asked.format(base=player.url(PATH), port=stage.port, path=PATH)
        described = await player.ask("DESCRIBE", url, {"Accept": "application/sdp"})
        assert (described.status, described.header("content-type")) == (200, "application/sdp")
        base = described.header("content-base")
        assert base == f"{player.url(PATH)}/"
        assert sdp.parse(described.body).media[0].control == TRACK
        await plays(stage, player, joined(url, base), base)


async def plays(stage: Stage, player: RawPlayer, track_url: str, aggregate_url: str) -> None:
    answer = await player.ask("SETUP", track_url, TCP)
    assert answer.status == 200
    session = {"Session": answer.header("session").partition(";")[0]}
    assert (await player.ask("PLAY", aggregate_url, session)).status == 200
    packet = stage.send()
    await player.packets_until(1)
    assert player.packets[-1][1] == packet
    assert (await player.ask("TEARDOWN", aggregate_url, session)).status == 200
    assert stage.door.occupied == 0


@pytest.mark.parametrize("whole", ["", "/", f"/{TRACK}"])
@pytest.mark.parametrize("part", ["", "/", f"/{TRACK}"])
async def test_the_whole_and_its_only_track_are_set_up_and_played_alike(stage: Stage, whole: str, part: str) -> None:
    # row 15: 459 and 460 are for presentations of several tracks, and ours have one (L08)
    async with stage.player() as player:
        await plays(stage, player, player.url(PATH) + part, player.url(PATH) + whole)


@pytest.mark.parametrize(
    ("suffix", "status"), [("/sub", 454), ("/trackID=1", 454), ("/sub/trackID=0", 454), ("/a/b/c", 404)]
)
async def test_a_session_plays_its_own_url_alone(stage: Stage, suffix: str, status: int) -> None:
    # rows 15, 25: what is signed for one camera starts no other, and what was refused may be asked rightly
    async with stage.player() as player:
        await player.set_up(PATH)
        headers = {"Session": player.session or ""}
        assert (await player.ask("PLAY", player.url(PATH) + suffix, headers)).status == status
        assert stage.door.seats[0].done == []
        assert (await player.play(PATH)).status == 200


async def test_a_second_track_of_the_session_is_the_first_again_or_none(stage: Stage) -> None:
    # rows 14, 15: every SETUP of a session tells it and its timeout; another presentation is 459
    async with stage.player() as player:
        first = await player.ask("SETUP", player.url(PATH), TCP)
        session = first.header("session")
        assert session.endswith(";timeout=60")
        own = {"Session": session.partition(";")[0]} | TCP
        again = await player.ask("SETUP", player.url(PATH) + f"/{TRACK}", own)
        assert (again.status, again.header("session")) == (200, session)
        assert (await player.ask("SETUP", player.url(PATH) + "/sub/" + TRACK, own)).status == 459
        assert (await player.ask("SETUP", player.url(PATH) + "/trackID=1", own)).status == 404
        assert stage.door.occupied == 1


async def test_a_reader_comes_by_ipv6(stage: Stage) -> None:
    # row 41, T9: brackets in every URL, and no zone id in any
    port = await stage.server.listen("::1", 0)
    async with RawPlayer("::1", port, VIEWER) as player:
        described = await player.ask("DESCRIBE", player.url(PATH))
        assert (described.status, described.body) == (200, SDP)
        base = described.header("content-base")
        assert base == f"rtsp://[::1]:{port}{PATH}/"
        await plays(stage, player, base + TRACK, base)
        zoned = f"rtsp://[fe80::1%25eth0]:{port}/live/{CAMERA}"
        assert (await player.ask("DESCRIBE", zoned)).status == 400
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
