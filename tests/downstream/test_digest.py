"""Who speaks: challenges to the byte, the URLs that clients sign, nonces that grow old (rows 44-49)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import AsyncExitStack

import pytest

from halfgateway.errors import InterconnectionCut, UnknownCamera
from halfgateway.protocol.states import PUBLIC_METHODS, REFUSED_METHODS
from tests.downstream.stage import NONCE_LIFE_S, OTHER, PATH, SDP, STRANGER, VIEWER, Stage
from tests.raw_player import Answer, Credentials, RawPlayer

NONCE = r"[0-9a-f]{44}"
TRANSPORT = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}


def digest(
    credentials: Credentials,
    nonce: str,
    method: str,
    uri: str,
    *,
    algorithm: str | None = None,
    realm: str = "halfgateway",
) -> str:
    """An Authorization value, as a client of that algorithm computes it (RFC 2617, RFC 7616)."""
    name = "sha256" if algorithm == "SHA-256" else "md5"

    def h(text: str) -> str:
        return hashlib.new(name, text.encode()).hexdigest()

    secret = h(f"{credentials.username}:{realm}:{credentials.password}")
    response = h(f"{secret}:{nonce}:{h(f'{method}:{uri}')}")
    suffix = f", algorithm={algorithm}" if algorithm else ""
    return (
        f'Digest username="{credentials.username}", realm="{realm}", nonce="{nonce}", uri="{uri}", '
        f'response="{response}"{suffix}'
    )


async def nonce_of(player: RawPlayer) -> str:
    answer = await player.ask("DESCRIBE", player.url(PATH))
    found = re.search(rf'nonce="({NONCE})"', answer.headers["www-authenticate"][-1])
    assert found is not None
    return found[1]


async def described(player: RawPlayer, authorization: str) -> Answer:
    return await player.ask("DESCRIBE", player.url(PATH), {"Authorization": authorization})


async def test_the_challenges_are_these_bytes_in_this_order(stage: Stage) -> None:
    # rows 44, 45, T6: SHA-256 first; MD5 last, as VLC's sscanf reads it
    async with stage.player(None) as player:
        answer = await player.ask("DESCRIBE", player.url(PATH))
    assert answer.status == 401
    sha256, md5 = answer.headers["www-authenticate"]
    assert re.fullmatch(rf'Digest realm="halfgateway", nonce="{NONCE}", algorithm=SHA-256', sha256)
    assert re.fullmatch(rf'Digest realm="halfgateway", nonce="{NONCE}"', md5)
    assert re.search(rb'\r\nWWW-Authenticate: Digest realm="halfgateway", nonce="[0-9a-f]{44}"\r\n', player.captured)
    assert answer.header("x-refusal") == "unauthenticated"
    assert not answer.body


@pytest.mark.parametrize("algorithm", [None, "MD5", "SHA-256"])
async def test_each_algorithm_that_is_offered_is_taken(stage: Stage, algorithm: str | None) -> None:
    # row 44
    async with stage.player(None) as player:
        nonce = await nonce_of(player)
        proof = digest(VIEWER, nonce, "DESCRIBE", player.url(PATH), algorithm=algorithm)
        answer = await described(player, proof)
        assert (answer.status, answer.body) == (200, SDP)


async def test_every_method_but_options_wants_a_proof(stage: Stage) -> None:
    # rows 11, 48
    async with stage.player(None) as player:
        assert (await player.ask("OPTIONS", player.url(PATH))).status == 200
        for method in (*PUBLIC_METHODS[1:], *REFUSED_METHODS, "FLY"):
            assert (await player.ask(method, player.url(PATH), TRANSPORT)).status == 401
    assert stage.door.seats == []


async def test_a_session_alone_proves_nothing(stage: Stage) -> None:
    # row 26, 48: each request of a session bears its own proof
    async with stage.player() as player:
        await player.set_up(PATH)
        player.credentials = None
        for method in ("PLAY", "TEARDOWN"):
            assert (await player.ask(method, player.url(PATH), {"Session": player.session or ""})).status == 401
    assert "leave" not in stage.door.seats[0].done


async def test_wrong_credentials_look_alike_and_are_noted(stage: Stage) -> None:
    # C08, row 49: neither names nor cameras can be told apart
    async with stage.player(None) as player:
        nonce = await nonce_of(player)
        answers = []
        for who in (STRANGER, Credentials("nobody", "x")):
            for path in (PATH, "/live/none"):
                proof = {"Authorization": digest(who, nonce, "DESCRIBE", player.url(path))}
                answers.append(await player.ask("DESCRIBE", player.url(path), proof))
    assert {answer.status for answer in answers} == {401}
    assert {tuple(sorted(answer.headers)) for answer in answers} == {("cseq", "www-authenticate", "x-refusal")}
    assert stage.door.noted == [
        ("wrong-credentials", name, "127.0.0.1") for name in ("viewer", "viewer", "nobody", "nobody")
    ]


@pytest.mark.parametrize("status", [401, 404, 503], ids=["open", "unknown", "cut"])
async def test_who_has_proved_nothing_is_answered_from_memory(stage: Stage, status: int) -> None:
    # row 49, section 1.7: nothing is looked up for them, so that neither word nor time tells what there is
    stage.door.refuses = {401: None, 404: UnknownCamera(), 503: InterconnectionCut()}[status]
    for credentials in (None, STRANGER):
        async with stage.player(credentials) as player:
            for method in (*PUBLIC_METHODS[1:], "ANNOUNCE", "FLY"):
                for path in (PATH, "/live/none", "/nothing/at/all"):
                    answer = await player.ask(method, player.url(path), TRANSPORT | {"Require": "onvif-replay"})
                    assert (answer.status, answer.header("x-refusal")) == (401, "unauthenticated")
    assert stage.door.looked_up == 0
    assert {note[0] for note in stage.door.noted} == {"wrong-credentials"}


async def test_guessing_a_name_locks_out_neither_it_nor_others(stage: Stage) -> None:
    # T6, S03: hundreds of guesses at one name, from the same address
    guesses = 300

    async def guess(player: RawPlayer) -> None:
        for number in range(guesses // 3):
            player.credentials = Credentials(VIEWER.username, f"guess {number}")
            assert (await player.ask("DESCRIBE", player.url(PATH))).status == 401

    async with AsyncExitStack() as life:
        guessing = [asyncio.create_task(guess(await life.enter_async_context(stage.player(None)))) for _ in range(3)]
        answered = 0
        while not all(task.done() for task in guessing):
            for credentials in (VIEWER, OTHER):
                async with stage.player(credentials) as player:
                    assert (await player.ask("DESCRIBE", player.url(PATH))).status == 200
                    answered += 1
        await asyncio.gather(*guessing)
    assert answered >= 10
    assert len(stage.door.noted) >= guesses
    async with stage.player() as player:
        assert (await player.set_up(PATH)).status == 200
        assert (await player.play(PATH)).status == 200


@pytest.mark.parametrize("part", ["method", "uri", "nonce", "user"])
async def test_a_proof_is_good_for_what_it_signs(stage: Stage, part: str) -> None:
    # row 46: lenient of form, still bound to method and resource
    async with stage.player(None) as player:
        nonce, url = await nonce_of(player), player.url(PATH)
        proofs = {
            "method": digest(VIEWER, nonce, "SETUP", url),
            "uri": digest(VIEWER, nonce, "DESCRIBE", player.url("/live/none")),
            "nonce": digest(VIEWER, nonce[:-1] + ("0" if nonce[-1] != "0" else "1"), "DESCRIBE", url),
            "user": digest(VIEWER, nonce, "DESCRIBE", url).replace("viewer", OTHER.username),
        }
        assert (await described(player, proofs[part])).status == 401


@pytest.mark.parametrize(
    ("asked", "signed"),
    [
        ("{url}", "/live/cam-1"),
        ("{url}", "{url}/"),
        ("{url}/", "{url}"),
        ("{url}/trackID=0", "{url}/"),
        ("{url}/trackID=0", "{url}"),
        ("{url}?x=1/trackID=0", "{url}?x=1"),
    ],
    ids=["bosch", "vlc", "slash", "vlc-setup", "happytime", "query"],
)
async def test_forms_in_which_clients_sign_one_url(stage: Stage, asked: str, signed: str) -> None:
    # row 46, T6
    async with stage.player(None) as player:
        nonce, url = await nonce_of(player), player.url(PATH)
        proof = digest(VIEWER, nonce, "SETUP", signed.format(url=url))
        answer = await player.ask("SETUP", asked.format(url=url), TRANSPORT | {"Authorization": proof})
        assert answer.status == 200


async def test_an_old_nonce_is_renewed_without_asking_anyone(stage: Stage) -> None:
    # row 47, T6: stale, unquoted, last
    async with stage.player() as player:
        await player.set_up(PATH)
        stage.clocks.wall_s += NONCE_LIFE_S + 1
        await player.send(player.request("GET_PARAMETER", player.url(PATH)))
        stale = await player.next_answer()
        sha256, md5 = stale.headers["www-authenticate"]
        assert re.fullmatch(rf'Digest realm="halfgateway", nonce="{NONCE}", algorithm=SHA-256, stale=true', sha256)
        assert re.fullmatch(rf'Digest realm="halfgateway", nonce="{NONCE}", stale=true', md5)
        assert (await player.play(PATH)).status == 200
    assert stage.door.noted == []


async def test_a_wrong_proof_under_an_old_nonce_is_wrong(stage: Stage) -> None:
    # row 47
    async with stage.player(STRANGER) as player:
        await player.ask("DESCRIBE", player.url(PATH))
        stage.clocks.wall_s += NONCE_LIFE_S + 1
        await player.send(player.request("DESCRIBE", player.url(PATH)))
        answer = await player.next_answer()
        assert "stale" not in " ".join(answer.headers["www-authenticate"])
