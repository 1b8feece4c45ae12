"""SOAP of devices: read with suspicion, whatever they send; signed as the UsernameToken profile wants."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from camera_registry import soap
from camera_registry.connections import Credentials
from camera_registry.errors import AuthRejected, Locked, Malformed, NotSupported, RegistryError

OPEN = b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">'
FAULT = (
    OPEN + b"<s:Body><s:Fault><s:Code><s:Value>s:%s</s:Value><s:Subcode><s:Value>ter:%s</s:Value></s:Subcode>"
    b"</s:Code><s:Reason><s:Text>%s</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>"
)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(OPEN.__add__))
def test_any_bytes_are_an_envelope_or_malformed(data: bytes) -> None:
    try:
        root = soap.read_envelope(data)
    except Malformed:
        return
    assert soap.local_name(root) == "Envelope"
    fault = soap.find_fault(root)
    if fault is not None:
        assert isinstance(fault.error(), RegistryError)


@pytest.mark.parametrize(
    "prolog",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE x SYSTEM "http://198.51.100.1/x.dtd">',
    ],
)
def test_a_document_type_is_refused(prolog: bytes) -> None:
    with pytest.raises(Malformed, match="document type"):
        soap.read_envelope(prolog + OPEN + b"<s:Body>&a;&b;</s:Body></s:Envelope>")


def test_depth_is_bounded() -> None:
    nested = OPEN + b"<a>" * 100_000
    try:
        root = soap.read_envelope(nested)
    except Malformed:
        return
    assert sum(1 for _ in root.iter()) < 1000


@pytest.mark.parametrize("data", [b"", b"Bad request", b"<html/>", b"\x00" * 50, b"{}"])
def test_what_is_no_envelope_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        soap.read_envelope(data)


@pytest.mark.parametrize(
    ("code", "subcode", "reason", "kind"),
    [
        (b"Sender", b"NotAuthorized", b"Sender not authorized", AuthRejected),
        (b"Sender", b"InvalidArgVal", b"Not Authorized", AuthRejected),
        (b"Sender", b"NotAuthorized", b"The account is locked for 30 minutes", Locked),
        (b"Receiver", b"ActionNotSupported", b"Optional action not implemented", NotSupported),
        (b"Receiver", b"Action", b"The address is blocked by policy", NotSupported),
    ],
)
def test_a_fault_says_what_it_amounts_to(code: bytes, subcode: bytes, reason: bytes, kind: type[RegistryError]) -> None:
    fault = soap.find_fault(soap.read_envelope(FAULT % (code, subcode, reason)))
    assert fault is not None
    assert fault.codes == (code.decode(), subcode.decode())
    assert type(fault.error()) is kind


def test_a_fault_with_an_undeclared_prefix_is_read() -> None:
    data = (
        b'<env:Envelope xmlns:env="http://www.w3.org/2003/05/soap-envelope"><env:Body><env:Fault><env:Code>'
        b"<env:Value>env:Sender</env:Value><env:Subcode><env:Value>ter:NotAuthorized</env:Value></env:Subcode>"
        b"</env:Code><ter:Detail>x</ter:Detail></env:Fault></env:Body></env:Envelope>"
    )
    fault = soap.find_fault(soap.read_envelope(data))
    assert fault is not None
    assert type(fault.error()) is AuthRejected


def test_a_fault_of_soap_1_1_is_read() -> None:
    data = (
        b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>'
        b"<faultcode>ter:NotAuthorized</faultcode><faultstring>no</faultstring></s:Fault></s:Body></s:Envelope>"
    )
    fault = soap.find_fault(soap.read_envelope(data))
    assert fault == soap.Fault(("NotAuthorized",), "no")


def test_a_devices_words_are_shortened() -> None:
    fault = soap.find_fault(soap.read_envelope(FAULT % (b"Sender", b"X", b"z" * 100_000)))
    assert fault is not None
    assert len(fault.reason) == 200


def test_a_token_is_what_the_profile_says() -> None:
    request = etree.Element("{urn:x}GetProfiles")
    root = soap.envelope(request)
    credentials = Credentials(username="op&er<ator", password="p@ss:w0rd/é")
    created = datetime(2026, 11, 21, 10, 15, 0, 123456, tzinfo=UTC)
    soap.add_username_token(root, credentials, created=datetime(2000, 1, 1, tzinfo=UTC), nonce=b"old")
    soap.add_username_token(root, credentials, created=created, nonce=b"0123456789abcdef")
    sent = soap.read_envelope(etree.tostring(root))
    assert soap.operation(sent) == "GetProfiles"
    security = soap.first(sent, "Header")
    assert security is not None
    assert len(security) == 1
    token = soap.first(security, "Security", "UsernameToken")
    assert token is not None
    assert soap.text_of(token, "Username") == "op&er<ator"
    assert soap.text_of(token, "Created") == "2026-11-21T10:15:00.123Z"
    material = b"0123456789abcdef" + b"2026-11-21T10:15:00.123Z" + "p@ss:w0rd/é".encode()
    assert base64.b64decode(soap.text_of(token, "Password")) == hashlib.sha1(material).digest()
    assert "p@ss:w0rd" not in etree.tostring(root, encoding="unicode")


def test_an_empty_call_has_no_name() -> None:
    assert soap.operation(soap.read_envelope(OPEN + b"<s:Body/></s:Envelope>")) == ""
    assert soap.operation(soap.read_envelope(OPEN + b"</s:Envelope>")) == ""
