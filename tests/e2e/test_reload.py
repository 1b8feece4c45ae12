"""The configuration read again by a running node: what differs is applied, and who may watch sees nothing of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from auth.demo_authority import DemoAuthority
from auth.trace import Kind
from halfgateway.relay.hub import LINGER_S
from tests.e2e.cluster import until
from tests.e2e.reloading import ANOTHER_MACHINE, CAMERAS, LOCAL, Site, eventually, open_site
from tests.e2e.watching import Watcher

pytestmark = pytest.mark.asyncio(loop_scope="module")

PACKETS = 15

Reload: TypeAlias = Callable[[Site], Awaitable[list[str]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with open_site(tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def site(opened: Site) -> AsyncIterator[Site]:
    await opened.begin()
    yield opened
    print(f"--- {opened.node.name} ---\n{opened.node.log()[-6000:]}")
    await opened.end()


async def by_signal(site: Site) -> list[str]:
    changed: list[str] = (await site.hang_up()).detail["changed"]
    return changed


async def by_api(site: Site) -> list[str]:
    return await site.applied()


async def go_on(players: Iterable[Watcher]) -> None:
    """Each is sent so many packets more, and has missed none."""
    for player in players:
        wanted = player.media_packets + PACKETS
        async with asyncio.timeout(20):
            while player.media_packets < wanted:
                await player.delivers()
        assert player.missing_packets == 0


async def machine_uses(site: Site) -> list[str]:
    site.document["machines"][0]["join"] = "keyframe"
    site.document["machines"].append({"id": ANOTHER_MACHINE, "agent": "pp-garant-02", "reason": "L251-2-5"})
    return [f"machines.{ANOTHER_MACHINE}", "machines.pvpp-vms.join"]


async def certificates(site: Site) -> list[str]:
    """Another certificate, by another authority; machines of both may come."""
    folder = site.node.folder.root / "renewed"
    authority = DemoAuthority.open(folder, datetime.now(UTC))
    server, tls = authority.server(datetime.now(UTC)), site.document["tls"]
    lists = authority.write_revocation_list([], datetime.now(UTC))
    for name, theirs in (("client_ca", authority.certificate_path), ("revoked", lists)):
        both = folder / f"both-{name}.pem"
        both.write_bytes(Path(tls[name]).read_bytes() + theirs.read_bytes())
        tls[name] = str(both)
    tls |= {"certificate": str(server.certificate_path), "key": str(server.key_path)}
    return ["tls.certificate", "tls.client_ca", "tls.key", "tls.revoked"]


async def cameras(site: Site) -> list[str]:
    """One is called otherwise, one has its password elsewhere, and a device is to be had under one more name."""
    site.camera(CAMERAS[0])["name"] = "Place d'Armes"
    elsewhere = site.node.folder.root / "moved.password"
    elsewhere.write_text(site.password_file(CAMERAS[1]).read_text())
    site.document["cameras"].append({**site.camera(CAMERAS[2]), "id": "c-9"})
    site.camera(CAMERAS[1])["password_file"] = str(elsewhere)
    return ["cameras.c-1.name", "cameras.c-2.password_file", "cameras.c-9"]


async def log_and_timings(site: Site) -> list[str]:
    site.document["log_level"] = "error"
    site.document["timings"] |= {"resume_s": 2.0, "renew_s": 0.5, "stuck_reader_s": 20}
    return ["log_level", "timings.renew_s", "timings.resume_s", "timings.stuck_reader_s"]


async def convention(site: Site) -> list[str]:
    site.document["convention"] |= {"cap": 20, "avenant": "avenant d'essai", "retention_days": 9}
    return ["convention.avenant", "convention.cap", "convention.retention_days"]


@pytest.mark.parametrize("reload", [by_signal, by_api])
async def test_ten_streams_lose_no_packet_while_everything_around_them_changes(site: Site, reload: Reload) -> None:
    # T15, C16: certificate, authority, machines, cameras, log level, timings and convention, one by one
    players = [await site.playing(CAMERAS[n % 3], by=site.estate.machine) for n in range(4)]
    players += [await site.playing(CAMERAS[n % 3]) for n in range(3)]
    players += [await site.playing(CAMERAS[n % 3], secure=True) for n in range(3)]
    for change in (machine_uses, certificates, cameras, log_and_timings, convention):
        expected = await change(site)
        assert await reload(site) == expected
        await go_on(players)
    await what_was_changed_is_in_force(site)
    for player in players:
        assert (await player.stop()).status == 200
    stopped = await site.ended(10, "teardown")
    assert [entry.detail["lost"] for entry in stopped] == [0] * 10
    await nothing_was_told_that_is_secret(site)


async def what_was_changed_is_in_force(site: Site) -> None:
    assert await shown_certificate(site) == Path(site.document["tls"]["certificate"]).read_text()
    newcomer = await site.enter(site.another_machine, "c-9")
    answer = await newcomer.ask("DESCRIBE", newcomer.url(newcomer.path))
    assert answer.status == 403, "it is known, and must come by RTSPS"

    async def cameras_are_known() -> bool:
        _, page = await site.call("GET", "/cameras")
        told = {camera["id"]: (camera["name"], camera["state"]) for camera in page["items"]}
        return told.get("c-9", ("", ""))[1] == "available" and told["c-1"] == ("Place d'Armes", "available")

    await until(cameras_are_known)
    _, state = await site.call("GET", "/interconnection")
    assert state["slots"] == {"used": 10, "cap": 20}
    site.document["log_level"] = "info"
    before = site.node.log().count("reload.complete")
    await site.applied()
    assert site.node.log().count("reload.complete") == before + 1


async def shown_certificate(site: Site) -> str:
    address = urlsplit(site.node.ready.https)
    assert address.hostname is not None
    assert address.port is not None
    return await asyncio.to_thread(ssl.get_server_certificate, (address.hostname, address.port))


async def nothing_was_told_that_is_secret(site: Site) -> None:
    """T15: no credential in log, API, SDP or trace; nor a camera's address or password in what a reader was given."""
    described = []
    for camera in CAMERAS:
        player = await site.enter(site.estate.machine, camera)
        answer = await player.ask("DESCRIBE", player.url(player.path))
        assert answer.status == 200
        described.append(answer.body.decode())
    trace = [path.read_bytes() for path in site.node.folder.trace.rglob("*") if path.is_file()]
    log = site.node.log()
    assert "pull.live" in log
    said = [log.encode(), *trace, *(text.encode() for text in (*site.told, *described))]
    for secret in secrets_of(site):
        assert not any(secret in text for text in said), secret[:4]


def secrets_of(site: Site) -> list[bytes]:
    passwords = [camera.identity.password for camera in site.cameras.values()]
    passwords += [site.estate.machine.password, site.another_machine.password]
    for account in site.accounts.values():
        passwords += [account["password"], *([account["totp_secret"]] if "totp_secret" in account else [])]
    passwords += [player.credentials.password for player in site.estate.watch if player.credentials is not None]
    passwords.append(Path(site.document["tls"]["key"]).read_text().splitlines()[1])
    basic = [base64.b64encode(f"{c.identity.username}:{c.identity.password}".encode()) for c in site.cameras.values()]
    return [*(secret.encode() for secret in set(passwords)), *basic]


async def test_a_camera_that_is_removed_takes_its_own_streams_with_it(site: Site) -> None:
    # C06: they are told, and others see nothing; the identifier is that camera's when it comes back
    leaving = [await site.playing(CAMERAS[2]), await site.playing(CAMERAS[2], by=site.estate.machine)]
    staying = [await site.playing(CAMERAS[1]), await site.playing(CAMERAS[0], by=site.estate.machine)]
    kept = site.camera(CAMERAS[2])
    site.document["cameras"].remove(kept)
    assert await by_signal(site) == [f"cameras.{CAMERAS[2]}"]
    for player in leaving:
        await asyncio.wait_for(player.ended.wait(), 10)
        assert player.said_goodbye
    await go_on(staying)
    assert {entry.camera for entry in await site.ended(2, "camera-withdrawn")} == {CAMERAS[2]}
    for player, status in zip(leaving, (403, 404), strict=True):
        assert player.credentials is not None
        again = await site.enter(player.credentials, CAMERAS[2])
        assert (await again.start()).status == status
    assert (await site.call("GET", f"/cameras/{CAMERAS[2]}"))[0] == 404
    async with asyncio.timeout(LINGER_S / 2):
        await eventually(lambda: site.cameras[CAMERAS[2]].session_count == 0)
    site.document["cameras"].append(kept)
    assert await site.applied() == [f"cameras.{CAMERAS[2]}"]
    await until(site.knows_cameras)
    await site.playing(CAMERAS[2])
    changes = [entry for entry in await told(site, Kind.REGISTRY_CHANGED, 2) if entry.camera == CAMERAS[2]]
    assert [entry.detail["change"] for entry in changes] == ["withdrawn", "added"]


async def test_a_removed_camera_stays_away_after_a_restart(site: Site) -> None:
    site.document["cameras"].remove(site.camera(CAMERAS[2]))
    await site.applied()
    await asyncio.to_thread(site.node.end)
    await asyncio.to_thread(site.node.start)
    _, page = await site.call("GET", "/cameras")
    assert [camera["id"] for camera in page["items"]] == list(CAMERAS[:2])
    (*_, started) = await site.entries(Kind.NODE_STARTED)
    assert started.detail["configuration"] == site.sha256


async def test_a_hang_up_while_it_starts_or_stops_does_no_harm(site: Site) -> None:
    async with hanging_up(site.node.pid):
        assert await asyncio.to_thread(site.node.end) == 0
    site.node.spawn()
    await eventually(lambda: holds_hang_ups(site.node.pid))
    async with hanging_up(site.node.pid):
        await asyncio.to_thread(site.node.wait_until_ready)
        before = len(await site.entries(Kind.CONFIG_CHANGED))
        await until(lambda: more_than(site, before))


@asynccontextmanager
async def hanging_up(pid: int) -> AsyncIterator[None]:
    """A SIGHUP every few milliseconds."""

    async def storm() -> None:
        while True:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
            await asyncio.sleep(0.005)

    raging = asyncio.create_task(storm())
    try:
        yield
    finally:
        raging.cancel()


def holds_hang_ups(pid: int) -> bool:
    """Whether SIGHUP is blocked: signal 1 is the lowest bit (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(blocked.split()[1], 16) & 1)


async def more_than(site: Site, before: int) -> bool:
    return len(await site.entries(Kind.CONFIG_CHANGED)) > before


async def test_a_wrong_file_lists_every_fault_and_changes_nothing(site: Site) -> None:
    # ADR 16: validated whole
    player = await site.playing(CAMERAS[0])
    site.document["timings"]["resume_s"] = 3.0
    site.document["convention"]["cap"] = 11
    site.document["listen"]["colour"] = "blue"
    site.camera(CAMERAS[0])["latitude"] = 91
    faults = {"convention", "listen.colour", "cameras.0.latitude"}
    status, problem = await site.post()
    assert (status, problem["type"]) == (422, "urn:halfgateway:problem:invalid-request")
    assert {fault["where"] for fault in problem["faults"]} == faults
    site.node.signal(signal.SIGHUP)
    refused = await told(site, Kind.ACTION_REFUSED, 2)
    assert [(entry.account, entry.refusal) for entry in refused] == [
        ("syn-ops-01", "invalid-request"),
        (LOCAL, "invalid-request"),
    ]
    lines = [line for line in site.node.log().splitlines() if "reload.refused" in line]
    for account in ("syn-ops-01", LOCAL):
        named = {line.partition("fault=")[2].partition(": ")[0] for line in lines if f"account={account} " in line}
        assert faults <= named
    site.document["convention"]["cap"], site.camera(CAMERAS[0])["latitude"] = 10, 48.8
    del site.document["listen"]["colour"]
    site.password_file(CAMERAS[1]).write_bytes(b"\xff\x00")
    site.document["tls"]["certificate"] = site.document["tls"]["key"]
    status, problem = await site.post()
    assert {fault["where"] for fault in problem["faults"]} == {f"cameras.{CAMERAS[1]}.password_file", "tls"}
    await go_on([player])
    site.password_file(CAMERAS[1]).write_text(site.cameras[CAMERAS[1]].identity.password)
    site.document["tls"] = site.original["tls"]
    assert await site.applied() == ["timings.resume_s"]


async def test_what_is_read_once_is_refused_by_name_and_nothing_is_applied(site: Site) -> None:
    site.document["node"]["id"] = "b"
    site.document["listen"] |= {"host": "127.0.0.2", "rtsp_port": 8554, "udp": False}
    site.document["state_store"]["url"] = "embedded"
    site.document["database"]["url"] = "embedded"
    site.document["convention"]["id"] = "another"
    site.document["timings"] |= {"lease_s": 14, "resume_s": 3.0}
    status, problem = await site.post()
    assert status == 422
    refused = {fault["where"]: fault["message"] for fault in problem["faults"]}
    assert sorted(refused) == [
        *("convention.id", "database.url", "listen.host", "listen.rtsp_port", "listen.udp"),
        *("node.id", "state_store.url", "timings.lease_s"),
    ]
    assert set(refused.values()) == {"cannot be changed while the node runs"}
    site.document = {**site.original, "timings": {**site.original["timings"], "resume_s": 3.0}}
    assert await site.applied() == ["timings.resume_s"]


async def test_each_reload_is_in_the_trace_with_the_hashes_of_both_files(site: Site) -> None:
    # T11: who, from where, what; names of keys and no values
    first = site.sha256
    site.document["timings"]["resume_s"] = 4.321
    signalled = await site.hang_up()
    second = site.sha256
    site.document["timings"]["paused_s"] = 54.321
    await site.applied()
    (*_, asked) = await site.entries(Kind.CONFIG_CHANGED)
    assert (signalled.account, signalled.source) == (LOCAL, "local")
    assert signalled.detail == {"before": first, "after": second, "changed": ["timings.resume_s"], "changes": 1}
    assert (asked.account, asked.source) == ("syn-ops-01", "127.0.0.1")
    assert asked.detail == {"before": second, "after": site.sha256, "changed": ["timings.paused_s"], "changes": 1}
    assert site.node.verify() in {0, 6}


async def test_reloads_at_once_come_one_after_the_other(site: Site) -> None:
    site.document["timings"]["resume_s"] = 5.0
    site.write()
    answers = await asyncio.gather(*(site.call("POST", "/admin/reload", role="ops") for _ in range(5)))
    assert [status for status, _ in answers] == [200] * 5
    assert sorted(answer["changed"] for _, answer in answers) == [[]] * 4 + [["timings.resume_s"]]
    entries = (await site.entries(Kind.CONFIG_CHANGED))[-5:]
    assert [entry.detail["before"] for entry in entries[1:]] == [entry.detail["after"] for entry in entries[:-1]]


@pytest.mark.parametrize("role", ["operator", "officer"])
async def test_only_operations_may_ask_for_it(site: Site, role: str) -> None:
    # L19: whoever may not is in the trace
    before = await site.entries(Kind.CONFIG_CHANGED)
    site.document["timings"]["resume_s"] = 6.0
    status, problem = await site.post(role)
    assert (status, problem["type"]) == (403, "urn:halfgateway:problem:not-habilitated")
    (refused,) = await told(site, Kind.ACTION_REFUSED, 1)
    assert (refused.account, refused.detail["action"]) == (site.accounts[role]["id"], "POST /api/v1/admin/reload")
    assert await site.entries(Kind.CONFIG_CHANGED) == before


async def test_a_lower_cap_ends_nobody_and_lets_nobody_in(site: Site) -> None:
    # C01: who is in stays; the eleventh of ten is the second of one
    players = [await site.playing(camera) for camera in CAMERAS]
    site.document["convention"]["cap"] = 1
    assert await by_signal(site) == ["convention.cap"]
    await go_on(players)
    for player in players:
        assert (await site.call("GET", "/interconnection"))[1]["slots"]["cap"] == 1
        status, problem = await ask(site)
        assert (status, problem["type"]) == (409, "urn:halfgateway:problem:cap-reached")
        assert (await player.stop()).status == 200
    status, ticket = await ask(site)
    assert (status, ticket["slot"]) == (201, "1/1")
    assert (await site.call("DELETE", f"/streams/{ticket['id']}"))[0] == 204


async def test_the_end_of_the_convention_ends_what_runs(site: Site) -> None:
    # C18: at the instant that a person has recorded, be it now or to come
    players = [await site.playing(CAMERAS[0]), await site.playing(CAMERAS[1], by=site.estate.machine)]
    site.document["convention"]["ended_at"] = datetime.now(UTC) + timedelta(seconds=3)
    assert await by_signal(site) == ["convention.ended_at"]
    await go_on(players)
    for player in players:
        await asyncio.wait_for(player.ended.wait(), 10)
        assert player.said_goodbye
    await site.ended(2, "convention-not-in-force")
    status, problem = await ask(site)
    assert (status, problem["type"]) == (403, "urn:halfgateway:problem:convention-not-in-force")

    async def is_out_of_convention() -> bool:
        return (await site.call("GET", "/interconnection"))[1]["state"] == "out-of-convention"

    await until(is_out_of_convention)
    incident = (await site.call("GET", "/interconnection"))[1]["incident"]
    del site.document["convention"]["ended_at"]
    assert await by_signal(site) == ["convention.ended_at"]
    assert (await ask(site))[0] == 403  # an end that was undone is undone by a person, not by a file
    wish = {"incident": incident, "reason": "fin enregistrée par erreur"}
    status, state = await site.call("POST", "/interconnection/restore", wish, role="officer")
    assert (status, state["state"]) == (200, "open")


async def test_without_the_agreement_machines_go_and_agents_stay(site: Site) -> None:
    # C08
    machine, agent = await site.playing(CAMERAS[0], by=site.estate.machine), await site.playing(CAMERAS[0])
    del site.document["convention"]["machine_only_agreement"]
    assert await by_signal(site) == ["convention.machine_only_agreement"]
    await asyncio.wait_for(machine.ended.wait(), 10)
    await go_on([agent])
    (ended,) = await site.ended(1, "not-habilitated")
    assert ended.account == "pvpp-vms"


@pytest.mark.parametrize("change", ["removed", "over TLS alone"])
async def test_a_machine_whose_use_is_agreed_no_longer_loses_what_it_watches(site: Site, change: str) -> None:
    # C08
    machine, agent = await site.playing(CAMERAS[0], by=site.estate.machine), await site.playing(CAMERAS[0])
    if change == "removed":
        site.document["machines"].clear()
    else:
        site.document["machines"][0]["over_plain_rtsp"] = False
    await by_signal(site)
    await asyncio.wait_for(machine.ended.wait(), 10)
    assert machine.said_goodbye
    await go_on([agent])
    await site.ended(1, "not-habilitated")
    again = await site.enter(site.estate.machine, CAMERAS[0])
    assert (await again.start()).status == (401 if change == "removed" else 403)


async def test_a_profile_that_is_not_the_masked_one_is_shown_no_more(site: Site) -> None:
    # L07: at once, and nothing of what was pulled before
    watching, another = await site.playing(CAMERAS[0]), await site.playing(CAMERAS[1])
    site.camera(CAMERAS[0])["masked_profile"] = "no-such-profile"
    assert await by_signal(site) == [f"cameras.{CAMERAS[0]}.masked_profile"]
    await asyncio.wait_for(watching.ended.wait(), 10)
    assert watching.said_goodbye
    await go_on([another])
    await site.ended(1, "camera-withdrawn")
    assert (await ask(site, CAMERAS[0]))[0] == 404

    async def is_told() -> bool:
        status, camera = await site.call("GET", f"/cameras/{CAMERAS[0]}")
        return status == 200 and camera["cause"] == "masked-profile-missing"

    await until(is_told)
    assert (await ask(site, CAMERAS[0]))[0] == 404


async def test_a_password_that_is_put_right_is_used_at_once(site: Site) -> None:
    # T15: a camera that refused us is left alone for minutes, unless there is a new password for it
    right = site.cameras[CAMERAS[2]].identity.password
    site.password_file(CAMERAS[2]).write_text("wrong")
    assert await by_signal(site) == [f"cameras.{CAMERAS[2]}.password_file"]

    async def state_is(state: str) -> bool:
        return bool((await site.call("GET", f"/cameras/{CAMERAS[2]}"))[1]["state"] == state)

    await until(lambda: state_is("unavailable"))
    refused = await site.enter(site.estate.machine, CAMERAS[2])
    assert (await refused.start()).status == 503
    site.password_file(CAMERAS[2]).write_text(right)
    assert await by_signal(site) == [f"cameras.{CAMERAS[2]}.password_file"]
    await until(lambda: state_is("available"))

    async def plays() -> bool:
        return (await refused.start()).status == 200

    await until(plays)
    await refused.delivers()


async def ask(site: Site, camera: str = CAMERAS[0]) -> tuple[int, dict[str, Any]]:
    return await site.call("POST", "/streams", {"camera": camera, "mode": "live", "reason": "L251-2-5"})


async def told(site: Site, kind: Kind, count: int) -> list[Any]:
    """Wait for so many entries of a kind since the test began."""

    async def since() -> list[Any]:
        return [entry for entry in await site.entries(kind) if entry.n >= site.since]

    async def are_there() -> bool:
        return len(await since()) >= count

    await until(are_there)
    return await since()
