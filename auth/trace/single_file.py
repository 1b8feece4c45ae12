"""``halfgateway-verify``: the verifier's own modules as one file, so that nothing is written twice (T06).

The definitions that the command needs are taken over word for word, in the order in which they depend on each other;
imports between our modules fall away, those of the standard library and of ``cryptography`` come first.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

from auth import errors, revocation
from auth.trace import (
    canonical,
    checkpoint,
    declarations,
    dossier,
    erasure,
    kinds,
    layout,
    lock,
    notes,
    proofs,
    scan,
    timestamp,
    tree,
    verifier,
    verify,
    witness,
)
from camera_registry import clock

MODULES = (
    *(errors, revocation, clock, tree, layout, canonical, kinds, lock, erasure, checkpoint, notes, proofs),
    *(witness, timestamp, scan, declarations, verify, dossier, verifier),
)
"""What the file is made of, each after those that it imports."""

OURS = frozenset({"auth", "camera_registry"})
ENTRY_POINT = "main"

_HEAD = '''#!/usr/bin/env python3
"""halfgateway-verify : vérifie hors ligne un journal des accès ou un dossier de preuve.

Il lui faut CPython 3.11 ou plus récent et le paquet « cryptography » ; ni réseau, ni base de données, ni rien de
l'exploitant. « python3 halfgateway-verify --help » dit le reste. Ce fichier est engendré à partir des modules de
vérification de la Demi-Passerelle, repris mot pour mot ; le format est décrit dans docs/trace.md.
"""
'''

_TAIL = """if __name__ == "__main__":
    sys.exit(main())
"""


class NotOneFile(Exception):
    """The modules cannot be one file: a name is in two of them, or an import is not of a kind that falls away."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A top-level statement with the comments before and the docstring after it, what it binds and what it uses."""

    text: str
    binds: frozenset[str]
    uses: frozenset[str]


def single_file() -> str:
    """Return the verifier as one file's text. Raises NotOneFile."""
    imports: dict[str, str] = {}
    pieces: list[tuple[str, list[_Piece]]] = []
    for module in MODULES:
        source = inspect.getsource(module)
        body = ast.parse(source).body[1:]
        imports |= _imports(module, body)
        pieces.append((module.__name__, list(_pieces(source.splitlines(), body))))
    needed = _needed([piece for _, those in pieces for piece in those])
    parts, used = [], {"sys"}
    for name, those in pieces:
        kept = [piece for piece in those if piece.binds & needed or not piece.binds]
        if kept:
            parts.append("\n\n\n".join([f"# ---- {name}", *(piece.text for piece in kept)]))
            used.update(*(piece.uses for piece in kept))
    head = [_HEAD, "from __future__ import annotations\n", *sorted({imports[name] for name in used & imports.keys()})]
    return "\n\n\n".join(["\n".join(head), *parts, _TAIL])


def _imports(module: ModuleType, body: Sequence[ast.stmt]) -> dict[str, str]:
    """Return the foreign imports of a module, by the name that each binds."""
    found: dict[str, str] = {}
    for statement in body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                found[alias.asname or alias.name] = f"import {_spelt(alias)}"
        elif isinstance(statement, ast.ImportFrom) and statement.module != "__future__":
            ours = (statement.module or "").partition(".")[0] in OURS
            if ours and any(alias.asname for alias in statement.names):
                raise NotOneFile(f"{module.__name__} renames what it imports of ours")
            for alias in statement.names if not ours else ():
                found[alias.asname or alias.name] = f"from {statement.module} import {_spelt(alias)}"
    return found


def _spelt(alias: ast.alias) -> str:
    return alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"


def _pieces(lines: Sequence[str], body: Sequence[ast.stmt]) -> Iterator[_Piece]:
    statements = [each for each in body if not isinstance(each, ast.Import | ast.ImportFrom)]
    starts = {id(each): _first_line(each) for each in statements}
    for position, statement in enumerate(statements):
        if isinstance(statement, ast.Expr):
            continue
        last = statement
        if position + 1 < len(statements) and isinstance(statements[position + 1], ast.Expr):
            last = statements[position + 1]
        start = starts[id(statement)]
        while lines[start - 2].startswith("#"):
            start -= 1
        text = "\n".join(lines[start - 1 : last.end_lineno])
        yield _Piece(text, frozenset(_bound(statement)), frozenset(_used(statement)))


def _first_line(statement: ast.stmt) -> int:
    decorated = statement.decorator_list if isinstance(statement, ast.FunctionDef | ast.ClassDef) else []
    return min([statement.lineno, *(decorator.lineno for decorator in decorated)])


def _bound(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def _used(statement: ast.stmt) -> Iterator[str]:
    return (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))


def _needed(pieces: Sequence[_Piece]) -> frozenset[str]:
    """Return every name that the entry point needs. Raises NotOneFile when one is bound twice."""
    by_name: dict[str, _Piece] = {}
    for piece in pieces:
        for name in piece.binds:
            if name in by_name:
                raise NotOneFile(f"{name} is in two modules")
            by_name[name] = piece
    needed: set[str] = set()
    waiting = [ENTRY_POINT, *(name for piece in pieces if not piece.binds for name in piece.uses)]
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in needed:
            needed |= by_name[name].binds
            waiting += by_name[name].uses
    return frozenset(needed)
