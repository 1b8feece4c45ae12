"""What real players said, taken apart into steps and addressed to a camera of the gateway."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from halfgateway.protocol.connection import NEED_DATA, Connection, Role
from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.protocol.messages import Request
from tests.protocol.feeding import corpus

SESSION = "{session}"
"""Stands for the session that the gateway will have given by then."""

Fields: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One request, not yet signed or numbered by anyone: every part may be nonsense."""

    method: str
    uri: str
    fields: Fields
    body: bytes = b""

    def bytes(self, session: str) -> bytes:
        """As it goes on the wire, without ``Authorization``; what is no Latin-1 goes as UTF-8."""
        lines = [f"{self.method} {self.uri} RTSP/1.0"]
        lines += [f"{name}: {value.replace(SESSION, session)}" for name, value in self.fields]
        head = "\r\n".join([*lines, "", ""])
        try:
            return head.encode("latin-1") + self.body
        except UnicodeEncodeError:
            return head.encode("utf-8", "surrogateescape") + self.body


Item: TypeAlias = Step | bytes
"""A request, or interleaved frames as they stood on the wire."""


def transcripts(url: str) -> list[list[Item]]:
    """Every client's side of the corpus and a whole live session, all about the camera at ``url``."""
    found = [_items(data, url) for data in corpus("client.bin", "requests.rtsp", "bare-lf.rtsp").values()]
    found.append(whole_session(url))
    return found


def whole_session(url: str) -> list[Item]:
    """Each method that a live session knows, in an order in which all succeed."""
    session, track = (("Session", SESSION),), (("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1"),)
    asked: list[tuple[str, str, Fields]] = [
        ("OPTIONS", url, ()),
        ("DESCRIBE", url, (("Accept", "application/sdp"),)),
        ("SETUP", f"{url}/trackID=0", track),
        ("PLAY", url, (*session, ("Range", "npt=0.000-"))),
        ("GET_PARAMETER", url, session),
        ("PAUSE", url, session),
        ("PLAY", url, session),
        ("SET_PARAMETER", url, session),
        ("TEARDOWN", url, session),
    ]
    return [
        Step(method, uri, (("CSeq", str(number)), *fields)) for number, (method, uri, fields) in enumerate(asked, 1)
    ]


def _items(data: bytes, url: str) -> list[Item]:
    connection = Connection(Role.SERVER)
    connection.receive_data(data)
    items: list[Item] = []
    while (event := connection.next_event()) is not NEED_DATA:
        if isinstance(event, InterleavedBatch):
            items.append(event.data)
        elif isinstance(event, Request):
            items.append(_addressed(event, url))
    return items


def _addressed(request: Request, url: str) -> Step:
    dropped = {"authorization", "content-length"}
    fields = [(name, SESSION if name.lower() == "session" else value) for name, value in request.headers]
    kept = tuple((name, value) for name, value in fields if name.lower() not in dropped)
    last = request.uri.rstrip("/").rpartition("/")[2]
    step = Step(request.method, request.uri, kept, request.body)
    if step.uri != "*":
        step = replace(step, uri=f"{url}/trackID={last[-1]}" if last.startswith("stream=") else url)
    if request.body:
        step = replace(step, fields=(*kept, ("Content-Length", str(len(request.body)))))
    return step
