"""What ``halfgateway agent`` tells people."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import segno

from halfgateway.cli.office import shown_day, shown_last_day

Json = dict[str, Any]

_OWNER_ALONE = 0o600
_PIXELS_A_MODULE = 8


def agent_line(agent: Json) -> str:
    """One designation."""
    whose = f"{agent['id']:<24} {agent['administration']:<4} {agent['service']:<12}"
    return f"{whose} {_term(agent)}, {_state(agent)}  réf. {agent['reference']}"


def agent_page(agent: Json) -> str:
    """One agent, with what hangs on the designation."""
    held = [f"  Habilitation  {habilitation_line(each)}" for each in agent["habilitations"]]
    accounts = [
        f"  Compte        {each['id']} ({each['role']}{', clos' if each['ended'] else ''})"
        for each in agent["accounts"]
    ]
    return "\n".join([agent_line(agent), f"  Autorité      {agent['authority']}", *held, *accounts])


def habilitation_line(habilitation: Json) -> str:
    """One habilitation."""
    confirmed = habilitation["confirmed_at"]
    seen = f"confirmée le {shown_day(confirmed)}" if confirmed else "jamais confirmée"
    return (
        f"{habilitation['id']}  {habilitation['agent']} : {habilitation['role']}, {_territory(habilitation)}, "
        f"{_term(habilitation)}, {_state(habilitation)}, {seen}"
    )


def held_line(habilitation: Json) -> str:
    """One right as it could be used on a day."""
    until = f" au {shown_last_day(habilitation['held_until'])}" if habilitation["held_until"] else ""
    return (
        f"{habilitation['agent']} ({habilitation['service']}) : {habilitation['role']}, {_territory(habilitation)}, "
        f"du {shown_day(habilitation['held_since'])}{until}, réf. {habilitation['reference']}"
    )


def enrolled(answer: Json) -> str:
    """What is given to the agent, once."""
    lines = [f"Compte {answer['account']} ({answer['role']}). Ce qui suit n'est affiché qu'une fois."]
    named = (("password", "Mot de passe"), ("machine_secret", "Secret du compte de service"), ("totp_secret", "TOTP"))
    lines += [f"  {name:<28} {answer[key]}" for key, name in named if answer[key] is not None]
    if answer["totp_uri"] is not None:
        lines += [qr_code(answer["totp_uri"]), answer["totp_uri"]]
    return "\n".join(lines)


def qr_code(uri: str) -> str:
    """A QR code for a terminal: two modules a line, by half blocks."""
    drawn = io.StringIO()
    segno.make_qr(uri).terminal(drawn, compact=True)
    return drawn.getvalue().rstrip("\n")


def write_qr_code(uri: str, path: Path) -> None:
    """A QR code as a PNG file. It holds a secret: for its owner alone, never over another file. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ALONE)
    with os.fdopen(descriptor, "wb") as file:
        segno.make_qr(uri).save(file, kind="png", scale=_PIXELS_A_MODULE)


def _term(record: Json) -> str:
    since = shown_day(record["start"])
    return f"du {since} au {shown_last_day(record['end'])}" if record["end"] else f"depuis le {since}"


def _state(record: Json) -> str:
    if record["ended_at"] is not None:
        return f"close ({record['ended_reason']})"
    return "en vigueur" if record["in_force"] else "hors dates"


def _territory(habilitation: Json) -> str:
    parts = [name for kind in ("communes", "sites", "cameras") for name in habilitation["territory"][kind]]
    return ", ".join(parts) if parts else "tout le périmètre"
