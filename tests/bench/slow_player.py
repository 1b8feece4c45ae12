"""A raw reader over RTSPS that takes 2 Mb/s and no more, out of a kernel buffer of 64 KiB.

``slow_player.py URL USERNAME PASSWORD AUTHORITY CERTIFICATE KEY``. A byte of standard output says that it has read
again; its last words are JSON on standard error: ``{"reads": [[instant, bytes], …], "ended": "reset" | "fin"}``, its
last reads in monotonic seconds.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from halfgateway.protocol import digest

RECEIVE_BUFFER_BYTES: Final = 64 * 1024
RATE_BPS: Final = 2e6
READ_BYTES: Final = 4096
CATCHES_UP_S: Final = 0.05
"""How late it may be and still keep the rate: it is not alone on the machine."""

KEPT_READS: Final = 500
"""Of the last eight seconds."""

LIMIT_S: Final = 30.0


class RefusedError(RuntimeError):
    """The server has refused: its status and why."""


class SlowPlayer:
    """One connection: TLS in memory, so that what is read of the socket, and when, is ours to say."""

    def __init__(self, url: str, username: str, password: str, context: ssl.SSLContext) -> None:
        address = urlsplit(url)
        self._url, self._username, self._password = url, username, password
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._socket.settimeout(LIMIT_S)
        self._socket.connect((address.hostname, address.port))
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=address.hostname)
        self._challenge: digest.Challenge | None = None
        self._cseq = 0
        self.reads: deque[tuple[float, int]] = deque(maxlen=KEPT_READS)

    def play(self) -> None:
        """As far as the answer to PLAY. Raises RefusedError, OSError."""
        while not self._shaken_hands():
            self._exchange()
        self._ask("DESCRIBE", self._url, {"Accept": "application/sdp"})
        transport = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
        session = self._ask("SETUP", self._url + "/trackID=0", transport)["session"].partition(";")[0]
        self._ask("PLAY", self._url, {"Session": session})

    def read_to_end(self) -> str:
        """Read at the rate until it ends; says how: ``reset`` or ``fin``."""
        due_s = time.monotonic()
        try:
            while data := self._socket.recv(READ_BYTES):
                now_s = time.monotonic()
                self.reads.append((now_s, len(data)))
                os.write(sys.stdout.fileno(), b".")
                due_s = max(due_s, now_s - CATCHES_UP_S) + len(data) * 8 / RATE_BPS
                time.sleep(max(0.0, due_s - now_s))
        except ConnectionResetError:
            return "reset"
        return "fin"

    def _shaken_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _exchange(self) -> None:
        self._socket.sendall(self._outgoing.read())
        self._incoming.write(self._socket.recv(READ_BYTES))

    def _ask(self, method: str, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        status, answer = self._answer_to(method, url, headers)
        if status == 401:
            self._challenge = digest.best(digest.parse_challenges([answer["www-authenticate"]]))
            status, answer = self._answer_to(method, url, headers)
        if status != 200:
            raise RefusedError(f"{method}: {status} {answer.get('x-refusal', '')}")
        return answer

    def _answer_to(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        self._cseq += 1
        lines = {"CSeq": str(self._cseq), **headers}
        if self._challenge is not None:
            lines["Authorization"] = digest.authorise(
                self._challenge,
                self._username,
                self._password,
                method,
                url,
                nonce_count=self._cseq,
                cnonce=secrets.token_hex(8),
            )
        request = [f"{method} {url} RTSP/1.0", *(f"{name}: {value}" for name, value in lines.items()), "", ""]
        self._tls.write("\r\n".join(request).encode())
        text = self._read_until_message()
        status_line, *fields = text.split("\r\n")
        answer: dict[str, str] = {}
        for name, _, value in (field.partition(":") for field in fields):
            answer[name.lower()] = ", ".join(filter(None, (answer.get(name.lower()), value.strip())))
        return int(status_line.split(" ")[1]), answer

    def _read_until_message(self) -> str:
        """The head of the next answer; its body is taken too, and what follows PLAY's answer with it."""
        data = b""
        while b"\r\n\r\n" not in data or not _is_whole(data):
            try:
                data += self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                self._exchange()
        return data.partition(b"\r\n\r\n")[0].decode()


def _is_whole(data: bytes) -> bool:
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return not lengths or len(body) >= int(lengths[0])


def main(url: str, username: str, password: str, authority: str, certificate: str, key: str) -> int:
    """Play to the end; 1 where nothing may be had."""
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    player = SlowPlayer(url, username, password, context)
    try:
        player.play()
    except RefusedError as error:
        print(error, file=sys.stderr)
        return 1
    ended = player.read_to_end()
    print(json.dumps({"reads": list(player.reads), "ended": ended}), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
