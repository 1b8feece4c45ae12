"""What a site installs from: image, compose file, balancer, systemd units. No Docker engine is needed to hold them."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import re
import shutil
import smtplib
import ssl
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError, ResponseError
from ruamel.yaml import YAML

from halfgateway.config import parse_configuration
from halfgateway.database import Database
from halfgateway.net.valkey import connect, find_binary
from tests.e2e.nodes import Process
from tests.postgresql import postgresql
from tests.sending.postfix import installed, postfix_folder, running_postfix

REPOSITORY = Path(__file__).parents[1]
EXAMPLES = REPOSITORY / "examples"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(REPOSITORY / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"keys"}
MADE_BY_THE_SITE = {"cameras", "tls", "secrets"}
LEAST_EXPOSURE = 15
"""Tenths, of systemd-analyze's ten points: it has 12 for the node's unit, and 96 for one without any hardening."""

needs_haproxy = pytest.mark.skipif(
    shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None, reason="apt: haproxy"
)
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="apt: systemd")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, each with its words."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def copied() -> list[str]:
    """What the image takes from the repository."""
    return [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]


def test_the_image_is_built_from_what_is_there_and_is_let_in() -> None:
    rules = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert set(copied()) == let_in
    for source in copied():
        assert (REPOSITORY / source).exists(), source


def test_the_image_is_pinned_and_runs_as_nobody_of_note_and_holds_no_secret() -> None:
    words = dict(instructions())
    for word, rest in instructions():
        if word == "FROM":
            assert re.match(r"python:3\.11\.\d+-slim-bookworm\b", rest), rest
        assert not re.search(r"(?i)password|secret|token|\.key\b", rest), rest
    user, _, group = words["USER"].partition(":")
    assert int(user) >= 10_000 <= int(group)
    assert f"--uid {user} " in "".join(rest for word, rest in instructions() if word == "RUN")
    assert words["HEALTHCHECK"].startswith("--interval")
    assert words["ENTRYPOINT"].startswith("[")
    requirements = [rest for word, rest in instructions() if word == "RUN" and "requirements.lock" in rest]
    assert all("--require-hashes" in rest for rest in requirements)


def test_the_images_last_step_installs_the_whole_product(tmp_path: Path) -> None:
    # the steps of the Dockerfile that need no engine, with nothing but what it copies
    for source in copied():
        path = REPOSITORY / source
        if path.is_dir():
            shutil.copytree(path, tmp_path / "build" / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (tmp_path / "build").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "build")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    target = tmp_path / "installed"
    subprocess.run(
        [*pip, "install", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(target), "."],
        cwd=tmp_path / "build",
        check=True,
    )
    tracked = subprocess.run(["git", "ls-files", *copied()], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    wanted = {path for path in tracked.stdout.splitlines() if "/" in path}
    missing = {path for path in wanted if not (target / path).is_file()}
    assert missing == {"halfgateway/migrations/alembic.ini"}  # for who writes a migration; a node needs none
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(target)}
    helped = subprocess.run(
        [str(target / "bin" / "halfgateway"), "serve", "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "HALFGATEWAY_CONFIG" in helped.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_confined_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["logging"]["options"]["max-size"]
    image, _, tag = service["image"].partition(":")
    assert image, tag
    assert tag != "latest"
    assert "privileged" not in service
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))
    assert ("ports" in service) is (name == "balancer")
    assert (service.get("restart") == "no") is (name in ONE_SHOT)
    if name not in ONE_SHOT | {"gateway-a", "gateway-b"}:  # theirs is the image's
        assert service["healthcheck"]["test"]


@pytest.mark.parametrize("node", ["a", "b"])
def test_what_ends_a_node_ends_neither_its_notifier_nor_its_watchdog(node: str) -> None:
    # ADR 10: other containers, on the same data folder, with their own way to the mail server
    gateway = SERVICES[f"gateway-{node}"]
    assert gateway["command"] == ["serve", "--no-attendants"]
    for name in ("notifier", "watchdog"):
        attendant = SERVICES[f"{name}-{node}"]
        assert attendant["command"] == [name]
        assert attendant["volumes"] == gateway["volumes"]
        assert "mail" in attendant["networks"]
        assert f"/run/{name}.lock" in attendant["healthcheck"]["test"][1]
    mail = parse_configuration(tomllib.loads((EXAMPLES / "compose" / f"gateway-{node}.toml").read_text())).mail
    assert mail is not None
    assert (mail.primary.host, mail.primary.port, mail.primary.tls) == ("relay", 25, "starttls")


def test_the_recorder_is_there_where_a_site_wants_it_and_its_footage_is_no_nodes() -> None:
    # C04: another container, which no node's end ends; the gateway keeps no footage
    recorder = SERVICES["recorder"]
    assert recorder["profiles"] == ["recorder"]
    assert recorder["command"] == ["recorder"]
    assert {"cameras", "servers"} == set(recorder["networks"])
    assert "/run/recorder.lock" in recorder["healthcheck"]["test"][1]
    (footage,) = set(recorder["volumes"]) - set(SERVICES["gateway-a"]["volumes"])
    assert footage == "footage:/var/lib/halfgateway-footage"
    assert "/var/lib/halfgateway-footage" in (REPOSITORY / "Dockerfile").read_text()
    assert "halfgateway-footage" in (EXAMPLES / "systemd" / "halfgateway-recorder.service").read_text()


def test_secrets_are_files_and_configuration_has_an_example() -> None:
    named = {
        path.split("/")[2]
        for path in re.findall(r"\./config/[\w./-]+", (REPOSITORY / "docker-compose.yml").read_text())
    }
    given = {path.name for path in (EXAMPLES / "compose").iterdir()} | {
        path.name for path in (EXAMPLES / "balancer").iterdir()
    }
    assert named - MADE_BY_THE_SITE <= given
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    for service in SERVICES.values():
        assert not re.search(r"(?i)password=|password': '[^/]", str(service.get("environment", "")))


def test_the_two_nodes_differ_in_name_and_in_who_sends_first_and_know_their_balancer() -> None:
    # N01: the notifiers hear of each other too late where both send at once
    documents = [tomllib.loads((EXAMPLES / "compose" / f"gateway-{name}.toml").read_text()) for name in "ab"]
    names = [document["node"].pop("id") for document in documents]
    assert names == ["node-a", "node-b"]
    assert [document["mail"].pop("stand_in_after_s", 0) for document in documents] == [0, 600]
    assert documents[0] == documents[1]
    documents[0]["node"]["id"] = "node-a"
    listen = parse_configuration(documents[0]).listen
    balancer = SERVICES["balancer"]["networks"]["nodes"]["ipv4_address"]
    assert [str(network) for network in listen.proxies] == [f"{balancer}/32"]
    environment = SERVICES["balancer"]["environment"]
    for name in "ab":
        address = SERVICES[f"gateway-{name}"]["networks"]["nodes"]["ipv4_address"]
        assert environment[f"NODE_{name.upper()}"] == address
        subnet = COMPOSE["networks"]["nodes"]["ipam"]["config"][0]["subnet"]
        assert ipaddress.ip_address(address) in ipaddress.ip_network(subnet)


@needs_haproxy
def test_the_balancers_configuration_is_one() -> None:
    environment = {name: str(value) for name, value in SERVICES["balancer"]["environment"].items()}
    checked = subprocess.run(
        ["haproxy", "-c", "-f", str(EXAMPLES / "balancer" / "haproxy.cfg")],
        env={"PATH": f"{os.environ['PATH']}:/usr/sbin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


async def test_the_secrets_that_are_drawn_open_the_servers_and_no_more(tmp_path: Path) -> None:
    # C16: the nodes' user of Valkey can neither read the server's configuration nor empty it
    folder = tmp_path / "secrets"
    subprocess.run(["sh", str(EXAMPLES / "compose" / "make-secrets.sh"), str(folder)], check=True)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == set(COMPOSE["secrets"])
    socket = tmp_path / "valkey.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--aclfile", str(folder / "valkey_acl")]
    valkey = Process([str(find_binary()), *options, "--dir", str(tmp_path)], tmp_path / "valkey.log")
    valkey.spawn()
    try:
        for _ in range(200):
            if socket.exists():
                break
            await asyncio.sleep(0.05)
        password = (folder / "valkey_password").read_text().strip()
        client = connect(f"unix://halfgateway:{password}@{socket}")
        assert await client.eval("return redis.call('TIME')[1]", 0)
        assert (await client.info("server"))["redis_version"]
        for forbidden in (client.flushall, client.config_get, client.acl_list):
            with pytest.raises(ResponseError):
                await forbidden()
        await client.aclose()
        stranger = connect(socket)
        with pytest.raises(RedisError, match="Authentication required"):
            await stranger.get("key")
        await stranger.aclose()
    finally:
        valkey.kill()


async def test_the_nodes_role_owns_its_database_and_nothing_else(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text('it\'s a "password"\n')
    port = postgresql().url("").rpartition(":")[2].rstrip("/")
    environment = {"PATH": os.environ["PATH"], "PGHOST": "127.0.0.1", "PGPORT": port, "PASSWORD_FILE": str(secret)}
    subprocess.run(["sh", str(EXAMPLES / "compose" / "postgresql-init.sh")], env=environment, check=True)
    database = Database(f"postgresql://halfgateway@127.0.0.1:{port}/halfgateway")
    try:
        await database.migrate()
        async with database.engine.connect() as connection:
            about = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
            assert tuple((await connection.exec_driver_sql(about)).one()) == (False, False, False)
    finally:
        await database.close()


def test_nodes_share_three_keys_and_no_other(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    for name in ("master", "ticket", "nonce", "trace"):
        (first / f"{name}.key").write_text(name)
    share = ["sh", str(EXAMPLES / "compose" / "share-keys.sh"), str(first), str(second)]
    for _ in range(2):
        subprocess.run(share, check=True)
    assert {path.name: path.read_text() for path in second.iterdir()} == {
        f"{name}.key": name for name in ("master", "ticket", "nonce")
    }
    assert stat.S_IMODE((second / "master.key").stat().st_mode) == 0o600
    (second / "nonce.key").write_text("another")
    assert subprocess.run(share, check=False, stderr=subprocess.DEVNULL).returncode == 1
    assert (second / "nonce.key").read_text() == "another"


@pytest.mark.skipif(not installed(), reason="apt: postfix, run by root")
def test_the_relay_takes_mail_over_tls_and_keeps_it_while_the_sites_server_is_away() -> None:
    # N03: its own two files, moved to a folder of this test
    relay = EXAMPLES / "compose" / "relay"
    with postfix_folder() as (folder, port, authority, issued):
        main = (relay / "main.cf").read_text().replace("/dev/stdout", f"{folder}/log")
        main = main.replace("/etc/postfix/tls/relay.pem", str(issued.certificate_path))
        main = main.replace("/etc/postfix/tls/relay.key", str(issued.key_path))
        main = main.replace("[smtp.syn.example]:587", "[127.0.0.1]:9")
        main += f"queue_directory = {folder}/queue\ndata_directory = {folder}/data\nmaillog_file_prefixes = {folder}\n"
        master = (relay / "master.cf").read_text()
        assert re.match(r"(?s).*^smtp +inet ", master, re.MULTILINE)
        master = re.sub(r"(?m)^smtp +inet ", f"127.0.0.1:{port} inet ", master)
        with running_postfix(folder, main, master):
            told = subprocess.run(["postconf", "-c", str(folder)], capture_output=True, text=True, check=True)
            assert told.stderr == ""
            tls = ssl.create_default_context(cafile=str(authority.certificate_path))
            with smtplib.SMTP("127.0.0.1", port) as client:
                with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
                    client.sendmail("dpp@syn.example", ["pvpp@prefecture.example"], b"Subject: a\r\n\r\n")
                client.starttls(context=tls)
                assert client.sendmail("dpp@syn.example", ["pvpp@prefecture.example"], b"Subject: a\r\n\r\n") == {}
            queued = subprocess.run(["postqueue", "-c", str(folder), "-j"], capture_output=True, text=True, check=True)
            assert json.loads(queued.stdout)["recipients"][0]["address"] == "pvpp@prefecture.example"


def test_the_relay_serves_the_network_of_the_attendants_alone() -> None:
    (subnet,) = (each["subnet"] for each in COMPOSE["networks"]["mail"]["ipam"]["config"])
    main = (EXAMPLES / "compose" / "relay" / "main.cf").read_text()
    assert f"mynetworks = 127.0.0.1/32, {subnet}\n" in main
    assert {name for name, service in SERVICES.items() if "mail" in service.get("networks", [])} == {
        "relay",
        *(f"{attendant}-{node}" for attendant in ("notifier", "watchdog") for node in "ab"),
    }


@needs_systemd
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("halfgateway.service", "halfgateway.service"),
        ("halfgateway-attendant@.service", "halfgateway-attendant@notifier.service"),
        ("halfgateway-recorder.service", "halfgateway-recorder.service"),
    ],
)
def test_the_unit_is_one_and_leaves_little_open(tmp_path: Path, file: str, name: str) -> None:
    unit = tmp_path / name
    text = (EXAMPLES / "systemd" / file).read_text()
    unit.write_text(text.replace("/opt/halfgateway/bin/halfgateway", "/bin/true"))  # which need not be installed here
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    secured = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={LEAST_EXPOSURE}", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert secured.returncode == 0, secured.stdout


def test_the_unit_says_what_the_node_does() -> None:
    text = (EXAMPLES / "systemd" / "halfgateway.service").read_text()
    for line in (
        "Type=notify",
        "Restart=always",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "StateDirectory=halfgateway halfgateway-head",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "MemoryDenyWriteExecute=yes",
    ):
        assert line in text.splitlines()
