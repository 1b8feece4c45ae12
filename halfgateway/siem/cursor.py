"""Up to where a collector has been sent the trace: one small file, replaced whole and fsynced.

The journal itself is the spool: it is durable, ordered, and bounded by its own retention. What the cursor has not
passed is sent again, so that nothing is lost and some may come twice; ``metadata.uid`` tells.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from halfgateway.errors import HalfGatewayError


class CursorDamaged(HalfGatewayError):
    """The file is not what was written."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """``proven``: entries before it were read by the collector; ``settled``: where the last session to its proof began.

    After a break it is gone on with from ``settled``: what the collector had read last, it may have lost with its
    memory.
    """

    settled: int = 0
    proven: int = 0


class CursorFile:
    """The cursor of one collector. Blocking."""

    def __init__(self, path: Path, collector: str) -> None:
        self._path = path
        self._collector = collector

    def read(self) -> Cursor:
        """Return the cursor; another collector than the file is about begins with the first entry.

        Raises CursorDamaged, OSError.
        """
        try:
            members = json.loads(self._path.read_bytes())
            collector, cursor = members.pop("collector"), Cursor(**members)
            if not 0 <= cursor.settled <= cursor.proven:
                raise ValueError("its numbers are in no order")
        except FileNotFoundError:
            return Cursor()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CursorDamaged(f"{self._path} is damaged; without it the trace is sent anew: {error}") from error
        return cursor if collector == self._collector else Cursor()

    def write(self, cursor: Cursor) -> None:
        """Replace the cursor; it is durable when this returns. Raises OSError."""
        beside = self._path.with_suffix(".new")
        with beside.open("w", encoding="ascii") as file:
            json.dump({"collector": self._collector, **asdict(cursor)}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
