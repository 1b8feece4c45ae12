"""What the requester of an eleventh stream is told (article 4): the wording is SYN's and is kept."""

from __future__ import annotations

from collections.abc import Callable

from auth.policy import Mode
from halfgateway.control.slots import SlotsTaken
from halfgateway.errors import CapReached


def cap_reached(taken: SlotsTaken, reference: str, is_idle: Callable[[str], bool]) -> CapReached:
    """The refusal with its full French text; ``is_idle`` says of a slot that nothing plays in it here."""
    modes = [holder.info.get("mode") for holder in taken.holders]
    services = sorted({str(holder.info["service"]) for holder in taken.holders if holder.info.get("service")})
    idle = sum(is_idle(holder.slot_id) for holder in taken.holders)
    text = (
        f"Nombre maximal de Flux atteint ({taken.used} sur {taken.cap}). Votre demande ne peut être satisfaite : "
        f"{taken.used} Flux, Temps réel et Temps différé confondus, sont déjà ouverts par la Préfecture de police "
        f"({modes.count(Mode.LIVE.value)} en Temps réel, {modes.count(Mode.RECORDED.value)} en Temps différé, "
        f"{idle} inactifs ; services : {', '.join(services) or 'non précisés'}) (article 4 de la convention). "
        "Mettez fin à un Flux ou adressez-vous à votre responsable de salle. "
        f"La demande a été enregistrée sous le n° {reference}."
    )
    return CapReached(text, retry_after_s=taken.retry_after_s)
