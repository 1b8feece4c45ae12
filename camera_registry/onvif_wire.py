"""What a node and its ONVIF process say to each other over their socket pair.

Each message is four bytes of length, most significant first, then one JSON object whose ``op`` names its kind. Nothing
else crosses: no object of either process, and no password but within a call, from the node to the process.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from camera_registry.connections import Credentials
from camera_registry.errors import (
    AuthRejected,
    ClientLost,
    ForbiddenHost,
    Locked,
    Malformed,
    NoSuchRecording,
    NotSupported,
    NoVideo,
    RegistryError,
    Timeout,
    Unreachable,
)
from camera_registry.onvif_port import RecordingQuery, VideoProfile

MAX_FRAME_BYTES: Final = 1024 * 1024
"""Length of a message. The longest are ten days of a recorder's gaps, some hundred kilobytes; a device that makes a
longer one is malformed, and a process that sends one is ended."""

ERRORS: Final = {
    error.cause: error
    for error in (
        AuthRejected,
        ClientLost,
        ForbiddenHost,
        Locked,
        Malformed,
        NotSupported,
        NoSuchRecording,
        NoVideo,
        Timeout,
        Unreachable,
    )
}
"""The errors that a call can end with, by the cause that stands for each in a message."""

_LENGTH: Final = struct.Struct(">I")


class WireError(Exception):
    """The other side sent what is no message; it is not spoken with any further."""


class Method(StrEnum):
    """What a device is asked: the calls of :class:`~camera_registry.onvif_port.OnvifPort` and, from
    ``RECORDINGS`` on, of :class:`~camera_registry.onvif_port.RecorderPort`."""

    CLOCK = "clock"
    DEVICE_INFORMATION = "device_information"
    PROFILES = "profiles"
    STREAM_URL = "stream_url"
    REQUEST_KEYFRAME = "request_keyframe"
    RECORDINGS = "recordings"
    RECORDING = "recording"
    STATE_CHANGES = "state_changes"
    REPLAY_URL = "replay_url"
    REVERSES = "reverses"


class Outcome(StrEnum):
    """What became of credentials that were sent to a device."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The first message: which hosts may be asked, and how long each may take for one answer, in seconds."""

    op: Literal["begin"] = "begin"
    hosts: tuple[str, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Ask the device of a session, which is opened if it is not open; ``number`` is that of the answer.

    ``clock_offset_s`` is what an earlier process read of the device's clock.
    """

    op: Literal["call"] = "call"
    number: int
    session: int
    url: str
    credentials: Credentials | None
    clock_offset_s: float
    method: Method
    profile: VideoProfile | None = None
    recording: RecordingQuery | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Nobody waits for the answer to that call any more."""

    op: Literal["cancel"] = "cancel"
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Close the device of that session."""

    op: Literal["close"] = "close"
    session: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Whether that try may be made; ``refusal`` says why not."""

    op: Literal["permit"] = "permit"
    number: int
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Say that you live."""

    op: Literal["ping"] = "ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call gave."""

    op: Literal["answer"] = "answer"
    number: int
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The error that a call ended with: its cause and its words."""

    op: Literal["failure"] = "failure"
    number: int
    cause: str
    words: str

    def error(self) -> RegistryError:
        """Return the error itself. Raises WireError for a cause that there is not."""
        if self.cause not in ERRORS:
            raise WireError("an error that nobody declared")
        return ERRORS[self.cause](self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """May the credentials of that session be sent to its device? The node remembers which were refused."""

    op: Literal["try"] = "try"
    number: int
    session: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What became of that try; also told of one that was given up."""

    op: Literal["tried"] = "tried"
    number: int
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """The answer to a ping."""

    op: Literal["pong"] = "pong"


FromNode: TypeAlias = Begin | Call | Cancel | Close | Permit | Ping
FromProcess: TypeAlias = Answer | Failure | Try | Tried | Pong

FROM_NODE: Final[TypeAdapter[FromNode]] = TypeAdapter(Annotated[FromNode, Field(discriminator="op")])
FROM_PROCESS: Final[TypeAdapter[FromProcess]] = TypeAdapter(Annotated[FromProcess, Field(discriminator="op")])


def frame_of(message: FromNode | FromProcess) -> bytes:
    """Return a message as it is sent. Raises WireError if it is longer than may be."""
    kind: TypeAdapter[Any] = FROM_NODE if isinstance(message, FromNode) else FROM_PROCESS
    try:
        content = kind.dump_json(message)
    except PydanticSerializationError as error:
        raise WireError("a message that cannot be written") from error
    if len(content) > MAX_FRAME_BYTES:
        raise WireError(f"a message of {len(content)} bytes")
    return _LENGTH.pack(len(content)) + content


async def read_message(reader: asyncio.StreamReader, kind: TypeAdapter[Any]) -> Any:
    """Return the next message, None at the end. Raises WireError for what is none."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MAX_FRAME_BYTES:
            raise WireError(f"a message of {length} bytes is announced")
        return kind.validate_json(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except ValidationError:
        raise WireError("what was sent is no message") from None  # the error would quote it, passwords included
