"""``LISEZMOI.txt`` of an incident's dossier: what lies beside it, and the commands that check it, ready to be typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from email import message_from_bytes
from email.policy import default

from auth.trace.dossier import VERIFIER
from ops.incidents.incident import Incident

_SIGNED = "multipart/signed"
_AUTHORITY_WANTED = "AUTORITÉ_DE_LA_MESSAGERIE.pem"


def readme(
    incident: Incident,
    mails: Mapping[str, bytes],
    proof_folders: Sequence[str],
    authority: str | None,
    last_link: str,
) -> str:
    """Return the text. ``authority`` is the file of the signatures' authority; ``last_link`` the book's last digest."""
    drill = "Cet incident est un EXERCICE : aucun Flux n'a été interrompu.\n\n" if incident.drill else ""
    with_authority = "    autorite.pem       l'autorité des signatures\n" if authority is not None else ""
    with_proofs = (
        "    preuves/           les entrées du journal des accès qui citent l'incident, chacune avec sa preuve\n"
        f"    {VERIFIER} le vérificateur du journal, en un fichier\n"
        if proof_folders
        else ""
    )
    parts = [_mails_checked(mails), *_signatures_checked(mails, authority), _book_checked(last_link)]
    parts += [_trace_checked(proof_folders)] if proof_folders else []
    checks = "\n".join(f"{n}. {part}" for n, part in enumerate(parts, start=1))
    return f"""DOSSIER D'INCIDENT N° {incident.id}
Seine-et-Yvelines Numérique, Demi-Passerelle Partenaire

{drill}    dossier.pdf        le dossier à lire : survenance, échéance, chronologie, courriels, preuves
    livre/events       le livre de l'incident, à l'octet près : une ligne par événement (empreinte, JSON)
    courriels/         chaque courriel, à l'octet près ; son nom est son empreinte SHA-256
{with_authority}{with_proofs}
Le livre et les courriels sont tels qu'ils ont été écrits : les relire avant toute remise hors de SYN (articles 9
et 10 de la convention).

VÉRIFIER (dans ce dossier, sans réseau ; il faut sha256sum et openssl, Python 3.11 et « cryptography » pour le journal)

{checks}
"""


def _mails_checked(mails: Mapping[str, bytes]) -> str:
    if not mails:
        return "Aucun courriel n'a été rédigé pour cet incident.\n"
    return """Chaque courriel est celui dont le livre donne l'empreinte :

    cd courriels && for f in *.eml; do echo "${f%.eml}  $f"; done | sha256sum --check
"""


def _signatures_checked(mails: Mapping[str, bytes], authority: str | None) -> Iterator[str]:
    for sha256, content in mails.items():
        message = message_from_bytes(content, policy=default)
        named = f"Le courriel {sha256[:12]}…"
        if message.get_content_type() != _SIGNED:
            yield f"{named} n'est pas signé.\n"
            continue
        sent = message["Date"].datetime
        yield f"""{named} porte la signature de SYN, valide à sa date ({sent:%d/%m/%Y}) :

    openssl smime -verify -CAfile {authority or _AUTHORITY_WANTED} -attime {int(sent.timestamp())} \\
      -in courriels/{sha256}.eml -out /dev/null
"""


def _book_checked(last_link: str) -> str:
    return f"""Le livre est d'un seul tenant, du premier événement au dernier ; la commande affiche
   {last_link} :

    p=$(printf '%064d' 0)
    while IFS=' ' read -r h e; do
      [ "$(printf '%s%s' "$p" "$e" | sha256sum | cut -c 1-64)" = "$h" ] || {{ echo "livre altéré"; exit 1; }}
      p=$h
    done < livre/events
    echo "$p"
"""


def _trace_checked(folders: Sequence[str]) -> str:
    commands = "\n".join(f"    python3 {VERIFIER} {folder}" for folder in folders)
    return f"""Le journal des accès porte ces entrées (codes de retour : 0 valide, 6 valide mais non ancré ; ajouter
   --anchor avec un point de contrôle conservé par la Préfecture de police) :

{commands}
"""
