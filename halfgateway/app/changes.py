"""What differs between two configurations, by the names of the keys alone: values may be anybody's business."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from halfgateway.config import CameraSection, Configuration

FIXED_KEYS = (
    "node",
    "listen",
    "state_store",
    "database",
    "convention.id",
    "timings.lease_s",
    "tls.handshake_timeout_s",
    "tls.ocsp_responders",
    "assertions",
    "siem",
    "recorders",
    "exports",
    "trace.head_note",
    "trace.pkcs11",
    "mail",
    "on_call",
    "incidents",
)
"""What is read once, at start: where the node keeps its own, where it listens and how it greets there, how mail
leaves and who is called, and what all nodes of a convention must have in common."""

_ABSENT = object()


def changed_keys(before: Configuration, after: Configuration) -> tuple[str, ...]:
    """The keys that differ, sorted: ``timings.resume_s``, ``cameras.mairie.name``.

    What was added or removed whole is named whole: ``cameras.mairie``.
    """
    return tuple(sorted(_changes("", before.model_dump(), after.model_dump())))


def refused_keys(changed: tuple[str, ...]) -> list[str]:
    """Those of the changed keys that a running node cannot change, ``[tls]`` as a whole among them."""
    return [key for key in changed if key == "tls" or any(f"{key}.".startswith(f"{fixed}.") for fixed in FIXED_KEYS)]


def cameras_of(configuration: Configuration) -> dict[str, CameraSection]:
    """The configured cameras, by identifier."""
    return {camera.id: camera for camera in configuration.cameras}


def _changes(where: str, before: object, after: object) -> Iterator[str]:
    """Walk both trees side by side; lists of tables are walked by their ``id``."""
    before, after = _by_id(before), _by_id(after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in before.keys() | after.keys():
            inner = f"{where}.{name}" if where else str(name)
            yield from _changes(inner, before.get(name, _ABSENT), after.get(name, _ABSENT))
    elif before != after:
        yield where


def _by_id(value: Any) -> Any:
    if isinstance(value, tuple) and all(isinstance(item, Mapping) and "id" in item for item in value):
        return {item["id"]: item for item in value}
    return value
