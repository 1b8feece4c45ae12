"""Pairs of UDP ports: even and odd, within a range, heard from the peer alone."""

from __future__ import annotations

import pytest

from halfgateway.net.datagrams import open_pair


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_pair_is_an_even_port_and_the_next(host: str) -> None:
    for _ in range(8):
        pair = open_pair(host)
        first, second = pair.ports
        pair.close()
        assert first % 2 == 0
        assert second == first + 1


def test_a_range_is_kept_to_and_may_be_full() -> None:
    probe = open_pair("127.0.0.1")
    first = probe.ports[0]
    probe.close()
    ports = range(first, first + 2)
    pair = open_pair("127.0.0.1", ports)
    assert pair.ports == (first, first + 1)
    with pytest.raises(OSError, match="no pair"):
        open_pair("127.0.0.1", ports)
    pair.close()


def test_a_range_without_an_even_port_and_its_neighbour_has_no_pair() -> None:
    with pytest.raises(OSError, match="no pair"):
        open_pair("127.0.0.1", range(20001, 20002))


def test_an_address_that_is_not_ours_is_an_error() -> None:
    with pytest.raises(OSError, match="no pair"):
        open_pair("192.0.2.1")


def test_a_connected_pair_hears_its_peer_alone() -> None:
    ours, peer, stranger = open_pair("127.0.0.1"), open_pair("127.0.0.1"), open_pair("127.0.0.1")
    ours.connect("127.0.0.1", peer.ports)
    stranger.rtp.sendto(b"stranger", ("127.0.0.1", ours.ports[0]))
    peer.rtp.sendto(b"peer", ("127.0.0.1", ours.ports[0]))
    ours.rtp.settimeout(5)
    assert ours.rtp.recv(100) == b"peer"
    ours.rtp.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.rtp.recv(100)
    ours.rtp.settimeout(None)
    ours.rtcp.send(b"report")
    peer.rtcp.settimeout(5)
    assert peer.rtcp.recv(100) == b"report"
    for pair in (ours, peer, stranger):
        pair.close()


@pytest.mark.parametrize(("host", "headers_bytes"), [("127.0.0.1", 28), ("::1", 48)])
def test_the_room_of_a_packet_is_within_the_mtu_and_nothing_is_fragmented(host: str, headers_bytes: int) -> None:
    ours, peer = open_pair(host), open_pair(host)
    ours.connect(host, peer.ports)
    assert ours.room_bytes(1500) == 1500 - headers_bytes
    path_bytes = ours.room_bytes(1 << 20)
    assert path_bytes < 1 << 17
    ours.rtp.send(bytes(min(path_bytes, 60_000)))
    for sock in (ours.rtp, ours.rtcp):
        with pytest.raises(OSError, match="too long"):
            sock.send(bytes(path_bytes + 1))
    for pair in (ours, peer):
        pair.close()
