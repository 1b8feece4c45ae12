"""Refusals as RFC 9457 problem details, with their titles in French."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from auth.errors import AuthenticationError, AuthError, RecordsUnavailableError, ThrottledError
from auth.errors import TraceUnavailable as JournalUnavailable
from camera_registry.errors import StoreUnavailable
from halfgateway.errors import (
    InvalidRequest,
    PreflightFailed,
    Refusal,
    StateStoreUnavailable,
    Throttled,
    TraceUnavailable,
    Unauthenticated,
)

PROBLEM_MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:halfgateway:problem:"

TITLES = {
    "unauthenticated": "Authentification absente ou refusée",
    "not-habilitated": "Action non permise par l'habilitation",
    "camera-not-authorised": "Caméra non mise à disposition",
    "order-suspended": "Arrêté préfectoral d'autorisation suspendu",
    "recipient-not-authorised": "Service non destinataire des images",
    "site-not-declared": "Site de visualisation non déclaré",
    "assertion-invalid": "Attestation d'agent invalide",
    "convention-not-in-force": "Convention non en vigueur",
    "charter-not-acknowledged": "Charte éthique non acceptée",
    "unknown-camera": "Caméra inconnue",
    "unknown-stream": "Flux inconnu",
    "unknown-session": "Session inconnue",
    "unknown-export": "Export inconnu",
    "unknown-record": "Enregistrement inconnu",
    "unknown-entry": "Entrée inconnue du journal des accès",
    "no-recording": "Aucun enregistrement disponible",
    "cap-reached": "Nombre maximal de Flux atteint",
    "bandwidth-reached": "Débit maximal de la liaison atteint",
    "outside-retention": "Période non accessible",
    "invalid-request": "Requête invalide",
    "throttled": "Trop de tentatives depuis cette adresse",
    "interconnection-cut": "Interconnexion interrompue",
    "degraded-mode": "Interconnexion en mode dégradé",
    "proposal-lapsed": "Proposition de rétablissement échue",
    "preflight-failed": "Vérifications préalables au rétablissement en défaut",
    "camera-unreachable": "Caméra injoignable",
    "recorder-unreachable": "Enregistreur injoignable",
    "trace-unavailable": "Journal des accès indisponible",
    "transport-not-offered": "Mode de transport non proposé",
    "state-store-unavailable": "État des Flux indisponible",
    "not-ready": "Service non disponible",
}


class Fault(BaseModel):
    """One thing that is wrong with a request, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    where: str
    message: str


class Problem(BaseModel):
    """A refusal (RFC 9457); ``type`` ends in the reason code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    title: str
    status: int
    detail: str | None = None
    article: str | None = None
    retry_after: int | None = None
    faults: list[Fault] | None = None
    missing: list[str] | None = None


class InvalidCall(InvalidRequest):
    """The request does not have the declared shape; every fault is listed."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(" ; ".join(f"{fault.where} : {fault.message}" for fault in faults))
        self.faults = tuple(faults)


class NotReady(Refusal):
    """This node cannot serve now; ``missing`` names what it waits for."""

    code, http_status, rtsp_status = "not-ready", 503, 503

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(", ".join(missing))
        self.missing = tuple(missing)


class UnknownStream(Refusal):
    """No open stream has this id."""

    code, http_status, rtsp_status = "unknown-stream", 404, 454


class UnknownExport(Refusal):
    """No export has this id, or no file this name."""

    code, http_status, rtsp_status = "unknown-export", 404, 404


class UnknownSession(Refusal):
    """The caller has no open session of this id."""

    code, http_status, rtsp_status = "unknown-session", 404, 404


class UnknownRecord(Refusal):
    """No agent, habilitation, block, order or incident of this name that is open."""

    code, http_status, rtsp_status = "unknown-record", 404, 404


class UnknownEntry(Refusal):
    """The trace has no such entry, or none in a tree of that size."""

    code, http_status, rtsp_status = "unknown-entry", 404, 404
    article: ClassVar[str | None] = None


def faults_of(place: str, error: ValidationError) -> list[Fault]:
    """List what a model found wrong, without the input itself: it may hold a secret, or no UTF-8."""
    return [
        Fault(where=".".join([place, *map(str, found["loc"])]), message=found["msg"].removeprefix("Value error, "))
        for found in error.errors(include_input=False, include_url=False, include_context=False)
    ]


def refusal_of(error: AuthError | StoreUnavailable) -> Refusal | None:
    """Return the public face of another package's declared error; None for one that is a bug here."""
    if isinstance(error, AuthenticationError):
        return Unauthenticated()
    if isinstance(error, ThrottledError):
        return Throttled(retry_after_s=error.retry_after_s)
    if isinstance(error, JournalUnavailable):
        return TraceUnavailable("Le journal des accès ne peut être écrit ou lu.")
    if isinstance(error, RecordsUnavailableError | StoreUnavailable):
        return StateStoreUnavailable("Les comptes ou le référentiel ne peuvent être lus.")
    return None


def problem_response(refusal: Refusal) -> web.Response:
    """Answer with a refusal."""
    problem = Problem(
        type=TYPE_PREFIX + refusal.code,
        title=TITLES.get(refusal.code, refusal.code),
        status=refusal.http_status,
        detail=refusal.detail or None,
        article=refusal.article,
        retry_after=refusal.retry_after_s,
        faults=list(refusal.faults) if isinstance(refusal, InvalidCall) else None,
        missing=list(refusal.missing) if isinstance(refusal, NotReady | PreflightFailed) else None,
    )
    response = _response(problem)
    response.headers["Content-Language"] = "fr"
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.http_status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="halfgateway"'
    return response


def http_error_response(error: web.HTTPException) -> web.Response:
    """Answer with what the HTTP layer itself refuses: no such path, wrong method, body too large."""
    response = _response(Problem(type="about:blank", title=HTTPStatus(error.status).phrase, status=error.status))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _response(problem: Problem) -> web.Response:
    body = json.dumps(problem.model_dump(exclude_none=True), ensure_ascii=False).encode()
    return web.Response(status=problem.status, body=body, content_type=PROBLEM_MEDIA_TYPE)
