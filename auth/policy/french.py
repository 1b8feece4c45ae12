"""What a refusal says to the person who asked; the wording is SYN's and is kept."""

from __future__ import annotations

from datetime import datetime

from camera_registry.french import day, moment
from camera_registry.orders import Order

_LAW = "articles L. 252-1 et L. 252-4 du code de la sécurité intérieure ; article 1 et annexe 8 de la convention"


def not_exposed(camera: str, order: Order | None, because: str, number: str) -> str:
    """No order lets the camera's images be passed on: ``because`` completes the sentence on it."""
    if order is None:
        subject = f"La caméra {camera} {because}"
    else:
        act = f"L'arrêté préfectoral d'autorisation n° {order.reference} du {day(order.signed_on)}"
        subject = f"{act} couvrant la caméra {camera} {because}"
    return (
        f"Caméra non mise à disposition. {subject} ; ses images ne peuvent être transmises ({_LAW}). "
        "Votre demande est tenue à la disposition du point de contact de Seine-et-Yvelines Numérique. "
        f"{recorded(number)}"
    )


def too_old(start: datetime, accessible_from: datetime, number: str) -> str:
    """The period begins before what may be reached."""
    return (
        "Période non accessible. Les Flux en Temps différé sont accessibles pendant dix jours "
        f"(article 6 de la convention). La période demandée débute le {moment(start)} ; "
        f"les images de cette caméra sont accessibles à compter du {moment(accessible_from)}. "
        "Pour les besoins d'une procédure judiciaire, une réquisition peut être adressée sans délai à "
        "Seine-et-Yvelines Numérique (annexe 3), sous réserve que les enregistrements n'aient pas été détruits. "
        f"{recorded(number, of='La demande a été enregistrée')}"
    )


def recorded(number: str, of: str = "Demande enregistrée") -> str:
    """Under which number the request was recorded; nothing where it has none."""
    return f"{of} sous le n° {number}." if number else ""
