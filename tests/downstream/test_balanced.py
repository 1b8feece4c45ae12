"""Readers that come by a balancer: their own address counts, and their packets come by the balancer too."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator

import pytest

from halfgateway.downstream.transports import UdpService
from halfgateway.net.listener import Balancers
from tests.downstream.stage import PATH, VIEWER, Stage
from tests.downstream.tunnel_stage import opened, plays
from tests.proxy_headers import LOCAL, UNSPECIFIED, raw_v2, v1, v2
from tests.raw_player import Credentials, RawPlayer
from tests.tunnel_player import TunnelPlayer

BALANCER = "127.0.0.3"
CLIENT = "198.51.100.7"
UDP = "RTP/AVP;unicast;client_port=50000-50001"
TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    balancers = Balancers((ipaddress.ip_network(BALANCER),), lambda _source, _reason: None)
    async with opened(Stage(rtsp_over_http=True, udp=UdpService(), balancers=balancers)) as stage:
        yield stage


def player(stage: Stage, header: bytes = b"", credentials: Credentials = VIEWER) -> RawPlayer:
    source = BALANCER if header else None
    return RawPlayer("127.0.0.1", stage.port, credentials, source=source, preface=header)


@pytest.mark.parametrize("header", [v1(CLIENT), v2(CLIENT), raw_v2(LOCAL, UNSPECIFIED, b"")], ids=["v1", "v2", "local"])
async def test_datagrams_are_refused_and_tcp_is_not(stage: Stage, header: bytes) -> None:
    # T8, rows 33, 35: 461 is what lets ffmpeg and GStreamer go on by TCP
    async with player(stage, header) as balanced:
        assert (await balanced.set_up(PATH, transport=UDP)).status == 461
        answer = await balanced.set_up(PATH, transport=f"{UDP},{TCP}")
        assert (answer.status, "TCP" in answer.header("transport")) == (200, True)
        assert (await balanced.play(PATH)).status == 200
        await plays(stage, balanced)


async def test_who_comes_directly_still_gets_datagrams(stage: Stage) -> None:
    async with player(stage) as direct:
        assert (await direct.set_up(PATH, transport=UDP)).status == 200


async def test_wrong_credentials_are_the_clients_and_not_the_balancers(stage: Stage) -> None:
    # S01: who tries passwords by the balancer must not have all its clients throttled
    async with player(stage, v2(CLIENT), Credentials(VIEWER.username, "wrong")) as balanced:
        assert (await balanced.set_up(PATH)).status == 401
    assert ("wrong-credentials", VIEWER.username, CLIENT) in stage.door.noted


async def test_a_header_from_elsewhere_is_answered_as_the_rubbish_that_it_is(stage: Stage) -> None:
    for header in (v1(CLIENT), v2(CLIENT)):
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(header + b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith(b"RTSP/1.0 400 ")
        writer.close()
        await writer.wait_closed()


async def test_both_halves_of_a_tunnel_come_from_one_client(stage: Stage) -> None:
    # row 39: the balancer's address is everybody's
    tunnelled = TunnelPlayer("127.0.0.1", stage.port, VIEWER, source=BALANCER, preface=v2(CLIENT, 50001))
    async with tunnelled:
        assert (await tunnelled.set_up(PATH)).status == 200
        assert (await tunnelled.play(PATH)).status == 200
        await plays(stage, tunnelled)
        tunnelled.preface = v2("198.51.100.8")
        assert (await tunnelled.told_on_a_post()).startswith(b"HTTP/1.0 400 ")
        await plays(stage, tunnelled)
