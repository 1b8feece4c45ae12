"""What a mail that came back says: a delivery report, a reply, an automatic reply, or nothing of ours. Pure.

Sources: RFC 3464 (delivery reports), RFC 3834 (automatic replies), RFC 5322 section 3.6.4 (replies). The bytes are
anybody's: whatever they hold, reading them ends, and raises nothing but UnreadableMail.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.utils import getaddresses
from enum import StrEnum
from typing import Final

from ops.notices.conversation import shortened

MAX_MAIL_BYTES: Final = 1024 * 1024
"""Bytes of a mail that are read: a report returns our headers or our mail, which are far smaller. The rest of a
longer one is left unread."""

MAX_REPORTED_RECIPIENTS: Final = 100
"""Recipients of one report that are read; a notice has at most fifty."""

MAX_PARTS: Final = 50
"""Parts of a mail that are looked at. A report has three."""

MAX_FIELD_CHARS: Final = 8000
"""Characters of a header that are looked at: some fifty Message-IDs. Reading encoded words takes the square of it."""

MAX_EVIDENCE_CHARS: Final = 500
"""Characters of a report that are kept as evidence, beside the hash of the whole mail."""

_MESSAGE_ID = re.compile(r"<[^<>\s]{1,200}>")
_AUTOMATIC_PRECEDENCE: Final = frozenset({"bulk", "junk", "list", "auto_reply"})
_AUTOMATIC_SUBJECT = re.compile(
    r"\s*(?:re\s*:\s*)?(?:r\S{1,2}ponse automatique|absence du bureau|absent|automatic reply|auto(?:matic)?[- ]?reply"
    r"|out of (?:the )?office)\b",
    re.IGNORECASE,
)
_ESCAPED = re.compile(r"\+([0-9A-F]{2})")


class UnreadableMail(Exception):
    """These bytes are no mail that anything could be learnt from."""


class Action(StrEnum):
    """What became of a mail (RFC 3464 section 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What a report says of one recipient, and in which words."""

    addresses: tuple[str, ...]
    action: Action
    evidence: str


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """A report by a server on its way: of which mail, by the envelope's id and by the Message-ID it returns."""

    envelope_id: str | None
    message_id: str | None
    recipients: tuple[RecipientReport, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A mail that answers others; ``automatic`` where no person wrote it."""

    answers: tuple[str, ...]
    sender: str
    automatic: bool
    digest: str


def read_mail(content: bytes) -> DeliveryReport | Reply:
    """Return what a mail says. Raises UnreadableMail."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        # The older policy only splits headers; the newer one parses them, and fails on what is not well formed.
        mail = message_from_bytes(content[:MAX_MAIL_BYTES], policy=policy.compat32)
        if _kind(mail) == "multipart/report" and _parameter(mail, "report-type") == "delivery-status":
            return _report(mail, digest)
        return _reply(mail, digest)
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableMail(f"{type(error).__name__}: {error}") from error


def _report(mail: Message, digest: str) -> DeliveryReport:
    envelope_id, message_id = None, None
    reports: list[RecipientReport] = []
    for part in _parts(mail):
        kind = _kind(part)
        if kind in {"message/delivery-status", "message/global-delivery-status"}:
            groups = _groups(part)
            envelope_id = _field(groups[0], "Original-Envelope-Id") if groups else None
            reports += [report for group in groups[1:] if (report := _recipient(group)) is not None]
        elif kind in {"message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers"}:
            message_id = message_id or _returned_id(part)
    return DeliveryReport(envelope_id, message_id, tuple(reports[:MAX_REPORTED_RECIPIENTS]), digest)


def _groups(part: Message) -> list[Message]:
    """The groups of fields of a report: of the mail, then of each recipient; the parser makes each a message."""
    groups = part.get_payload()
    if isinstance(groups, list):
        return [group for group in groups if isinstance(group, Message)][: MAX_REPORTED_RECIPIENTS + 1]
    return []


def _recipient(group: Message) -> RecipientReport | None:
    addresses = tuple(_addresses(group))
    action = (_field(group, "Action") or "").split("(")[0].strip().lower()
    if not addresses or action not in set(Action):
        return None
    told = [f"{name}: {value}" for name in ("Action", "Status", "Remote-MTA", "Diagnostic-Code")
            if (value := _field(group, name))]  # fmt: skip
    return RecipientReport(addresses, Action(action), shortened("; ".join(told), MAX_EVIDENCE_CHARS))


def _addresses(group: Message) -> Iterable[str]:
    """The recipient as we named it, where the report repeats that, and as the last server knew it."""
    for name in ("Original-Recipient", "Final-Recipient"):
        kind, _, address = (_field(group, name) or "").partition(";")
        if address and kind.strip().lower() in {"rfc822", "utf-8"}:
            yield _ESCAPED.sub(lambda found: chr(int(found[1], 16)), address.strip()).strip("<>").lower()


def _returned_id(part: Message) -> str | None:
    payload = part.get_payload()
    if isinstance(payload, list):
        returned = payload[0] if payload else None
    else:
        raw = part.get_payload(decode=True)
        returned = message_from_bytes(raw, policy=policy.compat32) if isinstance(raw, bytes) else None
    return next(iter(_ids(returned, "Message-ID")), None) if isinstance(returned, Message) else None


def _reply(mail: Message, digest: str) -> Reply:
    answers = dict.fromkeys([*_ids(mail, "In-Reply-To"), *_ids(mail, "References")])
    senders = [address for _, address in getaddresses([_field(mail, "From") or ""]) if "@" in address]
    return Reply(tuple(answers), senders[0].lower() if senders else "", _is_automatic(mail), digest)


def _is_automatic(mail: Message) -> bool:
    """Whether no person wrote it: an absence message proves that it arrived, and that nobody has read it."""
    submitted = (_field(mail, "Auto-Submitted") or "no").split(";")[0].strip().lower()
    return (
        submitted != "no"
        or _kind(mail) == "multipart/report"
        or (_field(mail, "Return-Path") or "").strip() == "<>"
        or (_field(mail, "Precedence") or "").strip().lower() in _AUTOMATIC_PRECEDENCE
        or any(mail.get(name) is not None for name in ("X-Autoreply", "X-Autorespond", "X-Auto-Response"))
        or _AUTOMATIC_SUBJECT.match(_subject(mail)) is not None
    )


def _subject(mail: Message) -> str:
    """The subject with its encoded words read (RFC 2047), as far as they can be."""
    words = decode_header(_field(mail, "Subject") or "")
    return "".join(word if isinstance(word, str) else word.decode("utf-8", errors="replace") for word, _ in words)


def _parts(mail: Message) -> list[Message]:
    payload = mail.get_payload()
    parts = payload if isinstance(payload, list) else []
    return [part for part in parts[:MAX_PARTS] if isinstance(part, Message)]


def _kind(mail: Message) -> str:
    return mail.get_content_type()


def _parameter(mail: Message, name: str) -> str:
    return str(mail.get_param(name) or "").strip().lower()


def _ids(mail: Message, name: str) -> list[str]:
    return _MESSAGE_ID.findall(_field(mail, name) or "")[:50]


def _field(mail: Message, name: str) -> str | None:
    """A header in one line that can be printed, whatever its bytes."""
    value = mail.get(name)  # a Header where its bytes are no ASCII
    if value is None:
        return None
    return "".join(one if one.isprintable() else " " for one in str(value)[:MAX_FIELD_CHARS]).strip()
