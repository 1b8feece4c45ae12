"""The ``Session`` header: an id, and how long it lives without a sign of life (RFC 2326 section 12.37)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from halfgateway.errors import RemoteProtocolError

#: Characters of a session id. Servers use 8 to 64; a longer one is refused, as it is sent back each time.
MAX_SESSION_ID_CHARACTERS: Final = 256

_ID = re.compile(r"[\x21-\x3a\x3c-\x7e]+")
_TIMEOUT = re.compile(r"\s*timeout\s*=\s*\"?(?P<seconds>[0-9]{1,6})\"?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Session:
    """A session id, and the server's timeout in seconds where it names one (above 0).

    Ids are opaque: RFC 2326 allows few characters, cameras use more, and what came is sent back.
    """

    id: str
    timeout_s: int | None = None

    @classmethod
    def parse(cls, value: str) -> Session:
        """Read the header's value; unknown parameters are ignored.

        Raises:
            RemoteProtocolError: no id, or one that cannot be sent back.
        """
        identifier, *parameters = (part.strip() for part in value.split(";"))
        if len(identifier) > MAX_SESSION_ID_CHARACTERS or _ID.fullmatch(identifier) is None:
            raise RemoteProtocolError("not a session id")
        found = next((match for text in parameters if (match := _TIMEOUT.fullmatch(text))), None)
        return cls(identifier, int(found["seconds"]) or None if found else None)

    def __str__(self) -> str:
        return self.id if self.timeout_s is None else f"{self.id};timeout={self.timeout_s}"
