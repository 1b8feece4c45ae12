"""``halfgateway cut`` and ``degrade``: they need the node's disk, and nothing else that could be down."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Annotated

import typer

from camera_registry.clock import SystemClock, rfc3339
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
from halfgateway.control.beacon import Followed, make_node_follow, sign_command
from halfgateway.folder import DataFolder
from ops import interconnection as states
from ops.errors import OpsError
from ops.interconnection import Author, Ground, InterconnectionState
from ops.local_record import LocalRecord

FOLLOW_TIMEOUT_S = 5.0
"""How long the command waits for its node to say that it has followed; the record is durable before that."""


def cut(
    reason: Annotated[str, typer.Option(help="Motif, en une phrase.")],
    ground: Annotated[
        Ground, typer.Option(help="Fondement, que le courriel d'information nommera.")
    ] = Ground.CRITICAL_INCIDENT,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Interrompre l'Interconnexion, aussitôt, même sans API, base de données ni Valkey."""
    folder = node_folder(config, data)
    at = SystemClock().now()
    incident = states.new_incident(at)
    state = _change(
        folder,
        lambda current: states.cut(current, ground=ground, reason=reason, by=Author.OPS, since=at, incident=incident),
    )
    followed = _followed(folder, state)
    document = {"incident": incident, "at": rfc3339(at), "nodes": _nodes(followed)}
    closed = followed.streams_closed if followed is not None else 0
    heard = "" if followed is not None else " Aucun nœud en marche ici : l'interruption vaudra dès son démarrage."
    text = f"Interconnexion interrompue, incident {incident}. Flux interrompus : {closed}.{heard}"
    if ground is Ground.DRILL:
        text = f"[EXERCICE] Incident {incident} ouvert : l'Interconnexion n'est pas interrompue."
    say(document, text, as_json=as_json)


def degrade(
    reason: Annotated[str, typer.Option(help="Motif, en une phrase.")],
    mode: Annotated[str | None, typer.Option(help="Nom du mode, tel que dans [[degraded_modes]].")] = None,
    end: Annotated[bool, typer.Option("--end", help="Mettre fin au mode dégradé.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mode dégradé : continuer avec moins, dans un mode dont la PP est convenue."""
    if end == (mode is not None):
        stop(WRONG_USAGE, "name a --mode, or --end the one in force")
    from halfgateway.cli.office import configuration_of  # noqa: PLC0415 - a cut does not wait for it

    folder = node_folder(config, data)
    agreed = {each.name for each in configuration_of(config, data).degraded_modes} if mode is not None else set()
    if mode is not None and mode not in agreed:
        stop(REFUSED, f"{mode} : aucun accord de la Préfecture de police n'est enregistré pour ce mode")
    at = SystemClock().now()
    state = _change(folder, lambda current: states.degrade(current, mode=mode, reason=reason, by=Author.OPS, since=at))
    followed = _followed(folder, state)
    document = {"state": state.state.value, "mode": state.mode, "at": rfc3339(at), "nodes": _nodes(followed)}
    text = f"Interconnexion en mode dégradé : {mode}." if mode is not None else "Fin du mode dégradé."
    say(document, text, as_json=as_json)


def _change(folder: DataFolder, change: Callable[[InterconnectionState], InterconnectionState]) -> InterconnectionState:
    try:
        return LocalRecord(folder.interconnection).update(change)
    except (OpsError, ValueError) as error:
        stop(REFUSED, str(error))


def _followed(folder: DataFolder, state: InterconnectionState) -> Followed | None:
    """Say who made the change, and have the node follow it; a disk too full for the word does not delay the cut."""
    with contextlib.suppress(OSError):
        sign_command(folder.run, state.serial, account_name())
    return make_node_follow(folder.run, state.serial, FOLLOW_TIMEOUT_S)


def _nodes(followed: Followed | None) -> list[dict[str, object]]:
    return [] if followed is None else [{"id": followed.node, "streams_closed": followed.streams_closed}]
