"""What the doctor found, in the words of whoever looks after cameras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from halfgateway.inspection.doctor import Report, Step

_TITLES = {
    "onvif-connect": "ONVIF, connexion",
    "onvif-clock": "ONVIF, horloge",
    "onvif-device-information": "ONVIF, appareil",
    "onvif-profiles": "ONVIF, profils",
    "onvif-stream-uri": "ONVIF, adresses des flux",
    "rtsp-connect": "RTSP, connexion",
    "rtsp-options": "RTSP OPTIONS",
    "rtsp-describe": "RTSP DESCRIBE",
    "rtsp-setup": "RTSP SETUP",
    "rtsp-play": "RTSP PLAY",
    "rtsp-teardown": "RTSP TEARDOWN",
}

_FAULTS = {
    "unreachable": "injoignable",
    "timeout": "pas de réponse à temps",
    "auth-rejected": "identifiants refusés",
    "rtsp-401": "identifiants refusés",
    "rtsp-404": "flux inconnu de la caméra",
    "rtsp-453": "toutes les sessions de la caméra sont prises",
    "rtsp-461": "ni TCP entrelacé, ni UDP",
    "locked": "déjà refusée avec ces identifiants : non redemandée",
    "not-supported": "non pris en charge",
    "malformed": "réponse illisible",
    "forbidden-host": "adresse hors de la liste autorisée",
    "no-video": "aucun profil vidéo",
    "clock-offset": "horloge fausse : les enregistrements seraient cherchés à la mauvaise heure",
    "no-media": "aucun paquet reçu",
    "no-key-frame": "aucune image clé reçue",
}

_WARNINGS = {
    "clock-drift": "l'horloge dérive",
    "no-sender-report": "aucun rapport RTCP (SR) reçu",
    "report-clock-off": "l'heure des rapports RTCP est fausse",
    "no-whole-gop": "aucun GOP entier vu",
    "packets-lost": "paquets perdus",
    "no-parameter-sets": "aucun jeu de paramètres, ni dans le SDP ni dans le flux",
    "packets-exceed-mtu": "paquets trop grands pour UDP",
}

_TRANSPORTS = {"tcp-interleaved": "TCP entrelacé", "udp": "UDP, faute de TCP entrelacé"}


def doctor_text(report: Report) -> str:
    """One line a step, then the verdict."""
    profile = f", profil {report.profile}" if report.profile else ""
    lines = [f"Caméra {report.camera}{profile}", *(_line(step) for step in report.steps)]
    failed = sum(step.ok is False for step in report.steps)
    verdict = "Tout fonctionne." if report.ok else f"Étapes en échec : {failed}."
    return "\n".join([*lines, verdict])


def _line(step: Step) -> str:
    title = f"{_TITLES[step.name]:<26}"
    if step.ok is None:
        return f"  -  {title} non essayé"
    tell = _DETAILS.get(step.name)
    told = tell(step.detail) if tell is not None and step.detail else ""
    fault = f"ÉCHEC : {_FAULTS.get(step.fault, step.fault)}" if step.fault else ""
    warnings = ", ".join(f"attention : {_WARNINGS[word]}" for word in step.warnings)
    said = " ; ".join(part for part in (fault, told, warnings) if part)
    return f"  {'✓' if step.ok else '✗'}  {title} {step.ms:>8.0f} ms  {said}".rstrip()


def _clock(detail: dict[str, Any]) -> str:
    source = "SOAP" if detail["source"] == "soap" else "en-tête HTTP Date"
    return f"écart de {detail['offset_s']:+.1f} s ({source})"


def _device(detail: dict[str, Any]) -> str:
    return f"{detail['manufacturer']} {detail['model']}, micrologiciel {detail['firmware']}, n° {detail['serial']}"


def _profiles(detail: dict[str, Any]) -> str:
    return ", ".join(f"{each['codec']} {each['width']}×{each['height']}" for each in detail["profiles"])


def _streams(detail: dict[str, Any]) -> str:
    return ", ".join(f"{name} {url}" for name, url in detail["streams"].items())


def _description(detail: dict[str, Any]) -> str:
    size = f" {detail['width']}×{detail['height']}" if detail["width"] else ""
    sets = "dans le SDP" if detail["parameter_sets_in_sdp"] else "absents du SDP"
    audio = "son proposé, jamais demandé" if detail["audio_offered"] else "pas de son"
    return f"{detail['codec']}{size}, jeux de paramètres {sets}, {audio}"


def _media(detail: dict[str, Any]) -> str:
    size = f"{detail['width']}×{detail['height']}, " if detail["width"] else ""
    gop = f"GOP {detail['gop_frames']} images ({detail['gop_s']} s)" if detail["gop_frames"] else "GOP inconnu"
    sets = "dans le flux" if detail["parameter_sets_in_band"] else "absents du flux"
    offset = detail["clock_offset_s"]
    clock = f" à {offset:+.1f} s" if offset is not None else ""
    return (
        f"{size}{detail['fps']} images/s, {gop}, {detail['kbps']} kbit/s, jeux de paramètres {sets}, plus grand paquet "
        f"{detail['largest_packet_bytes']} octets, {detail['sender_reports']} rapport(s) RTCP{clock}, "
        f"1er paquet après {detail['first_packet_ms']} ms"
    )


_DETAILS: dict[str, Callable[[dict[str, Any]], str]] = {
    "onvif-clock": _clock,
    "onvif-device-information": _device,
    "onvif-profiles": _profiles,
    "onvif-stream-uri": _streams,
    "rtsp-options": lambda detail: detail["public"],
    "rtsp-describe": _description,
    "rtsp-setup": lambda detail: (
        f"{_TRANSPORTS[detail['transport']]}, session de {detail['session_timeout_s'] or 60} s"
    ),
    "rtsp-play": _media,
}
