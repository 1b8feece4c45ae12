"""No unaudited path over RTSP: every method is listed here with what it leaves in the trace, and called (T10).

A method that is added without a line here fails the test; so do an HTTP route without a call in ``test_every_route.py``
and a command without a line in ``test_every_command.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from auth.trace import Entry, Kind
from halfgateway.protocol.states import PUBLIC_METHODS, REFUSED_METHODS
from tests.e2e.conftest import Gateway, until
from tests.raw_player import RawPlayer

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNTRACED_METHODS = {
    "OPTIONS": "names the methods, and nothing else; answered to anyone",
    "GET_PARAMETER": "keeps a session alive; reads nothing",
    "SET_PARAMETER": "keeps a session alive; sets nothing",
}

TRACED_METHODS = {
    "DESCRIBE": Kind.STREAM_DESCRIBED,
    "SETUP": Kind.STREAM_REQUESTED,
    "PLAY": Kind.STREAM_STARTED,
    "PAUSE": Kind.STREAM_MOVED,
    "TEARDOWN": Kind.STREAM_STOPPED,
    "ANNOUNCE": Kind.ACTION_REFUSED,
    "RECORD": Kind.ACTION_REFUSED,
    "REDIRECT": Kind.ACTION_REFUSED,
}


async def acts(player: RawPlayer, path: str) -> dict[str, Callable[[], Awaitable[int]]]:
    """One call of each method, in an order in which each is allowed."""

    async def ask(method: str, status: int, **headers: str) -> int:
        answer = await player.ask(method, player.url(path), headers)
        assert answer.status == status, (method, answer)
        return status

    async def in_session(method: str) -> int:
        return await ask(method, 200, Session=player.session or "")

    async def set_up() -> int:
        return (await player.set_up(path)).status

    return {
        "OPTIONS": lambda: ask("OPTIONS", 200),
        "DESCRIBE": lambda: ask("DESCRIBE", 200),
        "SETUP": set_up,
        "PLAY": lambda: in_session("PLAY"),
        "GET_PARAMETER": lambda: in_session("GET_PARAMETER"),
        "SET_PARAMETER": lambda: in_session("SET_PARAMETER"),
        "PAUSE": lambda: in_session("PAUSE"),
        "TEARDOWN": lambda: in_session("TEARDOWN"),
        "ANNOUNCE": lambda: ask("ANNOUNCE", 405),
        "RECORD": lambda: ask("RECORD", 405),
        "REDIRECT": lambda: ask("REDIRECT", 405),
    }


@pytest.mark.parametrize("mode", ["live", "recorded"])
async def test_every_rtsp_method_leaves_its_entry_or_does_nothing(shared: Gateway, mode: str) -> None:
    # T10 L11 S09
    assert {*UNTRACED_METHODS, *TRACED_METHODS} == {*PUBLIC_METHODS, *REFUSED_METHODS}
    async with shared.player(shared.machine) as player:
        for method, act in (await acts(player, f"/{mode}/{shared.cameras[0]}")).items():
            before = len(await shared.trace())
            assert await act() in {200, 405}
            if method in TRACED_METHODS:
                await traced_since(shared, before, TRACED_METHODS[method])
            else:
                assert [entry for entry in (await shared.trace())[before:] if is_act(entry)] == []


async def traced_since(gateway: Gateway, size: int, kind: Kind) -> list[Entry]:
    return await gateway.traced(lambda entry: entry.n >= size and entry.kind is kind)


def is_act(entry: Entry) -> bool:
    """Whether an entry tells of what someone did, not of the node's own life."""
    return entry.kind not in {Kind.REGISTRY_CHANGED, Kind.HEARTBEAT, Kind.NODE_STARTED}


@pytest.mark.parametrize(
    ("method", "path", "status", "refusal"),
    [
        ("DESCRIBE", "/live/no-such-camera", 404, "unknown-camera"),
        ("SETUP", "/live/no-such-camera-either/trackID=0", 404, "unknown-camera"),
        ("DESCRIBE", "/recorded/{camera}?start=20200101T000000Z", 404, "outside-retention"),
        ("SETUP", "/live/{camera}/no-such-profile/trackID=0", 404, "unknown-camera"),
    ],
)
async def test_what_is_refused_is_traced_with_its_reason(
    shared: Gateway, method: str, path: str, status: int, refusal: str
) -> None:
    # C05, T10
    before = len(await shared.trace())
    async with shared.player(shared.machine) as player:
        url = player.url(path.format(camera=shared.cameras[0]))
        answer = await player.ask(method, url, {"Transport": "RTP/AVP/TCP;interleaved=0-1"})
        assert (answer.status, answer.header("x-refusal")) == (status, refusal)
    (entry,) = await traced_since(shared, before, Kind.STREAM_REFUSED)
    assert (entry.refusal, entry.account) == (refusal, shared.machine.username)
    assert await shared.slots_used() == 0


async def test_sound_is_refused_and_traced(shared: Gateway) -> None:
    # L08
    before = len(await shared.trace())
    async with shared.player(shared.machine) as player:
        answer = await player.ask(
            "SETUP", player.url(f"/live/{shared.cameras[2]}/trackID=1"), {"Transport": "RTP/AVP/TCP;interleaved=2-3"}
        )
        assert answer.status == 404
    (entry,) = await traced_since(shared, before, Kind.ACTION_REFUSED)
    assert entry.detail == {"action": "SETUP", "path": "trackID=1"}


async def test_wrong_digests_are_traced_once_a_second_with_their_count(shared: Gateway) -> None:
    # C08; ADR 2: repeated identical refusals are one entry with their count
    wrong, before = shared.machine, len(await shared.trace())
    wrong.password = "wrong"
    async with shared.player(wrong) as player:
        for _ in range(5):
            answer = await player.ask("DESCRIBE", player.url(f"/live/{shared.cameras[0]}"))
            assert answer.status == 401
    sent = 1 + 4 * 2  # the player answers the challenge, then tries the old answer before the new one

    async def all_told() -> bool:
        failed = [entry for entry in (await shared.trace())[before:] if entry.kind is Kind.AUTH_FAILED]
        assert {entry.refusal for entry in failed} <= {"unauthenticated"}
        return sum(entry.detail.get("repeated", 1) for entry in failed) == sent and len(failed) < sent

    await until(all_told)
