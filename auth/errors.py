"""Every error that ``auth`` raises on purpose.

``halfgateway`` turns them into its own refusals at the edge; anything else that escapes is a bug.
"""

from __future__ import annotations

from enum import StrEnum


class AuthError(Exception):
    """Base of every declared error of this package."""


class EntryRefused(AuthError):
    """A draft that can never be an entry (too large, or not JSON): the caller's fault, nothing was written."""


class NoteError(AuthError):
    """A signed note or checkpoint that is malformed, or whose signature does not hold; its text is in French."""


class AuthorityRevoked(NoteError):
    """A time-stamp token of an authority that its issuer disowns, or says nothing current of: it anchors nothing."""


class TraceUnavailable(AuthError):
    """The trace cannot be written now: the act that it would have recorded must not happen (T01)."""


class TraceDamaged(TraceUnavailable):
    """What lies on disk is not what was signed or committed; never repaired, a person must look (T03).

    ``first_bad`` is the number of the first entry that is wrong or missing, where one can be named;
    ``missing`` tells that bytes are absent rather than wrong. Its text, in French, is what a verifier finds.
    """

    def __init__(self, message: str, *, first_bad: int | None = None, missing: bool = False) -> None:
        super().__init__(message)
        self.first_bad = first_bad
        self.missing = missing


class PurgeRefused(AuthError):
    """A purge that may not be (L17): its text, in French, is for whoever asked."""


class RecordsUnavailableError(AuthError):
    """The accounts cannot be read or written now: the database is down, locked or full."""


class FailureReason(StrEnum):
    """Why a proof of identity was not accepted: for the trace only, never told to the caller (C08)."""

    UNKNOWN_ACCOUNT = "unknown-account"
    ACCOUNT_ENDED = "account-ended"
    WRONG_PASSWORD = "wrong-password"  # noqa: S105 - names a failure, holds no secret
    CARD_MISSING = "card-missing"
    CERTIFICATE_MISSING = "certificate-missing"
    SECOND_FACTOR_MISSING = "second-factor-missing"
    CODE_NOT_ENROLLED = "code-not-enrolled"
    WRONG_CODE = "wrong-code"
    CODE_REPLAYED = "code-replayed"
    WRONG_RECOVERY_CODE = "wrong-recovery-code"
    BREAK_GLASS_OVER = "break-glass-over"
    CERTIFICATE_UNREADABLE = "certificate-unreadable"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_WRONG_USAGE = "certificate-wrong-usage"
    CERTIFICATE_REVOKED = "certificate-revoked"
    CERTIFICATE_NOT_BOUND = "certificate-not-bound"
    REVOCATION_UNKNOWN = "revocation-unknown"
    REVOCATION_STALE = "revocation-list-stale"
    REVOCATION_UNTRUSTED = "revocation-list-untrusted"
    AUTHORITY_EXPIRED = "authority-expired"
    OCSP_UNAVAILABLE = "ocsp-unavailable"
    OCSP_UNTRUSTED = "ocsp-untrusted"
    OCSP_UNKNOWN = "ocsp-unknown"
    OCSP_STALE = "ocsp-stale"
    MODERN_TLS_MISSING = "tls-1.3-missing"
    SESSION_UNKNOWN = "session-unknown"
    SESSION_EXPIRED = "session-expired"


class AuthenticationError(AuthError):
    """A proof of identity was not accepted.

    ``reason`` goes to the trace, with ``account`` where it is one that exists; the caller is told
    :attr:`public_code` and nothing more.
    """

    public_code = "unauthenticated"

    def __init__(self, reason: FailureReason, *, account: str | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.account = account


class AssertionFault(StrEnum):
    """Why an agent's assertion was not accepted: for the trace only (C08); the machine is told nothing of it."""

    NOT_AGREED = "not-agreed"
    NOT_A_MACHINE = "not-a-machine"
    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    DUPLICATE_NAME = "duplicate-name"
    HEADER_NOT_ALLOWED = "header-not-allowed"
    WRONG_ALGORITHM = "wrong-algorithm"
    UNKNOWN_KEY = "unknown-key"
    KEY_REVOKED = "key-revoked"
    KEY_NOT_IN_FORCE = "key-not-in-force"
    BAD_SIGNATURE = "bad-signature"
    MISSING_CLAIM = "missing-claim"
    UNEXPECTED_CLAIM = "unexpected-claim"
    WRONG_ISSUER = "wrong-issuer"
    WRONG_AUDIENCE = "wrong-audience"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    TOO_LONG_VALIDITY = "too-long-validity"
    STALE_AUTHENTICATION = "stale-auth"
    WEAK_METHOD = "weak-method"
    PURPOSE_UNKNOWN = "purpose-unknown"
    PURPOSE_DIFFERS = "purpose-differs"
    REFERENCE_DIFFERS = "reference-differs"
    REPLAYED = "replayed"


class AssertionRefused(AuthError):
    """An agent's assertion was not accepted; ``kid`` names its key once that is one that is declared."""

    def __init__(self, fault: AssertionFault, *, kid: str | None = None) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.kid = kid


class KeyConflictError(AuthError):
    """An assertion key of this identifier has been declared already; an identifier is never used again."""


class UnknownKeyError(AuthError):
    """No assertion key has this identifier, or it was revoked before."""


class ThrottledError(AuthError):
    """Too many attempts from one source; says nothing of any account.

    ``just_locked`` is true once per lock, so that the trace gets one entry and not one per attempt.
    """

    def __init__(self, *, retry_after_s: int, just_locked: bool) -> None:
        super().__init__(f"retry after {retry_after_s} s")
        self.retry_after_s = retry_after_s
        self.just_locked = just_locked


class AccountConflictError(AuthError):
    """The account exists already, or the certificate is bound to an account already (C09: none is shared)."""


class UnknownAccountError(AuthError):
    """No account has this id: a mistake of whoever administers, never the answer to a login."""


class SealError(AuthError):
    """A sealed secret does not open: another key, another owner, or altered bytes."""


class UnknownPurposeError(AuthError, ValueError):
    """The text names none of the lawful purposes (L16)."""


class RegisterRuleError(AuthError):
    """The register of who may does not allow this; the text says why, in French, to whoever keeps it."""


class UnknownRecordError(AuthError):
    """The register holds no such designation, habilitation or block that is still open."""


class SignedListError(AuthError):
    """A list of designations cannot be taken; ``faults`` names every line that is wrong, in French."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults
