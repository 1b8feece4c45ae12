"""The header fields of an RTSP message: ordered, repeatable, names in any case (RFC 2326 section 12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from halfgateway.protocol.uri import redacted

_SECRET_FIELDS = frozenset({"authorization", "proxy-authorization"})


class Headers:  # noqa: PLW1641  (it changes, so it has no hash)
    """An ordered multi-map of header fields whose names are compared without regard to case.

    Its ``repr`` shows neither credentials nor the user information of a URL, so that a message may be logged.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: list[tuple[str, str]] = list(fields)

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of the first field of that name."""
        wanted = name.lower()
        for field, value in self._fields:
            if field.lower() == wanted:
                return value
        return default

    def get_all(self, name: str) -> tuple[str, ...]:
        """The values of every field of that name, in the order of the message."""
        wanted = name.lower()
        return tuple(value for field, value in self._fields if field.lower() == wanted)

    def add(self, name: str, value: str) -> None:
        """Append a field, beside those that already have its name."""
        self._fields.append((name, value))

    def set(self, name: str, value: str) -> None:
        """Put one field in the place of every field of that name, where the first of them stood."""
        wanted = name.lower()
        place = next((i for i, (field, _) in enumerate(self._fields) if field.lower() == wanted), len(self._fields))
        others = [pair for pair in self._fields if pair[0].lower() != wanted]
        others.insert(place, (name, value))
        self._fields = others

    def items(self) -> tuple[tuple[str, str], ...]:
        """Every field, in the order of the message."""
        return tuple(self._fields)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items())

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(n.lower(), v) for n, v in self._fields] == [(n.lower(), v) for n, v in other._fields]

    def __repr__(self) -> str:
        shown = ((name, "***" if name.lower() in _SECRET_FIELDS else redacted(value)) for name, value in self._fields)
        return f"Headers({list(shown)!r})"
