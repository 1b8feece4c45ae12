"""A folder instead of a mail server: each mail becomes a file. For the demo alone, which writes to nobody."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ops.appended import place_durably
from ops.notices.conversation import Conversation, Letter

_NOT_IN_A_NAME = re.compile(rb"[^A-Za-z0-9._-]")
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([^>@\s]{1,120})", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FolderRoute:
    """Keeps each mail as ``<its Message-ID's first part>.<hash>.eml``; the same bytes are the same file.

    See :class:`~ops.notices.conversation.Route`.
    """

    name: str
    folder: Path

    async def converse(self, letter: Letter, *, limit_s: float) -> Conversation:
        """See :class:`~ops.notices.conversation.Route`."""
        path = self.folder / f"{_stem(letter.content)}.{hashlib.sha256(letter.content).hexdigest()[:12]}.eml"
        try:
            await asyncio.to_thread(self._keep, path, letter.content)
        except OSError as error:
            return Conversation("folder", None, f"*: {path.name}: {error.strerror}", "unreachable")
        evidence = f"250 kept as {path.name}"
        return Conversation("folder", None, f"S: {evidence}", "taken", dict.fromkeys(letter.recipients, evidence))

    def _keep(self, path: Path, content: bytes) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place_durably(path, content, os.fsync)


def _stem(content: bytes) -> str:
    found = _MESSAGE_ID.search(content)
    return _NOT_IN_A_NAME.sub(b"_", found[1]).decode("ascii") if found is not None else "mail"
