"""onvif-zeep-async, imported without what it does to the process, and its services as we use them.

Importing it installs a root log handler at INFO, and takes most of a second and some tens of megabytes: it is imported
when the first device is asked, and never by a node (:mod:`camera_registry.onvif_worker`). Of the library we use WSDLs,
binding and answers typed by schema; connections, authentication and errors are ours
(:mod:`camera_registry.onvif_transport`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

from camera_registry.errors import Malformed
from camera_registry.onvif_transport import DeviceTransport

DEVICE: Final = "http://www.onvif.org/ver10/device/wsdl"
MEDIA: Final = "http://www.onvif.org/ver10/media/wsdl"
_BINDINGS: Final[Mapping[str, tuple[str, str]]] = {
    DEVICE: ("devicemgmt.wsdl", "DeviceBinding"),
    MEDIA: ("media.wsdl", "MediaBinding"),
}


class Service(Protocol):
    """One ONVIF service of one device."""

    async def call(self, operation: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Call an operation; return its answer as the library's typed object.

        Raises RegistryError: whatever the transport raises, Malformed if the answer breaks the schema.
        """

    async def close(self) -> None:
        """Release what the service holds."""


async def load_library() -> None:
    """Import the library and parse its WSDLs, once: devices asked at once would have them parsed once for each."""
    for namespace in _BINDINGS:
        service = _prepared(namespace, "http://127.0.0.1/")  # no request is sent
        await service.setup()
        await service.close()


async def open_service(namespace: str, url: str, transport: DeviceTransport) -> Service:
    """Open a service of a device at ``url``; no request is sent."""
    service = _prepared(namespace, url)
    # The session that the library just made is never used; all requests go through ours.
    service.transport = transport
    await service.setup()
    return _LibraryService(service, _library().errors)


def _prepared(namespace: str, url: str) -> Any:
    library = _library()
    file, binding = _BINDINGS[namespace]
    return library.onvif_service(
        url,
        None,
        None,
        str(library.wsdl / file),
        no_cache=True,
        binding_name=f"{{{namespace}}}{binding}",
    )


class _LibraryService:
    def __init__(self, service: Any, errors: tuple[type[Exception], ...]) -> None:
        self._service = service
        # zeep trusts the schema: a device that does not keep to it makes it fail in any of these ways.
        self._errors: tuple[type[Exception], ...] = (
            *errors,
            ValueError,
            TypeError,
            AttributeError,
            LookupError,
        )

    async def call(self, operation: str, parameters: Mapping[str, Any] | None = None) -> Any:
        try:
            return await getattr(self._service, f"authless_{operation}")(dict(parameters or {}))
        except self._errors as error:
            raise Malformed(f"the answer to {operation} breaks its schema: {type(error).__name__}") from error

    async def close(self) -> None:
        await self._service.close()


class _Library:
    def __init__(self) -> None:
        root = logging.getLogger()
        handlers, level = list(root.handlers), root.level
        try:
            import onvif  # noqa: PLC0415 (its import costs what the module's text says)
            from onvif.client import ONVIFService  # noqa: PLC0415
            from zeep.exceptions import Error as ZeepError  # noqa: PLC0415
        finally:
            root.handlers[:], root.level = handlers, level
        self.onvif_service = ONVIFService
        self.errors: tuple[type[Exception], ...] = (ZeepError, onvif.ONVIFError)
        self.wsdl = Path(onvif.__file__).parent / "wsdl"


@cache
def _library() -> _Library:
    return _Library()
