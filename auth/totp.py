"""One-time codes by time (RFC 6238): SHA-1, 6 digits, 30 s, one step either side.

``pyotp.TOTP.verify`` takes the same code twice. Here a code is only *found*; the repository accepts its step
once, in one transaction (S04).
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime

import pyotp
from pyotp.exceptions import OTPVerificationError

from auth.sealing import RandomBytes

STEP_S = 30
DIGITS = 6
STEPS_EITHER_SIDE = 1
"""Tolerates a clock that is up to 30 s off (RFC 6238 section 5.2 recommends no more)."""

_SECRET_BYTES = 20  # the length of a SHA-1 digest (RFC 4226 section 4, requirement R6)
_CODE = re.compile(r"[0-9]{6}", re.ASCII)


def new_secret(random_bytes: RandomBytes) -> str:
    """Draw a secret of 160 bits, in base32."""
    return base64.b32encode(random_bytes(_SECRET_BYTES)).decode()


def find_step(secret: str, code: str, at: datetime) -> int | None:
    """Return the time step whose code this is, or None; ``at`` is the aware wall clock."""
    if not _CODE.fullmatch(code):
        return None
    try:
        return _totp(secret).verify_and_get_timecode(code, for_time=at, valid_window=STEPS_EITHER_SIDE)
    except OTPVerificationError:
        return None


def code_at(secret: str, at: datetime) -> str:
    """Return the code that a holder of ``secret`` reads at ``at``."""
    return _totp(secret).at(at)


def provisioning_uri(secret: str, *, account: str, issuer: str) -> str:
    """Return the ``otpauth://`` URI that authenticator applications read from a QR code."""
    return _totp(secret).provisioning_uri(name=account, issuer_name=issuer)


def _totp(secret: str) -> pyotp.TOTP:
    return pyotp.TOTP(secret, digits=DIGITS, digest=hashlib.sha1, interval=STEP_S)
