"""What is wrong with a node now, as the node shows it to the processes beside it: an empty file for each condition.

A file without content can still be made where the disk is full, which may be what is wrong; its time says since when.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from ops.correspondence.matters import Condition
from ops.errors import ConditionsError


class Conditions:
    """The files of one node. The methods block on the disk for milliseconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def show(self, standing: Collection[Condition]) -> None:
        """Show which conditions stand, and no other; one that stood before keeps its time. Raises ConditionsError."""
        try:
            if standing:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for condition in Condition:
                path = self._folder / condition
                if condition not in standing:
                    path.unlink(missing_ok=True)
                elif not path.exists():
                    path.touch(mode=0o600)
        except OSError as error:
            raise ConditionsError(f"{error.filename}: {error.strerror}") from error

    def standing(self) -> list[tuple[Condition, datetime]]:
        """The conditions that stand, each with the instant since when."""
        found = []
        for condition in Condition:
            try:
                at_s = (self._folder / condition).stat().st_mtime
            except OSError:
                continue
            found.append((condition, datetime.fromtimestamp(at_s, UTC)))
        return found
