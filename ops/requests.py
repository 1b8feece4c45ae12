"""Requests that reach SYN outside the link, and requisitions: what came in, what was answered, when and why (C05).

The register shows the "obligation de moyens" (article 6): each request with its delay, and the cause of one that was
not served. Services and functions stand in it, never names (C17). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ops.errors import RequestRefused


class _Worded(StrEnum):
    """A code with what people read of it; ``_Worded(code)`` looks one up."""

    wording: str

    def __new__(cls, code: str, wording: str = "") -> _Worded:
        """Build a member from its code and wording."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.wording = wording
        return member


class Sort(_Worded):
    """What was received."""

    REQUISITION = "requisition", "réquisition"
    REQUEST = "request", "demande"


class Channel(_Worded):
    """How it came."""

    MAIL = "mail", "courriel"
    TELEPHONE = "telephone", "téléphone"
    LETTER = "letter", "courrier"
    ON_SITE = "on-site", "sur place"


class Outcome(_Worded):
    """What came of it."""

    SERVED = "served", "satisfaite"
    PARTLY = "partly-served", "satisfaite en partie"
    NOT_SERVED = "not-served", "non satisfaite"


class Cause(_Worded):
    """Why it could not be served, or only in part; where the link refuses by the same cause, by the same code."""

    OUTSIDE_RETENTION = "outside-retention", "hors de la durée d'accès ou de conservation"
    NO_RECORDING = "no-recording", "aucun enregistrement sur la période"
    RECORDER_UNREACHABLE = "recorder-unreachable", "enregistreur indisponible"
    CAMERA_UNREACHABLE = "camera-unreachable", "caméra indisponible"
    INTERCONNECTION_CUT = "interconnection-cut", "Interconnexion interrompue"
    UNKNOWN_CAMERA = "unknown-camera", "caméra inconnue"
    NOT_AUTHORISED = "camera-not-authorised", "caméra non mise à disposition"
    NOT_COMPETENT = "not-competent", "demandeur non habilité ou acte non recevable"
    INCOMPLETE = "incomplete", "demande imprécise, restée sans complément"
    WITHDRAWN = "withdrawn", "demande retirée par son auteur"
    OTHER = "other", "autre, dite dans la réponse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered; ``cause`` where less was served than was asked for."""

    outcome: Outcome
    cause: Cause | None
    text: str
    at: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideRequest:
    """One request. ``service`` is who asks (a service or a court), ``reference`` theirs.

    ``camera`` and the period are None where the request does not tell them.
    """

    number: int
    sort: Sort
    channel: Channel
    service: str
    reference: str | None
    camera: str | None
    start: datetime | None
    end: datetime | None
    received_at: datetime
    recorded_at: datetime
    recorded_by: str
    answer: Answer | None = None

    def delay(self, now: datetime) -> timedelta:
        """How long it took to answer; of one that is not answered yet, how long it waits."""
        return (self.answer.at if self.answer is not None else now) - self.received_at


def receive(request: OutsideRequest) -> OutsideRequest:
    """Let a request be put on record. Raises RequestRefused."""
    if request.received_at > request.recorded_at:
        raise RequestRefused("Une demande n'est pas reçue dans l'avenir.")
    if (request.start is None) != (request.end is None):
        raise RequestRefused("Une période a un début et une fin.")
    if request.start is not None and request.end is not None and request.start >= request.end:
        raise RequestRefused("La période se termine après son début.")
    if request.sort is Sort.REQUISITION and request.reference is None:
        raise RequestRefused("Une réquisition a une référence.")
    return request


def answer(request: OutsideRequest, given: Answer, now: datetime) -> None:
    """Let a request be answered, once. Raises RequestRefused."""
    if request.answer is not None:
        raise RequestRefused(f"La demande n° {request.number} a déjà reçu une réponse.")
    if not request.received_at <= given.at <= now:
        raise RequestRefused("La réponse suit la réception de la demande, et n'est pas à venir.")
    if (given.outcome is Outcome.SERVED) != (given.cause is None):
        raise RequestRefused("Une cause est dite de ce qui n'est pas satisfait, et de rien d'autre.")
