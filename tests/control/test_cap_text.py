"""What the requester of an eleventh stream reads (C01, S16)."""

from __future__ import annotations

from datetime import UTC, datetime

from halfgateway.control.cap_text import cap_reached
from halfgateway.control.holders import Holder, SlotsTaken

SINCE = datetime(2026, 11, 21, tzinfo=UTC)


def holder(number: int, mode: str, service: str | None) -> Holder:
    return Holder(f"s-{number}", "a", SINCE, 10.0, {"mode": mode, "service": service, "camera": "cam-1"})


def test_it_says_how_many_are_live_recorded_and_idle_and_who_holds_them() -> None:
    # C01 S16
    holders = tuple(holder(n, "live" if n < 7 else "recorded", ("DRPJ", "DOPC", None)[n % 3]) for n in range(10))
    refusal = cap_reached(SlotsTaken(10, 10, holders), "abc123", lambda each: each.slot_id in {"s-1", "s-2"})
    assert (refusal.code, refusal.rtsp_status, refusal.http_status) == ("cap-reached", 453, 409)
    assert refusal.retry_after_s == 5
    assert refusal.detail == (
        "Nombre maximal de Flux atteint (10 sur 10). Votre demande ne peut être satisfaite : 10 Flux, Temps réel et "
        "Temps différé confondus, sont déjà ouverts par la Préfecture de police (7 en Temps réel, 3 en Temps différé, "
        "2 inactifs ; services : DOPC, DRPJ) (article 4 de la convention). Mettez fin à un Flux ou adressez-vous à "
        "votre responsable de salle. La demande a été enregistrée sous le n° abc123."
    )


def test_services_that_did_not_say_who_they_are() -> None:
    # S16
    refusal = cap_reached(SlotsTaken(1, 1, (holder(1, "live", ""),)), "n", lambda _: False)
    assert "services : non précisés" in refusal.detail
