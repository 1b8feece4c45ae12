"""What entries declare of the journal itself, pure, and whether it counts (T03, T09, T12).

A ``trace.purged`` entry excuses what was erased, a ``trace.continued`` entry what is lost. After the last checkpoint
whoever can write the files can append either, and the next run takes it over, and signs it, with the rest of that tail.
So an entry excuses nothing until a head covers it, and never does unless that head is of the run that wrote the entry:
each run writes ``node.recovered`` or ``node.started`` before it signs for what it found.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from auth.errors import TraceDamaged
from auth.trace.checkpoint import MAX_TREE_SIZE
from auth.trace.erasure import ErasureRule
from auth.trace.kinds import Kind
from auth.trace.layout import SALT_BYTES

RUN_BEGINS = frozenset({Kind.NODE_STARTED.code, Kind.NODE_RECOVERED.code})
"""Numbers of the kinds before which a run signs for nothing that it found."""

TELLING = frozenset({Kind.TRACE_PURGED.code, Kind.TRACE_CONTINUED.code}) | RUN_BEGINS
"""Numbers of the kinds that :class:`Declarations` are made of."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a ``trace.continued`` entry says: entry ``n`` goes on after ``held`` entries; ``known`` had been seen.

    Entries ``held`` to ``known - 1`` of the history before are lost.
    """

    n: int
    held: int
    known: int

    @classmethod
    def from_salted(cls, n: int, salted: bytes) -> Continuation:
        """Read one from entry ``n``. Raises ValueError where the entry does not say it."""
        try:
            detail = json.loads(salted[SALT_BYTES:])["detail"]
            said = cls(n, detail["held"], detail["known"]["size"])
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError("elle ne dit pas ce qui est perdu") from error
        if not (
            type(said.held) is int
            and type(said.known) is int
            and 0 <= said.held <= n
            and said.held < said.known < MAX_TREE_SIZE
        ):
            raise ValueError("ce qu'elle dit perdu ne peut l'être")
        return said

    def covers(self, size: int) -> bool:
        """Tell whether a head of this size may be of the history that was lost."""
        return self.held < size <= self.known

    def __str__(self) -> str:
        return f"les entrées {self.held} à {self.known - 1} de ce qui fut signé sont perdues, l'entrée {self.n} le dit"


class Declarations:
    """The declarations of a journal that is read forward; ``rules`` and ``continuations`` are those that count."""

    def __init__(self) -> None:
        self.rules: list[ErasureRule] = []
        self.continuations: list[Continuation] = []
        self._unsigned: dict[int, ErasureRule | Continuation] = {}

    @property
    def unsigned(self) -> tuple[int, ...]:
        """The numbers of the entries whose declarations await the head of their run."""
        return tuple(self._unsigned)

    def take(self, n: int, code: int, salted: bytes | None) -> None:
        """Take in entry ``n``, of one of the :data:`TELLING` kinds; an erased one declares nothing.

        Raises TraceDamaged where it does not say what it is to say.
        """
        if code in RUN_BEGINS:
            self._unsigned.clear()
            return
        if salted is None:
            return
        purged = code == Kind.TRACE_PURGED.code
        try:
            self._unsigned[n] = (ErasureRule if purged else Continuation).from_salted(n, salted)
        except ValueError as error:
            what = "a été éliminé" if purged else "est perdu"
            raise TraceDamaged(f"l'entrée {n} ne dit pas ce qui {what} : {error}", first_bad=n) from error

    def sign(self) -> None:
        """Have everything that was taken in by now covered by a head."""
        for declared in self._unsigned.values():
            if isinstance(declared, ErasureRule):
                self.rules.append(declared)
            else:
                self.continuations.append(declared)
        self._unsigned.clear()
