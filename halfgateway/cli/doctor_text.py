"""What the doctor found, in the words of whoever looks after cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from halfgateway.inspection.doctor import Report, Step
from halfgateway.inspection.recorder_doctor import RecorderReport

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
    "recorder-recordings": "Enregistrements déclarés",
    "recorder-footage": "Images disponibles",
    "replay-open": "Relecture, ouverture",
    "replay-play": "Relecture d'une seconde",
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
    "no-such-recording": "l'enregistreur ne connaît pas tous les enregistrements configurés",
    "no-footage": "aucune image pour au moins une caméra",
    "no-recording": "aucune image",
    "recorder-unreachable": "l'enregistreur ne répond pas, ou refuse",
}

_WARNINGS = {
    "clock-drift": "l'horloge dérive",
    "no-sender-report": "aucun rapport RTCP (SR) reçu",
    "report-clock-off": "l'heure des rapports RTCP est fausse",
    "no-whole-gop": "aucun GOP entier vu",
    "packets-lost": "paquets perdus",
    "no-parameter-sets": "aucun jeu de paramètres, ni dans le SDP ni dans le flux",
    "packets-exceed-mtu": "paquets trop grands pour UDP",
    "unverified-footage": "lacunes inconnues : l'enregistreur ne dit que le début et la fin",
}

_TRANSPORTS = {"tcp-interleaved": "TCP entrelacé", "udp": "UDP, faute de TCP entrelacé"}


def doctor_text(report: Report) -> str:
    """One line a step, then the verdict."""
    profile = f", profil {report.profile}" if report.profile else ""
    return _text(f"Caméra {report.camera}{profile}", report.steps)


def recorder_text(report: RecorderReport) -> str:
    """The same of a recorder."""
    return _text(f"Enregistreur {report.recorder}", report.steps)


def _text(title: str, steps: Sequence[Step]) -> str:
    failed = sum(step.ok is False for step in steps)
    verdict = "Tout fonctionne." if all(step.ok for step in steps) else f"Étapes en échec : {failed}."
    return "\n".join([title, *(_line(step) for step in steps), verdict])


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


def _recordings(detail: dict[str, Any]) -> str:
    missing = f", manquants pour {', '.join(detail['missing'])}" if detail["missing"] else ""
    return f"{detail['recordings']} enregistrement(s){missing}"


def _footage(detail: dict[str, Any]) -> str:
    if "cameras" not in detail:
        return _said(detail)
    return ", ".join(
        f"{each['camera']} du {each['oldest']} au {each['newest']} en {each['intervals']} partie(s)"
        if each["intervals"]
        else f"{each['camera']} : rien"
        for each in detail["cameras"]
    )


def _opened(detail: dict[str, Any]) -> str:
    if "codec" not in detail:
        return _said(detail)
    return f"{detail['codec']}, {'lit' if detail['reverses'] else 'ne lit pas'} en arrière"


def _replayed(detail: dict[str, Any]) -> str:
    if "began" not in detail:
        return _said(detail)
    return (
        f"{detail['pictures']} images, 1re image après {detail['first_picture_ms']} ms, filmée le {detail['began']}"
        f" pour le {detail['asked']} demandé"
    )


def _said(detail: dict[str, Any]) -> str:
    return str(detail.get("said", ""))


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
    "recorder-recordings": _recordings,
    "recorder-footage": _footage,
    "replay-open": _opened,
    "replay-play": _replayed,
}
