"""No unaudited path: every way to act is listed here with what it leaves in the trace (T10).

A method, route or command that is added without a line here fails the test.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from auth.trace import Entry, Kind
from halfgateway.cli import MODULES
from halfgateway.protocol.states import PUBLIC_METHODS, REFUSED_METHODS
from tests.e2e.conftest import Gateway, until
from tests.raw_player import RawPlayer

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

COMMANDS = {
    "demo": Kind.NODE_STARTED,
    "serve": Kind.NODE_STARTED,
    "cut": Kind.INTERCONNECTION_CUT,
    "restore": Kind.INTERCONNECTION_RESTORED,
    "check": "reads a configuration file; touches no node",
    "simulate": "is not a gateway",
    "doctor": "pulls a camera beside the node, takes no slot and shows nobody its picture; see its help",
    "agent": Kind.AGENT_ADDED,
    "assertion-key": Kind.ASSERTION_KEY_DECLARED,
    "crl": Kind.CONFIG_CHANGED,
    "break-glass": Kind.BREAK_GLASS_ISSUED,
    "intervention": Kind.INTERVENTION_STARTED,
    "camera": "reads the inventory, finds and checks lists of devices; changes nothing that a node holds",
    "order": Kind.REGISTRY_CHANGED,
    "change": Kind.CHANGE_ANNOUNCED,
    "annex": Kind.ANNEX_INFORMED,
    "calendar": Kind.REGISTRY_CHANGED,
    "acceptance": Kind.REGISTRY_CHANGED,
    "trace": "reads a copy with the rights of whoever holds it; the node's own copy is guarded by the OS",
}
"""The commands are run with these entries asserted in test_cut.py, test_demo.py, test_agent_commands.py,
test_rights_commands.py, test_custody.py and test_life_commands.py."""


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


async def test_every_rtsp_method_leaves_its_entry_or_does_nothing(gateway: Gateway) -> None:
    # T10 L11 S09
    assert {*UNTRACED_METHODS, *TRACED_METHODS} == {*PUBLIC_METHODS, *REFUSED_METHODS}
    async with gateway.player(gateway.machine) as player:
        for method, act in (await acts(player, f"/live/{gateway.cameras[0]}")).items():
            before = len(await gateway.trace())
            assert await act() in {200, 405}
            if method in TRACED_METHODS:
                await traced_since(gateway, before, TRACED_METHODS[method])
            else:
                assert [entry for entry in (await gateway.trace())[before:] if is_act(entry)] == []


async def traced_since(gateway: Gateway, size: int, kind: Kind) -> None:
    await gateway.traced(lambda entry: entry.n >= size and entry.kind is kind)


def is_act(entry: Entry) -> bool:
    """Whether an entry tells of what someone did, not of the node's own life."""
    return entry.kind not in {Kind.REGISTRY_CHANGED, Kind.HEARTBEAT, Kind.NODE_STARTED}


@pytest.mark.parametrize(
    ("method", "path", "status", "refusal"),
    [
        ("DESCRIBE", "/live/no-such-camera", 404, "unknown-camera"),
        ("SETUP", "/live/no-such-camera/trackID=0", 404, "unknown-camera"),
        ("DESCRIBE", "/recorded/{camera}", 404, "no-recording"),
        ("SETUP", "/live/{camera}/no-such-profile/trackID=0", 404, "unknown-camera"),
    ],
)
async def test_what_is_refused_is_traced_with_its_reason(
    gateway: Gateway, method: str, path: str, status: int, refusal: str
) -> None:
    # C05, T10
    async with gateway.player(gateway.machine) as player:
        url = player.url(path.format(camera=gateway.cameras[0]))
        answer = await player.ask(method, url, {"Transport": "RTP/AVP/TCP;interleaved=0-1"})
        assert (answer.status, answer.header("x-refusal")) == (status, refusal)
    (entry,) = await gateway.traced(lambda entry: entry.kind is Kind.STREAM_REFUSED)
    assert (entry.refusal, entry.account) == (refusal, gateway.machine.username)
    assert await gateway.slots_used() == 0


async def test_sound_is_refused_and_traced(gateway: Gateway) -> None:
    # L08
    async with gateway.player(gateway.machine) as player:
        answer = await player.ask(
            "SETUP", player.url(f"/live/{gateway.cameras[2]}/trackID=1"), {"Transport": "RTP/AVP/TCP;interleaved=2-3"}
        )
        assert answer.status == 404
    (entry,) = await gateway.traced(lambda entry: entry.kind is Kind.ACTION_REFUSED)
    assert entry.detail == {"action": "SETUP", "path": "trackID=1"}


async def test_wrong_digests_are_traced_once_a_second_with_their_count(gateway: Gateway) -> None:
    # C08; interface.md: repeated identical refusals are one entry with their count
    wrong = gateway.machine
    wrong.password = "wrong"
    async with gateway.player(wrong) as player:
        for _ in range(5):
            answer = await player.ask("DESCRIBE", player.url(f"/live/{gateway.cameras[0]}"))
            assert answer.status == 401
    sent = 1 + 4 * 2  # the player answers the challenge, then tries the old answer before the new one

    async def all_told() -> bool:
        failed = [entry for entry in await gateway.trace() if entry.kind is Kind.AUTH_FAILED]
        assert {entry.refusal for entry in failed} <= {"unauthenticated"}
        return sum(entry.detail.get("repeated", 1) for entry in failed) == sent and len(failed) < sent

    await until(all_told)


def test_every_command_is_listed() -> None:
    assert set(COMMANDS) == set(MODULES)
