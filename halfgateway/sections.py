"""What a section of the configuration is and what several name alike; and the trace's: its anchors, its key's place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from auth.errors import NoteError
from auth.trace.token_key import TokenPlace
from auth.trace.witness import Cosigner
from camera_registry.connections import Connection


def _require_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("only printable characters can be shown to people")
    return text


def _require_device(url: str) -> str:
    try:
        Connection(onvif_url=url)
    except ValueError as error:
        raise ValueError(f"http://HOST/onvif/device_service or the like is wanted: {error}") from error
    return url


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Shown = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_require_printable)]
"""What people read of a camera: it also stands in the line of an SDP (RFC 4566 section 5.3)."""

OnvifUrl = Annotated[str, AfterValidator(_require_device)]


class Section(BaseModel):
    """A table of the file: no key but those that it names, and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TokenSection(Section):
    """Where the trace's key lies in a PKCS#11 token: the module, the token's label, the key's, the PIN's file."""

    module: Path
    token: Annotated[str, Field(min_length=1, max_length=32)]
    label: Annotated[str, Field(min_length=1, max_length=64)]
    pin_file: Path

    def place(self) -> TokenPlace:
        """As the key is opened by it."""
        return TokenPlace(self.module, self.token, self.label, self.pin_file)


class TraceSection(Section):
    """Who anchors the trace (T04), where its last head is remembered, and where its key lies.

    ``timestamp_urls`` are time-stamping authorities (RFC 3161), ``timestamp_ca`` the certificates (PEM) that they or
    their issuers have, ``timestamp_revoked`` the revocation lists (PEM) of those issuers: where there is one, a token
    of a certificate that it names anchors nothing. ``timestamp_every_s`` is the seconds between two tokens.
    ``cosigners`` are the C2SP vkeys of those whose cosignature is taken. ``head_note`` is a file outside the node's
    data, which no restored copy of that brings back (T12). ``pkcs11`` is the token with the key, if any.
    """

    timestamp_urls: tuple[Annotated[str, Field(pattern=r"^https?://")], ...] = ()
    timestamp_ca: Path | None = None
    timestamp_revoked: Path | None = None
    timestamp_every_s: Annotated[float, Field(ge=1, le=86_400)] = 3600.0
    cosigners: tuple[str, ...] = ()
    head_note: Path | None = None
    pkcs11: TokenSection | None = None

    def token_place(self) -> TokenPlace | None:
        """Where the key lies, if in a token."""
        return self.pkcs11.place() if self.pkcs11 is not None else None

    @field_validator("cosigners")
    @classmethod
    def _are_vkeys(cls, cosigners: tuple[str, ...]) -> tuple[str, ...]:
        for vkey in cosigners:
            try:
                Cosigner.parse(vkey)
            except NoteError as error:
                raise ValueError(str(error)) from error
        return cosigners

    @model_validator(mode="after")
    def _knows_whom_to_believe(self) -> TraceSection:
        if self.timestamp_urls and self.timestamp_ca is None:
            raise ValueError("timestamp_ca is missing: no token could be believed")
        if self.timestamp_revoked is not None and self.timestamp_ca is None:
            raise ValueError("timestamp_ca is missing: nobody's signature on timestamp_revoked could be checked")
        return self
