"""The one form of what follows the stamp in an entry's JSON, pure: written, and recognised, in one place (T03).

Whoever verifies looks at every byte of it, at the speed of a regular expression: other bytes, though their leaf
commits to them, are no entry, for two programs could read them differently. Only what has other letters than ASCII, or
a ``detail`` that nests, has escapes or fractions in it, or many members, is decoded, and written anew to be compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from operator import lt
from typing import Any

from auth.trace.layout import MAX_PAYLOAD_BYTES, STAMP_ROOM_BYTES

PLAIN_MEMBERS = (
    "agent",
    "account",
    "attribution",
    "camera",
    "stream",
    "mode",
    "reason",
    "refusal",
    "source",
)
"""The members that are text or null, in their order; ``detail`` comes after them."""

MAX_BODY_BYTES = MAX_PAYLOAD_BYTES - STAMP_ROOM_BYTES
"""Bytes of what follows the stamp; a longer one is refused."""

MAX_DEPTH = 32
"""Objects and lists within one another in a ``detail``: what one reader decodes, none may find too deep."""

_FLAT_MEMBERS = 12
"""Members of a ``detail`` that is recognised without being decoded: twice what an access has."""

_ORDERS = 1_024
"""Orders of names that are remembered as right or wrong: kinds have one or a few each."""

_PLAIN_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_SORTED_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)

_CLEAR = r"[ !#-\[\]-\x7f]*+"
_MEMBER = rf'"({_CLEAR})":(?:"{_CLEAR}"|null|true|false|0|-?[1-9][0-9]{{0,17}}+)'
_FLAT = re.compile(
    (
        "".join(rf'"{name}":(?:null|"{_CLEAR}"),' for name in PLAIN_MEMBERS)
        + rf'"detail":\{{(?:{_MEMBER}'
        + rf"(?:,{_MEMBER}" * (_FLAT_MEMBERS - 1)
        + ")?" * _FLAT_MEMBERS
        + r"\}\}"
    ).encode()
)
_TEXT = r'"(?:[^"\\\x00-\x1f]|\\["\\bfnrt]|\\u00(?:0[0-7bef]|1[0-9a-f]))*"'
_PLAIN = re.compile("".join(rf'"{name}":(?:null|{_TEXT}),' for name in PLAIN_MEMBERS) + '"detail":')


def write_body(members: Mapping[str, str | None], detail: Mapping[str, Any]) -> bytes:
    """Write what follows the stamp, to the closing brace. Raises ValueError where it has no one form."""
    try:
        body = f'{_PLAIN_JSON.encode(members)[1:-1]},"detail":{_SORTED_JSON.encode(dict(detail))}}}'.encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not is_body(body, 0):
        raise ValueError("it would be read otherwise than it was written")
    return body


def is_body(data: bytes, start: int) -> bool:
    """Tell whether the bytes from ``start`` on are as :func:`write_body` writes them."""
    flat = _FLAT.fullmatch(data, start)
    return _is_other_body(data[start:]) if flat is None else _are_in_order(flat.groups())


@lru_cache(_ORDERS)
def _are_in_order(names: tuple[bytes | None, ...]) -> bool:
    given = [name for name in names if name is not None]
    return all(map(lt, given, given[1:]))


def _is_other_body(body: bytes) -> bool:
    try:
        text = body.decode()
        plain = _PLAIN.match(text)
        return plain is not None and text.endswith("}") and _is_detail(text[plain.end() : -1])
    except (ValueError, RecursionError):
        return False


def _is_detail(text: str) -> bool:
    detail = json.loads(text)
    shallow = text.count("{") + text.count("[") <= MAX_DEPTH or _is_within(detail, MAX_DEPTH)
    return shallow and isinstance(detail, dict) and _SORTED_JSON.encode(detail) == text


def _is_within(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    return depth > 0 and all(
        _is_within(inner, depth - 1) for inner in (value.values() if isinstance(value, dict) else value)
    )
