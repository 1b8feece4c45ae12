"""What whoever is on watch types: how things stand, what is watched, the end of one stream (article 8, S12)."""

from __future__ import annotations

from pathlib import Path

from auth.trace import Kind
from halfgateway.cli.common import account_name
from tests.e2e.commands import typed
from tests.e2e.conftest import Gateway, credentials_of


async def test_one_stream_is_closed_and_the_other_goes_on(gateway: Gateway) -> None:
    # S12, L19, C21: who watches stays masked; who closed it does not
    here = ("--data", str(gateway.data))
    camera = gateway.cameras[0]
    ticket = await gateway.ticket(camera)
    async with gateway.player(credentials_of(ticket)) as victim, gateway.player(gateway.machine) as other:
        for player in (victim, other):
            assert (await player.set_up(f"/live/{camera}")).status == 200
            assert (await player.play(f"/live/{camera}")).status == 200
            await player.packets_until(5)
        shown = await typed("stream", "list", *here)
        assert shown.code == 0, shown.stderr
        assert f"{ticket['id']}  {camera}, Temps réel, en lecture, depuis" in shown.stdout
        assert ticket["username"] not in shown.stdout
        closed = await typed("stream", "close", ticket["id"], "--reason", "demande de la salle", *here)
        assert (closed.code, closed.stdout, closed.stderr) == (0, f"Flux {ticket['id']} fermé.\n", "")
        assert await victim.read_to_end() == "reset"
        await other.packets_until(len(other.packets) + 25)
        assert (await typed("stream", "close", ticket["id"], "--reason", "encore", *here)).code == 1
    (stopped,) = await gateway.traced(lambda e: e.kind is Kind.STREAM_STOPPED and e.stream == ticket["id"])
    assert (stopped.detail["cause"], stopped.detail["by"]) == ("closed-by-syn", account_name())


async def test_how_things_stand_is_told_at_a_glance(gateway: Gateway) -> None:
    # article 8: state, slots, checks, incidents
    here = ("--data", str(gateway.data))
    shown = await typed("status", *here)
    assert shown.code == 0, shown.stderr
    assert shown.stdout.startswith("Interconnexion ouverte depuis le ")
    assert "Places : 0 sur 10." in shown.stdout
    assert "[oui] Le journal des accès est inscriptible" in shown.stdout
    assert "Aucun incident ouvert." in shown.stdout
    _, cut = await gateway.call(
        "ops", "POST", "/interconnection/cut", {"ground": "critical-incident", "reason": "panne"}
    )
    await gateway.traced(lambda e: e.kind is Kind.INCIDENT_OPENED)
    shown = await typed("status", *here)
    assert shown.stdout.startswith("Interconnexion INTERROMPUE depuis le ")
    assert f"  {cut['incident']}  Incident critique ouvert" in shown.stdout


async def test_without_a_node_they_say_so(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").touch()
    for command in (("status",), ("stream", "list"), ("stream", "close", "x", "--reason", "essai")):
        refused = await typed(*command, "--data", str(tmp_path))
        assert refused.code == 1
        assert "aucun nœud n'est en marche ici" in refused.stderr
