"""What can go wrong between the registry and a device.

``cause`` is the word that the inventory records, and that may be shown with a camera's state: it never holds
an address or a credential (C16).
"""

from __future__ import annotations

from typing import ClassVar


class RegistryError(Exception):
    """Base of every declared error of the camera registry."""

    cause: ClassVar[str] = "registry-error"


class Unreachable(RegistryError):
    """No connection, or one that broke before an answer came."""

    cause = "unreachable"


class Timeout(RegistryError):
    """The device did not answer in time."""

    cause = "timeout"


class AuthRejected(RegistryError):
    """The device refused these credentials."""

    cause = "auth-rejected"


class Locked(RegistryError):
    """The device was not asked: it refused the same credentials before, and one more try may lock it.

    Some devices lock an account for 5 to 30 minutes after five bad passwords; a changed secret is tried
    again.
    """

    cause = "locked"


class NotSupported(RegistryError):
    """The device does not have the service or the action."""

    cause = "not-supported"


class NoSuchRecording(NotSupported):
    """The device has no recording of that token, or none any more."""

    cause = "no-such-recording"


class Malformed(RegistryError):
    """The answer is too large, forbidden (a DTD) or cannot be understood."""

    cause = "malformed"


class ForbiddenHost(RegistryError):
    """The address lies outside the hosts that may be asked: the device was not connected to."""

    cause = "forbidden-host"


class ClientLost(RegistryError):
    """The process that asks devices failed or ended before it had an answer; it says nothing of the device."""

    cause = "client-lost"


class NoVideo(RegistryError):
    """The device has no profile with video."""

    cause = "no-video"


class IdentifierRetired(RegistryError):
    """The identifier belonged to a camera that was removed; identifiers are never used again (C06)."""

    cause = "identifier-retired"


class StoreUnavailable(RegistryError):
    """The records cannot be read or written now."""

    cause = "store-unavailable"


class OrderConflict(RegistryError):
    """An order of this reference is recorded already, or its state does not allow the change."""

    cause = "order-conflict"


class UnknownOrder(RegistryError):
    """No order of this reference is recorded and not withdrawn."""

    cause = "unknown-order"


class HoldRefused(RegistryError):
    """A judicial hold cannot be placed, ended or extracted like this; the text says why, in French."""

    cause = "hold-refused"


class UnknownHold(RegistryError):
    """There is no hold of this number."""

    cause = "unknown-hold"


class UnknownCamera(RegistryError):
    """No camera of this identifier was ever on record."""

    cause = "unknown-camera"
