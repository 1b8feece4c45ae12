"""Every error that ``ops`` raises on purpose.

``halfgateway`` and the command line turn them into their own answers at the edge; anything else that escapes is a bug.
"""

from __future__ import annotations


class OpsError(Exception):
    """Base of every declared error of this package."""


class DamagedState(OpsError):
    """Bytes that should be a state of the interconnection and are not; whoever reads them must not grant."""


class TransitionRefused(OpsError):
    """The interconnection may not change in this way, now, or by this person."""


class NothingToRestore(TransitionRefused):
    """The interconnection is neither cut nor in a drill."""


class WrongIncident(TransitionRefused):
    """A restoration names another incident than the one that is open. ``current`` is the latter."""

    def __init__(self, current: str) -> None:
        super().__init__(f"the interconnection is cut by incident {current}")
        self.current = current


class IncidentReused(TransitionRefused):
    """A cut bears the id of an incident that a former cut bore already."""


class PersonRequired(TransitionRefused):
    """Only a person restores, never a detection or the calendar (article 8)."""


class OfficerRequired(TransitionRefused):
    """After a security measure only the security officer restores."""


class DrillRefused(TransitionRefused):
    """No drill while the interconnection is really cut: it would hide the incident in course (N14)."""


class DegradationRefused(TransitionRefused):
    """No degraded mode now: the interconnection is cut, in a drill, or in that mode already."""


class LocalRecordError(OpsError):
    """The node's own record of the interconnection could not be written: nothing is known to be durable."""


class LockHeld(OpsError):
    """Another process holds a file's lock for longer than anything of ours takes."""


class BookError(OpsError):
    """An incident's book could not be read or written: nothing is known to be durable."""


class DamagedBook(BookError):
    """A line of an incident's book is not as it was written: a person has to look."""


class UnknownIncident(OpsError):
    """There is no incident of that id."""


class ReturnsUnavailable(OpsError):
    """The mailbox of returns could not be read: what lies in it is read later."""


class CallFailed(OpsError):
    """Nobody could be called, or shouted at, by this means."""


class IncidentRefused(OpsError):
    """What was asked of an incident does not fit where it stands; the message says so in French."""


class CopyingRefused(OpsError):
    """A message would go over the border without both parties in copy, or PP into an internal one (C14, C16)."""


class NoContact(OpsError):
    """Annex 2 or 3 has never had a contact of the wanted role."""


class WordingError(OpsError):
    """A text lacks a fact that it states, or a template is not as its caller takes it to be."""


class SigningError(OpsError):
    """The S/MIME certificate or its key cannot be used, or a message cannot be signed with it."""


class RecordRefused(OpsError):
    """What is to be put on record of the convention's life is not allowed; the text says why, in French."""


class ChangeRefused(RecordRefused):
    """A change cannot take this step now (article 8)."""


class WindowRefused(RecordRefused):
    """A maintenance window cannot be planned or withdrawn like this (P07)."""


class AnnexRefused(RecordRefused):
    """An annex cannot be brought up to date like this (article 11)."""


class ActRefused(RecordRefused):
    """An act on the convention itself is not allowed, or not yet (article 11)."""


class AcceptanceRefused(RecordRefused):
    """An acceptance record is not complete (C23)."""


class RequestRefused(RecordRefused):
    """A request made outside the link cannot be put on record, or answered, like this (C05)."""


class UnknownItem(OpsError):
    """There is no such change, window or version on record."""


class AnnouncementError(OpsError):
    """An announcement could not be made durable, or read."""


class ConditionsError(OpsError):
    """What is wrong with a node could not be shown to the processes beside it."""


class SourceUnavailable(OpsError):
    """What is to be mailed cannot be learnt now; it is looked again."""
