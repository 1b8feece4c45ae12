"""``halfgateway trace rotate-key``, ``continue``, ``cosign``, ``statement``: what is done to the trace, and for it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from auth.errors import AuthError
from auth.trace import Draft, Entry, Journal, Kind, writer_lives
from auth.trace.anchors import remember_head
from auth.trace.checkpoint import SigningKey
from auth.trace.continuity import Gap, KnownHead, TraceBehind
from auth.trace.cosigner import CosigningKey, TreeDiverged, Witness
from auth.trace.layout import origin
from auth.trace.notes import read_keys
from auth.trace.token_key import TokenKey, TokenPlace
from auth.trace.verify import Status
from camera_registry.clock import SystemClock
from halfgateway.cli import office
from halfgateway.cli.common import (
    REFUSED,
    WRONG_USAGE,
    ConfigOption,
    DataOption,
    JsonOption,
    account_name,
    node_folder,
    say,
    stop,
)
from halfgateway.cli.cosigning import Login, cosign_once
from halfgateway.cli.local_trace import node_of
from halfgateway.errors import HalfGatewayError, StateStoreUnavailable
from halfgateway.keys import NodeKeys
from halfgateway.opening import open_trace_as_it_is, trace_gap


def statement(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Écrire les points de contrôle des nœuds, à garder ailleurs, comme le courriel quotidien ; c'est une entrée."""
    document = office.ask(config, data, "GET", "/trace/statement")
    say(document, document["text"], as_json=as_json)


def rotate_key(
    reason: Annotated[str, typer.Option("--reason", help="Motif ; il est tracé.")],
    from_label: Annotated[
        str | None,
        typer.Option(
            "--from-label", help="Étiquette de la clé actuelle dans le jeton ; [trace.pkcs11] nomme la suivante."
        ),
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Transmettre le journal à une nouvelle clé de signature, pour laquelle l'actuelle signe.

    La nouvelle clé est un fichier neuf ; ou, nœud arrêté, celle que [trace.pkcs11] nomme.
    """
    if writer_lives(node_folder(config, data).trace):
        told = office.ask(config, data, "POST", "/trace/keys", {"reason": reason})
    else:
        told = _at_rest(_rotate(config, data, reason, from_label))
    text = f"La clé {told['old']}\na transmis à la clé {told['new']} (entrée n° {told['n']})."
    say(told, text, as_json=as_json)


async def _rotate(config: Path | None, data: Path | None, reason: str, from_label: str | None) -> dict[str, Any]:
    configuration = office.configuration_of(config, data)
    folder, place = configuration.folder(), configuration.trace.token_place()
    keys = NodeKeys.open(folder.secrets, place)
    node = node_of(folder.trace)
    gap = trace_gap(folder, node)
    if gap is not None:
        raise TraceBehind(gap)
    keys.settle(folder.trace, node)
    present, following = _both_keys(keys, place, from_label)
    draft = Draft(kind=Kind.TRACE_KEY_ROTATED, account=account_name(), source="local", detail={"motive": reason})
    async with await Journal.open(folder.trace, node=node, key=present, clock=SystemClock()) as journal:
        entry = await journal.hand_over_to(following, draft)
    if place is None:
        keys.adopt_next()
    elif from_label is None:
        keys.destroy_trace_file()
    return {"node": entry.node, "n": entry.n, "old": entry.detail["old"], "new": entry.detail["new"]}


def _both_keys(keys: NodeKeys, place: TokenPlace | None, from_label: str | None) -> tuple[SigningKey, SigningKey]:
    """The key that signs, and the one that is to sign: files where no token is configured, else the token's last."""
    if place is None:
        return keys.trace_file, keys.next_trace_file()
    if from_label is not None:
        return TokenKey.open(TokenPlace(place.module, place.token, from_label, place.pin_file)), TokenKey.open(place)
    if not keys.has_trace_file:
        raise HalfGatewayError(
            "la clé du journal est déjà dans le jeton : nommez la nouvelle dans [trace.pkcs11], et l'ancienne par"
            " --from-label"
        )
    return keys.trace_file, TokenKey.open(place)


def continue_trace(
    reason: Annotated[str, typer.Option("--reason", help="Ce qui s'est passé, et qui a décidé ; il est tracé.")],
    known: Annotated[
        list[Path] | None, typer.Option(help="Point de contrôle de ce journal, gardé par un tiers.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reprendre un journal où manquent des entrées que d'autres ont vues, par une entrée qui dit ce qui est perdu.

    Dès lors aucune vérification ne le dit entier : il est incomplet (5), et dit pourquoi.
    """
    if writer_lives(node_folder(config, data).trace):
        stop(REFUSED, "le nœud est en marche : son journal n'attend pas de décision")
    try:
        heads = [KnownHead(f"la copie {path.name}", path.read_text(encoding="utf-8")) for path in known or ()]
    except (OSError, UnicodeDecodeError) as error:
        stop(WRONG_USAGE, str(error))
    gap, entry = _at_rest(_continue(config, data, reason, heads))
    lost = {"first": gap.held, "last": gap.known.size - 1}
    text = (
        f"Le journal reprend à l'entrée n° {entry.n} ; les entrées n° {lost['first']} à {lost['last']} d'avant sont"
        " perdues, et cette entrée le dit."
    )
    say({"node": entry.node, "n": entry.n, "held": gap.held, "lost": lost}, text, as_json=as_json)


async def _continue(config: Path | None, data: Path | None, reason: str, known: list[KnownHead]) -> tuple[Gap, Entry]:
    from halfgateway.app.keeping import open_state_store, taken  # noqa: PLC0415 - all of a node: seconds to load
    from halfgateway.control.heads import SharedHeads  # noqa: PLC0415

    configuration, clock = office.configuration_of(config, data), SystemClock()
    folder = configuration.folder()
    node = node_of(folder.trace) if any(folder.trace.glob("*.pem")) else configuration.node.id
    async with AsyncExitStack() as life:
        life.enter_context(taken(folder, node, clock))
        heads = SharedHeads((await open_state_store(configuration, folder, life)).store)
        try:
            shared = await heads.of(node)
        except StateStoreUnavailable as error:
            raise HalfGatewayError("l'état partagé ne répond pas : ce qu'il sait du journal doit être lu") from error
        gap = trace_gap(folder, node, [*known, *([shared] if shared is not None else [])])
        if gap is None:
            raise HalfGatewayError(
                "il ne manque rien à ce journal de ce qui en a été vu : il n'y a pas lieu de le reprendre"
            )
        keys = NodeKeys.open(folder.secrets, configuration.trace.token_place())
        journal = await open_trace_as_it_is(folder, node, keys, clock)
        async with journal:
            held = min(gap.held, journal.recovery.size if journal.recovery is not None else gap.held)
            gap = Gap(held, gap.known, gap.note, gap.source)
            entry = await journal.record(gap.draft(reason, account_name()))
            await journal.write_checkpoint()
            [head] = (await journal.reader().checkpoints(limit=1)).items
        remember_head(folder.head, head.note)
        await heads.publish(head)
        return gap, entry


def cosign(
    url: Annotated[str, typer.Option(help="Adresse de la Demi-Passerelle, https://HÔTE:PORT.")],
    account: Annotated[str, typer.Option("--id", help="Compte de service.")],
    password_file: Annotated[Path, typer.Option(help="Son secret, seule ligne d'un fichier.")],
    name: Annotated[str, typer.Option(help="Nom du cosignataire, pp.example/half-gateway par exemple.")],
    cosigning_key: Annotated[Path, typer.Option(help="Clé Ed25519 du cosignataire (PEM).")],
    node: Annotated[str, typer.Option(help="Nœud dont c'est le journal.")],
    log_key: Annotated[Path, typer.Option(help="Clés publiques du journal, obtenues d'ailleurs (PEM).")],
    memory: Annotated[Path, typer.Option(help="Fichier où est retenu le dernier point de contrôle cosigné.")],
    certificate: Annotated[Path | None, typer.Option(help="Certificat client du compte de service (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="Sa clé privée (PEM).")] = None,
    ca: Annotated[Path | None, typer.Option(help="Autorité du certificat de la Demi-Passerelle (PEM).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Cosigner le point de contrôle d'une autre Demi-Passerelle, s'il prolonge le dernier cosigné ; sinon code 4."""
    try:
        login = Login(url, account, password_file.read_text(encoding="utf-8").strip(), certificate, key, ca)
        witness = Witness(
            CosigningKey(name, _ed25519(cosigning_key)),
            memory,
            log=origin(node),
            log_keys=read_keys(log_key),
            now=time.time,
        )
        taken = asyncio.run(cosign_once(login, witness, node))
    except TreeDiverged as error:
        stop(Status.DIVERGED.exit_code, str(error))
    except (AuthError, HalfGatewayError, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        stop(REFUSED, str(error))
    text = f"{taken['cosigner']} a cosigné {taken['size']} entrées du journal de {taken['node']}."
    say(taken, text, as_json=as_json)


def _ed25519(path: Path) -> Ed25519PrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path.name} n'est pas une clé Ed25519")
    return key


def _at_rest(work: Any) -> Any:
    """Do work on a node at rest; exits with 1 where it cannot be done."""
    try:
        return asyncio.run(work)
    except (HalfGatewayError, AuthError, OSError, ValueError) as error:
        stop(REFUSED, str(error))
