"""The shapes of keys, sealed credentials, interventions and revocation lists."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from auth.principals import Role
from halfgateway.api.shapes import Identifier, Instant, Sentence, Shape

MAX_CRL_BYTES = 8 * 1024 * 1024
"""Of lists that are pushed or imported, in PEM: some 150,000 revoked certificates; more is refused."""

Pem = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[\x20-\x7e\r\n]*$")]


class KeyRequest(Shape):
    """A public key that PP declares; ``reference`` is that of its declaration."""

    public_key: Pem
    reference: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
    kid: Identifier | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None


class KeyShape(Shape):
    """A key with which PP signs, or signed, assertions."""

    model_config = ConfigDict(from_attributes=True)

    kid: str
    algorithm: str
    public_key_pem: str
    reference: str
    declared_by: str
    declared_at: Instant
    valid_from: Instant
    valid_until: Instant
    revoked_at: Instant | None
    revoked_reason: str | None


class KeyList(Shape):
    """Every key that was ever declared, newest first."""

    items: tuple[KeyShape, ...]
    next: str | None


class Motive(Shape):
    """Why it is done."""

    reason: Sentence


class RecoveryCodeSet(Shape):
    """A new set of recovery codes, shown once."""

    codes: tuple[str, ...]


class BreakGlassRequest(Shape):
    """For which role a sealed credential is made."""

    role: Role


class BreakGlassSecret(Shape):
    """A sealed credential with its password, shown once."""

    number: int
    account: str
    role: Role
    password: str


class BreakGlassShape(Shape):
    """A sealed credential in the register."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    account: str
    role: Role
    issued_at: Instant
    issued_by: str
    first_used_at: Instant | None
    ended_at: Instant | None
    reported_at: Instant | None
    report: str | None
    report_due: bool


class BreakGlassList(Shape):
    """Every sealed credential, newest first."""

    items: tuple[BreakGlassShape, ...]
    next: str | None


class ByNumber(Shape):
    """One thing, by its number in a register."""

    number: Annotated[int, Field(ge=1, le=2**31 - 1)]


class Report(Shape):
    """What a sealed credential was used for."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]


class InterventionRequest(Shape):
    """Who is to work on the equipment (an opaque identifier or a function), for which employer, and why."""

    person: Identifier
    contractor: (
        Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None
    reason: Sentence


class InterventionShape(Shape):
    """An intervention in the register."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    person: str
    contractor: str | None
    reason: str
    started_at: Instant
    started_by: str
    ended_at: Instant | None
    ended_by: str | None


class InterventionList(Shape):
    """The interventions, newest first."""

    items: tuple[InterventionShape, ...]
    next: str | None


class RevocationPush(Shape):
    """One or several revocation lists, in PEM."""

    pem: Annotated[str, StringConstraints(min_length=1, max_length=MAX_CRL_BYTES, pattern=r"^[\x20-\x7e\r\n]*$")]


class RevocationAnswer(Shape):
    """The authorities, by their keys' identifiers, whose lists count from now on."""

    authorities: tuple[str, ...]
