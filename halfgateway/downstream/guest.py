"""What the RTSP server knows of whoever is connected, whichever protocol they turn out to speak."""

from __future__ import annotations

from collections.abc import Sized
from typing import Protocol


class Guest(Protocol):
    """One TCP connection. Times are monotonic, in seconds."""

    @property
    def authenticated(self) -> bool:
        """Whether a request of theirs has proved a name; a stranger has a deadline for it."""

    @property
    def opened_at_s(self) -> float:
        """When the connection was made."""

    @property
    def last_heard_s(self) -> float:
        """When the last whole request or frame came."""

    @property
    def sessions(self) -> Sized:
        """The RTSP sessions that it serves."""

    def abort(self) -> None:
        """Reset it, and what belongs to it."""
