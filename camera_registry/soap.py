"""SOAP 1.2 as devices speak it: envelopes, WS-Security, answers read with suspicion.

Names are compared without their namespaces: devices use prefixes that they never declared, and other versions of
a schema than the one they announce (docs/quirks.md, onvif-odd-soap).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from lxml import etree

from camera_registry.connections import Credentials
from camera_registry.errors import AuthRejected, Locked, Malformed, NoSuchRecording, NotSupported, RegistryError

ENVELOPE: Final = "http://www.w3.org/2003/05/soap-envelope"
_WSSE: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_WSU: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_USERNAME_PROFILE: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0"
_MESSAGE_SECURITY: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0"
_REASON_CHARACTERS: Final = 200  # Of a device's own words, as much as an operator reads.

_NOT_AUTHORISED: Final = frozenset({"NotAuthorized", "SenderNotAuthorized", "FailedAuthentication"})

_NO_RECORDING: Final = frozenset({"NoRecording", "InvalidToken", "NoRecordingToken"})
"""ONVIF Replay 5.1, Recording Search 5.5; some say it in words of their own."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A SOAP fault: the local names of its codes, outermost first, and the device's words, shortened."""

    codes: tuple[str, ...]
    reason: str

    def error(self) -> RegistryError:
        """Return the declared error that this fault amounts to."""
        words = self.reason.lower()
        if "lock" in words and "block" not in words:
            return Locked(f"the device says: {self.reason}")
        if not _NOT_AUTHORISED.isdisjoint(self.codes) or "not authorized" in words:
            return AuthRejected(f"the device says: {self.reason}")
        if not _NO_RECORDING.isdisjoint(self.codes):
            return NoSuchRecording(f"the device says: {self.reason}")
        return NotSupported(f"the device says: {', '.join(self.codes)}: {self.reason}")


def envelope(body: etree._Element) -> etree._Element:
    """Return an envelope around ``body``."""
    root = etree.Element(f"{{{ENVELOPE}}}Envelope", nsmap={"s": ENVELOPE})
    etree.SubElement(root, f"{{{ENVELOPE}}}Body").append(body)
    return root


def operation(root: etree._Element) -> str:
    """Return the local name of the call in an envelope, for instance ``GetProfiles``."""
    body = root.find(f"{{{ENVELOPE}}}Body")
    return local_name(body[0]) if body is not None and len(body) else ""


def add_username_token(root: etree._Element, credentials: Credentials, *, created: datetime, nonce: bytes) -> None:
    """Add a UsernameToken with a password digest to an envelope (WS-Security UsernameToken Profile 1.0).

    ``created`` is by the *device's* clock; a token already there is replaced.
    """
    header = root.find(f"{{{ENVELOPE}}}Header")
    if header is None:
        header = etree.Element(f"{{{ENVELOPE}}}Header")
        root.insert(0, header)
    for old in header.findall(f"{{{_WSSE}}}Security"):
        header.remove(old)
    security = etree.SubElement(header, f"{{{_WSSE}}}Security", nsmap={"wsse": _WSSE, "wsu": _WSU})
    token = etree.SubElement(security, f"{{{_WSSE}}}UsernameToken")
    # Hikvision refuses "+00:00" for "Z".
    stamp = created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    digest = hashlib.sha1(  # The profile allows no other hash.
        nonce + stamp.encode() + credentials.password.encode(), usedforsecurity=False
    ).digest()
    etree.SubElement(token, f"{{{_WSSE}}}Username").text = credentials.username
    password = etree.SubElement(token, f"{{{_WSSE}}}Password", Type=f"{_USERNAME_PROFILE}#PasswordDigest")
    password.text = base64.b64encode(digest).decode()
    encoded = etree.SubElement(token, f"{{{_WSSE}}}Nonce", EncodingType=f"{_MESSAGE_SECURITY}#Base64Binary")
    encoded.text = base64.b64encode(nonce).decode()
    etree.SubElement(token, f"{{{_WSU}}}Created").text = stamp


def read_envelope(data: bytes) -> etree._Element:
    """Parse an answer of a device.

    Raises Malformed if it is no SOAP envelope, has a document type (entities could expand without end), or is
    nested deeper than libxml2's default bound.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=True)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Malformed("the answer is not XML") from error
    if root is None or local_name(root) != "Envelope":
        raise Malformed("the answer is not a SOAP envelope")
    if root.getroottree().docinfo.internalDTD is not None:
        raise Malformed("the answer declares a document type")
    return root


def find_fault(root: etree._Element) -> Fault | None:
    """Return the fault that an envelope carries, of SOAP 1.2 or 1.1, or None."""
    fault = first(root, "Body", "Fault")
    if fault is None:
        return None
    codes: list[str] = []
    reason = ""
    for element in fault.iter():
        name, text = local_name(element), (element.text or "").strip()
        if name in {"Value", "faultcode"}:
            codes.append(text.rpartition(":")[2])
        elif name in {"Text", "faultstring"} and not reason:
            reason = text[:_REASON_CHARACTERS]
    return Fault(tuple(codes), reason)


def first(element: etree._Element, *path: str) -> etree._Element | None:
    """Return the first descendant reached by these local names, child after child, or None."""
    found: etree._Element | None = element
    for name in path:
        if found is None:
            return None
        found = next(children(found, name), None)
    return found


def children(element: etree._Element, name: str) -> Iterator[etree._Element]:
    """Yield the children of that local name."""
    return (child for child in element if local_name(child) == name)


def text_of(element: etree._Element, *path: str) -> str:
    """Return the text of the first descendant reached by these local names, stripped; empty if there is none."""
    found = first(element, *path)
    return (found.text or "").strip() if found is not None else ""


def local_name(element: etree._Element) -> str:
    """Return an element's name without namespace or undeclared prefix; empty for comments and the like."""
    if not isinstance(element.tag, str):
        return ""
    return element.tag.rpartition("}")[2].rpartition(":")[2]
