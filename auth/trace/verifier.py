"""The offline verifier's command: a journal or a dossier in, a verdict and its exit code out (T06).

No network, no database, no trust in who handed it over: this is also what ``halfgateway-verify`` consists of, which
is made from this program's own modules and needs the standard library and ``cryptography`` alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auth.errors import NoteError, TraceDamaged, TraceUnavailable
from auth.trace.dossier import Judgement, verify_dossier
from auth.trace.notes import read_keys
from auth.trace.timestamp import read_authorities, read_revocations
from auth.trace.verify import Status
from auth.trace.witness import Cosigner

UNREADABLE = 1
"""Exit code: a file cannot be read, so there is no verdict."""

WRONG_USAGE = 2
"""Exit code: what was given to compare with is no anchor, key or cosigner."""

_VERDICTS = {
    Status.VALID: "VALIDE",
    Status.INVALID: "INVALIDE",
    Status.DIVERGED: "DIVERGENT : ce n'est pas le journal dont l'ancre a été conservée",
    Status.INCOMPLETE: "INCOMPLET : une partie manque",
    Status.UNANCHORED: "VALIDE, NON ANCRÉ : rien d'extérieur ne montre que tout y est",
}


def judge(
    path: Path,
    *,
    anchors: Sequence[Path] = (),
    keys: Path | None = None,
    cosigners: Sequence[str] = (),
    authorities: Sequence[Path] = (),
    revocations: Sequence[Path] = (),
) -> Judgement:
    """Verify with what is read from files (anchors, keys, authorities, their lists), and cosigners given as vkeys.

    Raises ValueError, in French, when one of these is none; TraceUnavailable when a file cannot be read.
    """
    try:
        known = [each for authority in authorities for each in read_authorities(authority.read_bytes())]
        return verify_dossier(
            path,
            anchors=[anchor.read_text(encoding="utf-8") for anchor in anchors],
            keys=read_keys(keys) if keys is not None else None,
            cosigners=[Cosigner.parse(vkey) for vkey in cosigners],
            authorities=known,
            revocations=[each for lists in revocations for each in read_revocations(lists.read_bytes(), known)],
        )
    except NoteError as error:
        raise ValueError(
            f"une ancre, un cosignataire, une autorité ou sa liste n'est pas recevable : {error}"
        ) from error
    except TraceDamaged as error:
        raise ValueError(f"le fichier de clés n'est pas recevable : {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"un fichier donné n'est pas lisible : {error}") from error


def as_json(found: Judgement) -> dict[str, Any]:
    """Return a verdict as one JSON object."""
    seen = [asdict(seen) for seen in found.cosigned]
    tokens = {"unchecked_tokens": found.unchecked_tokens, "revoked_tokens": found.revoked_tokens}
    return {**found.verification.to_json(), "cosigned": seen, **tokens}


def as_text(path: Path, found: Judgement) -> str:
    """Return a verdict as people read it."""
    verdict = found.verification
    lines = [f"{path} : {_VERDICTS[verdict.status]}", f"  Constat          {verdict.message}"]
    if verdict.first_bad is not None:
        lines.append(f"  Première entrée en cause : n° {verdict.first_bad}")
    lines.append(
        f"  Entrées          {verdict.entries}, dont {verdict.erased} éliminées ; {verdict.signed} signées,"
        f" {verdict.anchored} ancrées"
    )
    lines += [
        f"  Attesté par      {seen.name}, {seen.size} entrées, le {_shown(seen.at)} (UTC)" for seen in found.cosigned
    ]
    if verdict.lost:
        lines.append(f"  Perte constatée  {verdict.lost} entrées, que le journal déclare lui-même perdues")
    if found.unchecked_tokens:
        lines += [
            f"  Jetons d'horodatage non vérifiés : {found.unchecked_tokens} ; indiquez --tsa AUTORITÉ.pem, ou",
            "  openssl ts -verify -token_in -in NOM.tst -data NOM.note -CAfile AUTORITÉ.pem",
        ]
    if found.revoked_tokens:
        lines += [
            f"  Jetons d'horodatage sans valeur : {found.revoked_tokens} ; le certificat de l'autorité a été révoqué,",
            "  ou sa liste de révocation était périmée à la date du jeton",
        ]
    if verdict.key is not None:
        lines.append(f"  Clé du journal   {verdict.key}")
    if verdict.signing_key not in {None, verdict.key}:
        lines.append(f"  Clé en vigueur   {verdict.signing_key}, à laquelle elle a transmis")
    return "\n".join(lines)


def _shown(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%d/%m/%Y à %H:%M:%S}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="halfgateway-verify",
        description="Vérifie hors ligne un journal des accès, ou un dossier de preuve.",
        epilog="Codes de retour : 0 valide, 3 invalide, 4 divergent, 5 incomplet, 6 valide mais non ancré ;"
        " 1 illisible, 2 mauvais usage.",
    )
    parser.add_argument("path", type=Path, metavar="DOSSIER", help="le journal, ou le dossier remis")
    parser.add_argument(
        "--anchor", type=Path, action="append", default=[], metavar="FICHIER",
        help="un point de contrôle que vous avez conservé (répétable)",
    )  # fmt: skip
    parser.add_argument(
        "--key", type=Path, metavar="FICHIER", help="les clés publiques du journal, obtenues par ailleurs (PEM)"
    )
    parser.add_argument(
        "--cosigner", action="append", default=[], metavar="VKEY",
        help="la clé d'un cosignataire, sous la forme nom+identifiant+clé (répétable)",
    )  # fmt: skip
    parser.add_argument(
        "--tsa", type=Path, action="append", default=[], metavar="FICHIER",
        help="le certificat d'une autorité d'horodatage, ou de celle qui la certifie (PEM, répétable)",
    )  # fmt: skip
    parser.add_argument(
        "--crl", type=Path, action="append", default=[], metavar="FICHIER",
        help="la liste de révocation d'une autorité donnée par --tsa (PEM, répétable)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="n'écrit qu'un document JSON")
    given = parser.parse_args(arguments)
    try:
        found = judge(
            given.path,
            anchors=given.anchor,
            keys=given.key,
            cosigners=given.cosigner,
            authorities=given.tsa,
            revocations=given.crl,
        )
    except ValueError as error:
        sys.stderr.write(f"halfgateway-verify : {error}\n")
        return WRONG_USAGE
    except TraceUnavailable as error:
        sys.stderr.write(f"halfgateway-verify : {error}\n")
        return UNREADABLE
    text = json.dumps(as_json(found), ensure_ascii=False) if given.json else as_text(given.path, found)
    sys.stdout.write(f"{text}\n")
    return found.verification.exit_code
