"""What one node does to a stream that another serves: idle reclaim and the relief, between two processes (S15, S16)."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from auth.accounts import AccountRepository
from auth.enrolment import Enrolment
from auth.passwords import Passwords
from auth.principals import Role
from auth.sealing import Sealing
from auth.trace import Entry, Kind
from camera_registry.clock import SystemClock
from halfgateway.database import Database
from halfgateway.keys import NodeKeys
from tests.databases import databases
from tests.e2e.cluster import Cluster, open_cluster, until
from tests.e2e.nodes import OPERATOR, TIMINGS, Estate, ServedNode, cheap_hasher, estate, kinds_of, toml_lines
from tests.e2e.watching import Watcher
from tests.raw_player import Credentials
from tests.rights import BY, SERVICE, SITE, designation, habilitation, register_of

RELIEF = "pp-relief-01"
CAP = 2
RULE = {"after_s": 30, "reference": "PP-2026-9"}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Estate, list[ServedNode]]]:
    with estate(tmp_path_factory.mktemp("two"), TIMINGS | {"paused_s": 600.0}) as shared:
        shared.tokens["password"] = asyncio.run(enrolled_relief(shared))
        nodes = [shared.node(name) for name in "ab"]
        for node in nodes:
            document = shared.configuration(node) | {"idle_rule": RULE}
            document["convention"]["cap"] = CAP
            node.config.write_text("\n".join(toml_lines(document)))
            node._command = [sys.executable, "-m", "tests.e2e.quick_rule", str(node.config)]
        try:
            yield shared, nodes
        finally:
            for node in nodes:
                node.kill()


async def enrolled_relief(shared: Estate) -> str:
    """Put a second operator on record; their password."""
    keys, clock = NodeKeys.open(shared.folder / "secrets"), SystemClock()
    database, password = Database(databases.url(shared.records)), secrets.token_urlsafe(12)
    passwords = Passwords(random_bytes=secrets.token_bytes, hasher=cheap_hasher())
    try:
        sealing = Sealing(keys.master, random_bytes=secrets.token_bytes)
        accounts = AccountRepository(database.sessions, sealing, clock)
        enrolment = Enrolment(accounts, passwords, random_bytes=secrets.token_bytes)
        await register_of(database, clock).designate([designation(RELIEF)], [habilitation(RELIEF)], by=BY)
        await enrolment.create(RELIEF, Role.OPERATOR, password, agent=RELIEF, service=SERVICE, site=SITE)
        await enrolment.bind_certificate(RELIEF, shared.authority.client(RELIEF, datetime.now(UTC)).der)
    finally:
        passwords.close()
        await database.close()
    return password


@pytest.fixture
async def cluster(both: tuple[Estate, list[ServedNode]]) -> AsyncIterator[Cluster]:
    async with open_cluster(*both) as cluster:
        yield cluster


async def plays(cluster: Cluster, node: ServedNode) -> tuple[Watcher, str]:
    """A stream of the operator's that delivers, by ticket; its player and its id."""
    camera = cluster.estate.camera_ids[0]
    status, ticket, _ = await cluster.estate.ask(node, cluster.http, camera)
    assert status == 201, ticket
    player = await cluster.enter(node, Credentials(ticket["username"], ticket["password"]), camera)
    assert (await player.start()).status == 200
    await player.delivers()
    return player, ticket["id"]


async def told(node: ServedNode, kind: Kind, stream: str) -> Entry:
    """The entry of that kind that the node's trace has of a stream, once it has."""

    async def is_told() -> bool:
        return kind in kinds_of(await node.trace(), stream)

    await until(is_told)
    (entry,) = [entry for entry in await node.trace() if (entry.kind, entry.stream) == (kind, stream)]
    return entry


async def test_at_the_cap_a_stream_that_idles_on_one_node_gives_way_on_the_other(cluster: Cluster) -> None:
    # S16, C01: the one that plays is left alone; each node's trace tells its part
    idling, serving = cluster.nodes
    idle, first = await plays(cluster, idling)
    busy, _ = await plays(cluster, idling)
    assert await cluster.asked(serving) == (409, "cap-reached"), "none of the two has been idle for long enough"
    assert (await idle.pause()).status == 200

    async def is_granted() -> bool:
        nonlocal ticket
        status, ticket, _ = await cluster.estate.ask(serving, cluster.http, cluster.estate.camera_ids[0])
        return status == 201

    ticket: dict[str, Any] = {}
    await until(is_granted)
    async with asyncio.timeout(10):
        await idle.ended.wait()
    assert await cluster.estate.slots_used() == CAP
    stopped = await told(idling, Kind.STREAM_STOPPED, first)
    assert stopped.detail["cause"] == "gave-way"
    requested = await told(serving, Kind.STREAM_REQUESTED, ticket["id"])
    assert (requested.detail["gave_way"], requested.detail["rule"]) == (first, RULE["reference"])
    heir = await cluster.enter(serving, Credentials(ticket["username"], ticket["password"]), busy.path.split("/")[2])
    assert (await heir.start()).status == 200
    await heir.delivers()
    await busy.delivers()
    assert busy.missing_packets == 0
    for player in (heir, busy):
        assert (await player.stop()).status == 200


async def test_the_relief_takes_over_by_one_node_what_the_other_serves(cluster: Cluster) -> None:
    # S15, L19: not a packet is lost; from then on it is the relief's, by whichever node
    serving, asked = cluster.nodes
    player, stream = await plays(cluster, serving)
    relief = await logged_in(cluster, asked)
    assert (await relief("POST", f"/streams/{stream}/handover", {}))[0] == 204
    handed = await told(serving, Kind.STREAM_HANDED_OVER, stream)
    assert (handed.agent, handed.detail["from_agent"]) == (RELIEF, OPERATOR)
    assert kinds_of(await asked.trace(), stream) == []

    async def is_theirs() -> bool:
        _, seen = await relief("GET", "/streams")
        return [(view["id"], view["node"], view["agent"]) for view in seen["items"]] == [(stream, "a", RELIEF)]

    await until(is_theirs)
    assert (await cluster.estate.call(asked, cluster.http, "DELETE", f"/streams/{stream}"))[0] == 403
    await player.delivers()
    assert player.missing_packets == 0
    assert (await relief("DELETE", f"/streams/{stream}"))[0] == 204
    async with asyncio.timeout(10):
        await player.ended.wait()
    assert (await told(serving, Kind.STREAM_STOPPED, stream)).agent == RELIEF


async def logged_in(cluster: Cluster, node: ServedNode) -> Any:
    """Calls of the relief's, all to that node."""
    shared = cluster.estate
    card = shared.authority.client(RELIEF, datetime.now(UTC))
    tls = ssl.create_default_context(cafile=str(shared.authority.certificate_path))
    tls.load_cert_chain(card.certificate_path, card.key_path)
    body = {"id": RELIEF, "password": shared.tokens["password"]}
    async with cluster.http.post(f"{node.ready.https}/api/v1/login", json=body, ssl=tls) as answer:
        assert answer.status == 200, await answer.text()
        shared.tokens["relief"] = (await answer.json())["token"]
    headers = {"Authorization": f"Bearer {shared.tokens['relief']}"}

    async def call(method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        url = f"{node.ready.http}/api/v1{path}"
        async with cluster.http.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else {}

    return call


async def test_a_revoked_card_ends_what_it_opened_though_the_node_where_it_came_in_is_dead(cluster: Cluster) -> None:
    # S12: the login at one node, the picture by the other, which never met the card
    entered, serving = cluster.nodes
    camera = cluster.estate.camera_ids[0]
    relief = await logged_in(cluster, entered)
    status, ticket = await relief("POST", "/streams", {"camera": camera, "mode": "live", "reason": "L251-2-5"})
    assert status == 201, ticket
    player = await cluster.enter(serving, Credentials(ticket["username"], ticket["password"]), camera)
    assert (await player.start()).status == 200
    another, _ = await plays(cluster, serving)
    await player.delivers()
    entered.kill()
    card = cluster.estate.authority.client(RELIEF, datetime.now(UTC))
    cluster.estate.authority.write_revocation_list([card.certificate], datetime.now(UTC))
    async with asyncio.timeout(50):
        await player.ended.wait()
    assert (await told(serving, Kind.STREAM_STOPPED, ticket["id"])).detail["cause"] == "certificate-fallen"
    await another.delivers()
    assert another.missing_packets == 0

    async def is_logged_out() -> bool:
        url = f"{serving.ready.http}/api/v1/cameras"
        headers = {"Authorization": f"Bearer {cluster.estate.tokens['relief']}"}
        async with cluster.http.get(url, headers=headers) as answer:
            return answer.status == 401

    await until(is_logged_out)
    (closed,) = [entry for entry in await serving.trace() if entry.kind is Kind.SESSION_CLOSED]
    assert (closed.account, closed.detail["reason"]) == (RELIEF, "certificate-revoked")
