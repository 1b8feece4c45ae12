"""``halfgateway agent`` and ``order``, typed as a user would: beside a running node, and where none runs (C09, C21)."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import segno

from auth.trace import Entry, Kind
from auth.trace.reader import TraceReader
from auth.trace.verify import Status, verify_folder
from camera_registry.paris import day_of
from halfgateway.config import parse_configuration
from halfgateway.inspection.orders import order_warnings
from ops.local_record import LocalRecord
from tests.databases import databases
from tests.e2e import commands
from tests.e2e.conftest import Gateway, records_of
from tests.e2e.people import person
from tests.held_clock import HeldClock

pytestmark = pytest.mark.asyncio(loop_scope="module")

DECIDED = ("--authority", "préfet de police", "--reference", "PP-17")
LOCAL = f"local:{getpass.getuser()}"


async def typed(folder: Path, *arguments: str, sudo_user: str | None = None) -> commands.Said:
    """Run a command on a data folder."""
    return await commands.typed(*arguments, "--data", folder, sudo_user=sudo_user)


async def done(folder: Path, *arguments: str) -> Any:
    """Run a command that must succeed; its JSON."""
    code, output, complaint = await typed(folder, *arguments, "--json")
    assert code == 0, complaint
    return json.loads(output)


async def history(folder: Path) -> list[Entry]:
    page = await TraceReader.of(folder / "trace", "demo").entries(limit=1000)
    return list(reversed(page.items))


@pytest_asyncio.fixture(loop_scope="module")
async def empty(tmp_path: Path) -> AsyncIterator[Path]:
    """The folder of a node that has never run, with a name as long as folders' may be."""
    folder = tmp_path / ("demi-passerelle-partenaire-" * 5)
    folder.mkdir()
    yield folder


async def test_the_first_officer_is_made_once_and_where_no_node_runs(empty: Path) -> None:
    # C09, T10: before the node's first start; the journal is written, and holds
    code, said, _ = await typed(empty, "agent", "bootstrap")
    assert code == 0
    secret = re.search(r"TOTP +([A-Z2-7]{32})\n", said)
    assert secret is not None
    assert f"secret={secret[1]}" in said
    assert "█" in said  # the QR code
    code, _, complaint = await typed(empty, "agent", "bootstrap", "another")
    assert (code, "déjà enregistré" in complaint) == (1, True)
    kinds = [entry.kind for entry in await history(empty)]
    assert kinds == [Kind.AGENT_ADDED, Kind.HABILITATION_GRANTED, Kind.AGENT_ENROLLED, Kind.ACTION_REFUSED]
    assert {entry.account for entry in await history(empty)} == {LOCAL}
    assert secret[1] not in (empty / "records.sqlite").read_bytes().decode("latin-1")
    assert verify_folder(empty / "trace").status in {Status.VALID, Status.UNANCHORED}


async def test_a_node_that_starts_after_the_first_officer_is_open(empty: Path) -> None:
    # C10: a command that makes the folder does not make it look used, and so cut
    await done(empty, "agent", "bootstrap")
    record = LocalRecord(empty / "interconnection.record")
    assert not record.load().closed
    code, _, complaint = await typed(empty, "restore", "--incident", "none", "--reason", "essai")
    assert (code, "aucun nœud n'est en marche" in complaint) == (1, True)  # nobody can tell whether it would work
    assert not record.load().closed


async def test_an_agents_life_beside_a_running_node(shared: Gateway, tmp_path: Path) -> None:
    # C09: designated, habilitated, enrolled, confirmed, ended; each an entry of the running node's
    folder, name = shared.data, "syn-ops-02"
    added = await done(
        *(folder, "agent", "add", name, "--administration", "SYN", "--service", "SYN", *DECIDED),
        *("--start", "2026-01-01", "--end", "2099-12-31"),
    )
    assert (added["start"], added["end"]) == ("2025-12-31T23:00:00.000000Z", "2099-12-31T23:00:00.000000Z")
    granted = await done(folder, "agent", "habilitate", name, "--role", "ops", *DECIDED)
    png = tmp_path / "code.png"
    enrolled = await done(folder, "agent", "enrol-totp", name, "--role", "ops", "--png", str(png))
    assert png.read_bytes().startswith(b"\x89PNG")
    assert png.stat().st_mode & 0o077 == 0
    assert segno.make_qr(enrolled["totp_uri"]).version
    shared.ready["accounts"][name] = enrolled | {"id": enrolled["account"]}
    assert (await shared.call(name, "GET", "/orders"))[0] == 200
    code, _, complaint = await typed(folder, "agent", "enrol-totp", name, "--role", "ops", "--png", str(png))
    assert (code, "code.png" in complaint) == (1, True)  # never over another file
    due = await done(folder, "agent", "review", "--months", "0")
    assert granted["id"] in {each["id"] for each in due["due"]}
    reviewed = await done(folder, "agent", "review", "--confirm", granted["id"], "--reference", "revue-2026")
    assert granted["id"] not in {each["id"] for each in reviewed["due"]}
    shown = await done(folder, "agent", "show", name)
    assert shown["habilitations"][0]["confirmed_at"] is not None
    assert shown["accounts"] == [{"id": enrolled["account"], "role": "ops", "ended": False}]
    await done(folder, "agent", "end", name, "--reason", "départ")
    assert (await shared.call(name, "GET", "/orders"))[0] == 403
    kinds = [entry.kind for entry in await shared.trace() if entry.agent == name and entry.account == LOCAL]
    assert kinds[:3] == [Kind.AGENT_ADDED, Kind.HABILITATION_GRANTED, Kind.AGENT_ENROLLED]
    assert kinds[-3:] == [Kind.HABILITATION_CONFIRMED, Kind.AGENT_ENDED, Kind.HABILITATION_ENDED]


async def test_what_is_not_syns_to_decide_is_refused(shared: Gateway) -> None:
    # C09, S05: and said in French, with exit code 1
    someone = await person(shared)
    for arguments, said in (
        (("end", someone.agent, "--reason", "doute"), "référence de sa décision"),
        (("habilitate", someone.agent, "--role", "ops", *DECIDED), "n'est pas ouvert"),
        (("enrol-totp", someone.agent, "--role", "operator"), "ne s'ouvre pas"),
        (("show", "nobody"), "n'a pas été désigné"),
        (("add", someone.agent, "--administration", "PP", "--service", "x", *DECIDED), "déjà en vigueur"),
    ):
        code, _, complaint = await typed(shared.data, "agent", *arguments)
        assert (code, said in complaint) == (1, True), complaint
    code, _, _ = await typed(shared.data, "agent", "review", "--confirm", someone.habilitation)
    assert code == 2


async def test_who_had_what_right_on_that_day(shared: Gateway) -> None:
    # C09
    someone = await person(shared)
    code, said, _ = await typed(shared.data, "agent", "on", "2020-01-01")
    assert (code, said) == (0, "Personne.\n")
    held = await done(shared.data, "agent", "on", "2099-01-01", "--agent", someone.agent)
    assert [each["id"] for each in held["habilitations"]] == [someone.habilitation]
    await done(
        *(shared.data, "agent", "end", someone.agent, "--habilitation", someone.habilitation),
        *("--reason", "fin", "--reference", "PP-3"),
    )
    assert (await done(shared.data, "agent", "on", "2099-01-01", "--agent", someone.agent))["habilitations"] == []
    ended = (await done(shared.data, "agent", "show", someone.agent))["habilitations"][0]["ended_at"]
    day = day_of(datetime.fromisoformat(ended)).isoformat()
    (kept,) = (await done(shared.data, "agent", "on", day, "--agent", someone.agent))["habilitations"]
    assert (kept["id"], kept["held_until"]) == (someone.habilitation, ended)


async def test_a_signed_list_is_taken_whole_with_its_hash(shared: Gateway, tmp_path: Path) -> None:
    # C09
    listed = tmp_path / "list.csv"
    listed.write_text(
        "agent,service,role,start\npp-list-1,PJ,operator,2026-01-01\npp-list-2,PJ,supervisor,2026-01-01\n"
    )
    key, public, signature = (str(tmp_path / name) for name in ("key.pem", "public.pem", "list.sig"))
    for command in (
        ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key),
        ("pkey", "-in", key, "-pubout", "-out", public),
        ("dgst", "-sha256", "-sign", key, "-out", signature, str(listed)),
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    arguments = ("agent", "import", str(listed), "--signature", signature, "--key", public, *DECIDED)
    taken = await done(shared.data, *arguments)
    assert taken["designated"] == ["pp-list-1", "pp-list-2"]
    entries = [entry for entry in await shared.trace() if entry.detail.get("list", {}).get("sha256") == taken["sha256"]]
    assert len(entries) == 4
    code, _, complaint = await typed(shared.data, *arguments)
    assert (code, "déjà en vigueur" in complaint) == (1, True)
    listed.write_text(listed.read_text().replace("PJ", "PN"))
    code, _, complaint = await typed(shared.data, *arguments)
    assert (code, "signature" in complaint) == (1, True)


async def test_orders_are_recorded_suspended_and_withdrawn(shared: Gateway, tmp_path: Path) -> None:
    # L06
    folder = shared.data
    added = await done(
        *(folder, "order", "add", "78-cli-1", "--recipient", "DOPC", "--commune", "Trappes"),
        *("--signed-on", "2026-01-01", "--last-day", "2099-12-31", "--retention-max", "8"),
    )
    assert (added["state"], len(added["warnings"])) == ("in-force", 1)
    for change, state in (("suspend", "suspended"), ("resume", "in-force"), ("withdraw", "withdrawn")):
        changed = await done(folder, "order", change, "78-cli-1", "--reason", "essai")
        assert changed["state"] == state
    code, _, complaint = await typed(folder, "order", "suspend", "78-cli-1", "--reason", "essai")
    assert (code, "78-cli-1" in complaint) == (1, True)
    listed = tmp_path / "orders.csv"
    header = (
        "reference;type;cameras;place;recipients;live;recorded;retention_min_days;retention_max_days;signed_on;last_day"
    )
    line = "78-cli-{n};event;cam-1|cam-2;gare;DOPC|PJ;oui;non;0;{most};2026-01-01;2099-12-31"
    listed.write_text("\n".join([header, line.format(n=2, most=30), line.format(n=3, most=40)]))
    code, _, complaint = await typed(folder, "order", "import", str(listed))
    assert (code, "ligne 3" in complaint) == (1, True)
    listed.write_text("\n".join([header, line.format(n=2, most=30), line.format(n=3, most=20)]))
    assert (await done(folder, "order", "import", str(listed)))["added"] == ["78-cli-2", "78-cli-3"]
    orders = {each["reference"]: each for each in (await done(folder, "order", "list"))["orders"]}
    assert orders["78-cli-3"]["recipients"] == ["DOPC", "PJ"]
    assert not orders["78-cli-3"]["recorded"]
    acts = [entry.kind.value for entry in await shared.trace() if entry.detail.get("order") == "78-cli-1"]
    assert acts == ["order.recorded", "order.suspended", "order.resumed", "order.withdrawn"]


@pytest.mark.skipif(os.geteuid() != 0, reason="sudo is root's: nobody else's word is taken for whom they act")
async def test_a_block_is_set_listed_and_lifted(shared: Gateway) -> None:
    # S12, C21: told by the list and by the trace, with its ground, term and reason
    folder, why = shared.data, ("--ground", "securite", "--reason", "essai de blocage")
    set_ = await done(folder, "block", "camera", "no-camera", *why, "--expires", "2099-12-31")
    code, said, _ = await typed(folder, "block", "list")
    assert code == 0
    assert f"{set_['id']}  caméra no-camera, jusqu'au 2099-12-31 00:00 UTC (securite : essai de blocage)" in said
    assert (await done(folder, "block", "lift", set_["id"], "--reason", "fin"))["lifted"]
    assert (await typed(folder, "block", "lift", set_["id"], "--reason", "fin"))[0] == 1
    told = [entry for entry in await shared.trace() if entry.detail.get("block") == set_["id"]]
    assert [entry.kind for entry in told] == [Kind.BLOCK_SET, Kind.BLOCK_LIFTED]
    assert {(entry.account, entry.detail["ground"]) for entry in told} == {(LOCAL, "securite")}


async def test_roots_commands_are_those_of_who_is_behind_sudo(shared: Gateway) -> None:
    # C21
    for sudoer, account in (("nobody", "local:nobody"), ("no-such-user", "local:root")):
        arguments = ("order", "add", f"78-{sudoer}", "--recipient", "DOPC", "--commune", "Trappes")
        term = ("--signed-on", "2026-01-01", "--last-day", "2099-12-31", "--retention-max", "30")
        assert (await typed(shared.data, *arguments, *term, sudo_user=sudoer))[0] == 0
        (entry,) = await shared.traced(lambda entry, name=sudoer: entry.detail.get("order") == f"78-{name}")  # type: ignore[misc]
        assert (entry.account, entry.source) == (account, "local")


async def test_the_nodes_own_socket_is_for_its_own_account_alone(shared: Gateway) -> None:
    # C21, S01
    socket = shared.data / "run" / "office.sock"
    assert socket.stat().st_mode & 0o777 == 0o600
    assert socket.parent.stat().st_mode & 0o777 == 0o700


async def test_check_calls_orders_to_mind(shared: Gateway) -> None:
    # C04 L06
    configuration = parse_configuration(
        {
            "node": {"data": str(shared.data)},
            "database": {"url": databases.url(records_of(shared.data))},
            "convention": {"in_force_from": "2025-10-21T00:00:00Z"},
            "listen": {"https_port": None, "rtsps_port": None},
        }
    )
    body = {
        "reference": "78-soon",
        "type": "event",
        "perimeter": {"communes": ["Trappes"]},
        "place": "gare",
        "recipients": ["DOPC"],
        "live": True,
        "recorded": True,
        "retention_min_days": 0,
        "retention_max_days": 5,
        "signed_on": "2026-01-01",
        "last_day": "2026-12-01",
    }
    assert (await shared.call("officer", "POST", "/orders", body))[0] == 201
    said = [line for line in await order_warnings(configuration, HeldClock().now()) if "78-soon" in line]
    assert ["expire le 01/12/2026" in said[0], "conservation maximale de 5 jours" in said[1]] == [True, True]
