"""libcurl as an RTSP player: ``curl_player.py URL USER PASSWORD PICTURES``, run by the peers' Python.

It writes to its standard output the description, a line that says ``frames``, and the interleaved frames as they came,
until so many pictures have ended. libcurl has the requests, Digest and the framing; what is in the packets is for its
user to know.
"""

from __future__ import annotations

import sys

import pycurl

CONNECT_TIMEOUT_S = 20
TRANSPORT = "RTP/AVP/TCP;unicast;interleaved=0-1"
RTP_CHANNEL = 0
MARKER = 0x80


class Player:
    """One connection; ``bodies`` are those of answers, and interleaved frames, which libcurl gives the same way."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url
        self.bodies = bytearray()
        self._curl = pycurl.Curl()
        self._curl.setopt(pycurl.URL, url)
        self._curl.setopt(pycurl.USERNAME, user)
        self._curl.setopt(pycurl.PASSWORD, password)
        self._curl.setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_DIGEST)
        self._curl.setopt(pycurl.TIMEOUT, CONNECT_TIMEOUT_S)
        self._curl.setopt(pycurl.OPT_RTSP_TRANSPORT, TRANSPORT)
        self._curl.setopt(pycurl.HEADERFUNCTION, lambda _: None)
        self._curl.setopt(pycurl.WRITEFUNCTION, self.bodies.extend)

    def ask(self, request: int, uri: str = "") -> None:
        """Exits with the answer's status unless it is 200."""
        self._curl.setopt(pycurl.OPT_RTSP_REQUEST, request)
        self._curl.setopt(pycurl.OPT_RTSP_STREAM_URI, uri or self._url)
        self._curl.perform()
        status = self._curl.getinfo(pycurl.RESPONSE_CODE)
        if status != 200:
            sys.exit(f"libcurl was answered {status}")

    def receive(self) -> None:
        """Wait for some interleaved frames."""
        self._curl.setopt(pycurl.OPT_RTSP_REQUEST, pycurl.RTSPREQ_RECEIVE)
        self._curl.perform()


def pictures(frames: bytes) -> int:
    """How many pictures end in whole frames."""
    count = position = 0
    while position + 4 <= len(frames):
        size = int.from_bytes(frames[position + 2 : position + 4], "big")
        packet = frames[position + 4 : position + 4 + size]
        count += frames[position + 1] == RTP_CHANNEL and len(packet) == size and packet[1] & MARKER != 0
        position += 4 + size
    return count


def main(url: str, user: str, password: str, wanted: str) -> None:
    player = Player(url, user, password)
    player.ask(pycurl.RTSPREQ_OPTIONS)
    player.ask(pycurl.RTSPREQ_DESCRIBE)
    description = bytes(player.bodies)
    player.ask(pycurl.RTSPREQ_SETUP, f"{url}/trackID=0")
    player.bodies.clear()
    player.ask(pycurl.RTSPREQ_PLAY)
    while pictures(bytes(player.bodies)) < int(wanted):
        player.receive()
    sys.stdout.buffer.write(description + b"frames\n" + player.bodies)
    player.ask(pycurl.RTSPREQ_TEARDOWN)


if __name__ == "__main__":
    main(*sys.argv[1:])
