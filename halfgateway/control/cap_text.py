"""What the requester of one stream too many is told (article 4): the wording is SYN's and is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from auth.policy import Mode
from halfgateway.control.holders import Holder, SlotsTaken
from halfgateway.errors import CapReached


def cap_reached(taken: SlotsTaken, reference: str, is_idle: Callable[[Holder], bool]) -> CapReached:
    """The refusal with its full French text; ``is_idle`` says of a holder that nothing plays in its slot."""
    says = _all_in_use if taken.used >= taken.cap else _the_rest_reserved
    text = f"{says(taken, is_idle)} La demande a été enregistrée sous le n° {reference}."
    return CapReached(text, retry_after_s=taken.retry_after_s)


def _all_in_use(taken: SlotsTaken, is_idle: Callable[[Holder], bool]) -> str:
    kept = _kept(taken.withheld)
    next_ones = f"Les prochaines places libérées sont réservées par la Préfecture de police ({kept}). " if kept else ""
    return (
        f"Nombre maximal de Flux atteint ({taken.used} sur {taken.cap}). Votre demande ne peut être satisfaite : "
        f"{taken.used} Flux, Temps réel et Temps différé confondus, sont déjà ouverts par la Préfecture de police "
        f"({_in_use(taken, is_idle)}) (article 4 de la convention). "
        f"{next_ones}Mettez fin à un Flux ou adressez-vous à votre responsable de salle."
    )


def _the_rest_reserved(taken: SlotsTaken, is_idle: Callable[[Holder], bool]) -> str:
    free = taken.cap - taken.used
    opened = (
        f"Flux déjà ouverts : {taken.used} ({_in_use(taken, is_idle)})" if taken.used else "aucun Flux n'est ouvert"
    )
    left = "la place restante est réservée" if free == 1 else f"les {free} places restantes sont réservées"
    return (
        f"Places réservées ({free} sur {taken.cap}). Votre demande ne peut être satisfaite ; {opened}, et {left} par "
        f"la Préfecture de police à d'autres services ({_kept(taken.withheld)}) (article 4 de la convention). "
        "Adressez-vous à votre responsable de salle."
    )


def _in_use(taken: SlotsTaken, is_idle: Callable[[Holder], bool]) -> str:
    modes = [holder.info.get("mode") for holder in taken.holders]
    services = sorted({str(holder.info["service"]) for holder in taken.holders if holder.info.get("service")})
    idle = sum(map(is_idle, taken.holders))
    return (
        f"{modes.count(Mode.LIVE.value)} en Temps réel, {modes.count(Mode.RECORDED.value)} en Temps différé, "
        f"{idle} inactif{'s' if idle > 1 else ''} ; services : {', '.join(services) or 'non précisés'}"
    )


def _kept(withheld: Mapping[str, int]) -> str:
    return ", ".join(f"{service} : {slots}" for service, slots in sorted(withheld.items()))
