"""What an export says of itself, for machines (JSON) and for people (French): who had what, when, why (L14)."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from auth.purposes import Purpose
from auth.trace import Entry
from auth.trace.checkpoint import Checkpoint
from camera_registry.cameras import Camera
from camera_registry.clock import rfc3339
from camera_registry.paris import PARIS
from halfgateway import __version__
from halfgateway.control.access import AccessRequest
from halfgateway.exporting.film import Film

FORMAT = "halfgateway-export/1"
MANIFEST, READABLE, SIGNATURE = "manifest.json", "manifeste.txt", "manifest.json.p7s"
ARTICLE = "article 6 de la convention ; code de la sécurité intérieure, articles L. 252-1 et suivants"


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What a manifest tells of. ``intent`` is the entry that was durable before a byte was read, ``head`` the signed
    head of the trace that covers it.
    """

    request: AccessRequest
    camera: Camera
    start: datetime
    end: datetime
    agreement: str
    film: Film
    intent: Entry
    head: Checkpoint
    finished_at: datetime

    @property
    def obtained(self) -> tuple[datetime, datetime]:
        """The first instant that was filmed, and the last."""
        pieces = self.film.pieces
        return pieces[0].start, max(piece.end for piece in pieces)

    @property
    def duration(self) -> timedelta:
        """How much footage there is, without the gaps."""
        return sum((piece.end - piece.start for piece in self.film.pieces), timedelta())


def to_json(making: Making, readable_sha256: str) -> bytes:
    """The manifest, in UTF-8."""
    request, camera, head = making.request, making.camera, making.head
    principal = request.principal
    begins, ends = making.obtained
    document: dict[str, Any] = {
        "format": FORMAT,
        "export": request.stream,
        "software": f"halfgateway {__version__}",
        "camera": {
            "id": camera.id,
            "name": camera.name,
            "site": camera.site,
            "commune": camera.commune,
            "latitude": camera.latitude,
            "longitude": camera.longitude,
        },
        "asked": {"start": rfc3339(making.start), "end": rfc3339(making.end)},
        "obtained": {
            "start": rfc3339(begins),
            "end": rfc3339(ends),
            "duration_s": round(making.duration.total_seconds(), 3),
        },
        "gaps": [{"start": rfc3339(gap.start), "end": rfc3339(gap.end)} for gap in making.film.gaps],
        "damaged_pictures": making.film.damaged,
        "by": {
            "agent": principal.agent,
            "service": principal.service,
            "site": principal.site,
            "account": principal.account,
            "role": principal.role.value,
            "attribution": principal.attribution.value if principal.attribution else None,
            "assertion": request.assertion,
            "assertion_key": principal.assertion_key,
        },
        "requested_at": rfc3339(making.intent.at),
        "finished_at": rfc3339(making.finished_at),
        "reason": {"code": request.reason, "wording": Purpose(request.reason).wording},
        "reference": request.reference,
        "agreement": making.agreement,
        "article": ARTICLE,
        "files": [piece.to_json() for piece in making.film.pieces],
        "readable": {"name": READABLE, "sha256": readable_sha256},
        "trace": {"node": making.intent.node, "n": making.intent.n},
        "checkpoint": {"origin": head.origin, "size": head.size, "root": _base64(head.root)},
    }
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def to_text(making: Making) -> bytes:
    """The same for people, in UTF-8; times are those of Paris."""
    request, camera, head = making.request, making.camera, making.head
    principal = request.principal
    begins, ends = making.obtained
    attribution = principal.attribution.value if principal.attribution else "-"
    gaps = [f"  du {_paris(gap.start)} au {_paris(gap.end)}" for gap in making.film.gaps] or ["  aucune"]
    lines = [
        "EXPORT D'ENREGISTREMENTS DE VIDÉOPROTECTION",
        "",
        f"Export            : {request.stream}",
        f"Caméra            : {camera.id} - {camera.name}",
        f"Lieu              : {camera.site}, {camera.commune} ({camera.latitude}, {camera.longitude})",
        f"Période demandée  : du {_paris(making.start)} au {_paris(making.end)}",
        f"Période obtenue   : du {_paris(begins)} au {_paris(ends)}",
        f"Durée des images  : {making.duration.total_seconds():.3f} s",
        "Lacunes           :",
        *gaps,
        f"Images abîmées    : {making.film.damaged} (non copiées)",
        "",
        f"Demandé par       : agent {principal.agent or '-'}, service {principal.service or '-'}",
        f"Compte            : {principal.account} ({attribution})",
        f"Demandé le        : {_paris(making.intent.at)}",
        f"Terminé le        : {_paris(making.finished_at)}",
        f"Finalité          : {request.reason} - {Purpose(request.reason).wording}",
        f"Référence         : {request.reference or '-'}",
        f"Accord            : {making.agreement}",
        f"Fondement         : {ARTICLE}",
        "",
        "Fichiers (copies à l'identique, sans réencodage) :",
    ]
    for piece in making.film.pieces:
        lines += [
            f"  {piece.name}",
            f"    {piece.codec}, {piece.pictures} images, {piece.size_bytes} octets",
            f"    du {_paris(piece.start)} au {_paris(piece.end)}",
            f"    SHA-256 du fichier           : {piece.sha256}",
            f"    SHA-256 du flux élémentaire  : {piece.stream_sha256}",
        ]
    lines += [
        "",
        f"Journal des accès : nœud {making.intent.node}, entrée n° {making.intent.n}",
        f"Point de contrôle : {head.origin}, {head.size} entrées, racine {_base64(head.root)}",
        f"Logiciel          : halfgateway {__version__}",
        "",
        f"{MANIFEST} contient ces mentions et l'empreinte de ce texte ; {SIGNATURE} en est la signature (CMS).",
        "",
    ]
    return "\n".join(lines).encode()


def _base64(root: bytes) -> str:
    return b64encode(root).decode("ascii")


def _paris(at: datetime) -> str:
    local = at.astimezone(PARIS)
    return f"{local:%d/%m/%Y %H:%M:%S}.{local.microsecond // 1000:03d} (UTC{local:%z})"
