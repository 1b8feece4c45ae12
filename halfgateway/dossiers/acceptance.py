"""The acceptance record on paper (« procès-verbal de recette »; C23): what its JSON says, its hash, its signature."""

from __future__ import annotations

import base64
import json

from camera_registry import french
from halfgateway.dossiers.tables import Column, Document
from ops.acceptance import SignedAcceptance
from ops.parties import Party


def acceptance_document(signed: SignedAcceptance) -> Document:
    """Lay the record out as a page of checks, with the signatures beneath; nothing that its bytes do not say."""
    record = json.loads(signed.document)
    decision = (
        "La recette est prononcée : l'accès aux Flux est ouvert."
        if signed.accepted
        else ("La recette n'est pas prononcée : l'accès aux Flux reste fermé.")
    )
    rows = [
        [str(place), result["title"], "conforme" if result["passed"] else "NON CONFORME", result["observation"]]
        for place, result in enumerate(record["results"], start=1)
    ]
    signatures = [
        line
        for each in record["signatories"]
        for line in (f"Pour {Party(each['party']).wording} : {each['name']}, {each['function']}", "Signature :", "")
    ]
    signature = base64.b64encode(signed.signature).decode()
    return Document(
        title=f"Procès-verbal de recette n° {signed.number}",
        introduction=(
            f"Convention {record['convention']}, article 4. Recette conduite le "
            f"{french.moment_in_paris(signed.held_at)}, {record['place']}. Référence : {record['reference']}.",
            decision,
        ),
        columns=(Column("N°", 1), Column("Contrôle", 12), Column("Résultat", 3), Column("Constat", 10)),
        rows=rows,
        annexes=(
            ("Signataires", signatures),
            (
                "Document signé (JSON) par le nœud " + record["node"],
                [
                    f"SHA-256 : {signed.sha256}",
                    f"Signature Ed25519 : {signature}",
                    "Clé publique :",
                    *signed.public_key_pem.splitlines(),
                    "openssl pkeyutl -verify -rawin -pubin -inkey CLÉ -in recette.json -sigfile recette.sig",
                ],
            ),
        ),
    )
