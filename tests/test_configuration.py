"""A wrong configuration lists every fault and starts nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from halfgateway.config import ConfigurationError, DatabaseSection, parse_configuration, read_configuration
from halfgateway.downstream.transports import UdpService
from halfgateway.net.datagrams import ANY_PORTS
from halfgateway.opening import memory_faults
from tests.conftest import uncounted_environment

REPOSITORY = Path(__file__).parents[1]
EXAMPLE = REPOSITORY / "examples" / "gateway.toml"

MINIMAL: dict[str, Any] = {
    "node": {"data": "data"},
    "convention": {"in_force_from": "2025-10-21T00:00:00Z"},
    "listen": {"https_port": None, "rtsps_port": None},
}


def changed(**sections: dict[str, Any]) -> dict[str, Any]:
    return {**MINIMAL, **{name: {**MINIMAL.get(name, {}), **values} for name, values in sections.items()}}


def faults_of(document: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        parse_configuration(document)
    return refused.value.faults


def test_the_convention_is_its_own_default() -> None:
    # C01 C03
    convention = parse_configuration(MINIMAL).convention.record()
    assert (convention.cap, convention.retention_days, convention.machine_only_agreement) == (10, 10, None)


@pytest.mark.parametrize(
    ("section", "values", "fault"),
    [
        ("convention", {"cap": 11}, "avenant"),  # C01: more than ten takes an avenant
        ("convention", {"cap": 0}, "cap"),
        ("convention", {"retention_days": 32}, "retention_days"),  # L02
        ("listen", {"http_port": 65536}, "http_port"),
        ("listen", {"https_port": 8443}, "tls is missing"),
        ("listen", {"udp_ports": [30000, 30000]}, "udp_ports"),
        ("listen", {"udp_ports": [30001, 30002]}, "udp_ports"),
        ("listen", {"udp_ports": [30010, 30000]}, "udp_ports"),
        ("listen", {"udp_ports": [1000, 1100]}, "udp_ports"),
        ("listen", {"udp_mtu_bytes": 575}, "udp_mtu_bytes"),
        ("listen", {"proxies": ["0.0.0.0/0"]}, "any address could be claimed"),
        ("listen", {"proxies": ["::/0"]}, "any address could be claimed"),
        ("listen", {"proxies": ["10.0.0.1/24"]}, "proxies"),
        ("listen", {"proxies": ["balancer"]}, "proxies"),
        ("listen", {"public_rtsps": "rtsp://video.example"}, "public_rtsps"),
        ("listen", {"public_rtsp": "rtsp://user@video.example"}, "public_rtsp"),
        ("listen", {"public_rtsp": "rtsp://video.example/live"}, "public_rtsp"),
        ("listen", {"udp_mtu_bytes": 9217}, "udp_mtu_bytes"),
        ("database", {"url": "postgresql://u:p@h/n"}, "password_file"),  # C16: no secret in the file
        ("state_store", {"url": "redis://:p@h"}, "password_file"),
        ("timings", {"lease_s": 5, "renew_s": 4}, "renew_s"),
        ("timings", {"trace_grace_s": 31}, "trace_grace_s"),  # T01
        ("node", {"id": "Node 1"}, "node.id"),
        ("node", {"colour": "blue"}, "colour"),
    ],
)
def test_each_fault_is_named(section: str, values: dict[str, Any], fault: str) -> None:
    (told,) = faults_of(changed(**{section: values}))
    assert fault in told


@pytest.mark.parametrize("off", ["off", False])
@pytest.mark.parametrize("port", ["http_port", "https_port", "rtsp_port", "rtsps_port"])
def test_each_port_can_be_switched_off_in_a_file(port: str, off: object) -> None:
    listen = parse_configuration(changed(listen={port: off})).listen
    assert getattr(listen, port) is None


@pytest.mark.parametrize("port", [True, "on", -1])
def test_what_is_no_port_is_refused(port: object) -> None:
    (told,) = faults_of(changed(listen={"rtsp_port": port}))
    assert told.startswith("listen.rtsp_port")


def test_any_free_port_is_not_none() -> None:
    assert parse_configuration(changed(listen={"rtsp_port": 0})).listen.rtsp_port == 0


def test_udp_is_on_from_any_port_unless_a_file_says_otherwise() -> None:
    service = parse_configuration(MINIMAL).listen.udp_service()
    assert service == UdpService(ANY_PORTS, 1500)
    assert parse_configuration(changed(listen={"udp": False})).listen.udp_service() is None
    service = parse_configuration(changed(listen={"udp_ports": [30000, 30019]})).listen.udp_service()
    assert service is not None
    assert (service.ports[0], service.ports[-1]) == (30000, 30019)


def test_nobody_speaks_for_another_unless_a_file_says_so() -> None:
    assert parse_configuration(MINIMAL).listen.proxies == ()
    listen = parse_configuration(changed(listen={"proxies": ["10.0.0.0/24", "2001:db8::5"]})).listen
    assert [str(network) for network in listen.proxies] == ["10.0.0.0/24", "2001:db8::5/128"]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://halfgateway@db.example:5432/half", "postgresql://halfgateway:p%40s%2F%3A@db.example:5432/half"),
        ("rediss://valkey.example:6379/0?a=b", "rediss://:p%40s%2F%3A@valkey.example:6379/0?a=b"),
        ("redis://gateway@[::1]:6379", "redis://gateway:p%40s%2F%3A@[::1]:6379"),
    ],
)
def test_a_servers_password_comes_out_of_its_file(tmp_path: Path, url: str, address: str) -> None:
    file = tmp_path / "password"
    file.write_text("p@s/:\n")
    section = DatabaseSection(url=url, password_file=file)
    assert section.address() == address
    assert "p@s" not in repr(section)


def test_rtsp_over_http_is_for_who_asks_for_it() -> None:
    # rows 10, 39: the demo asks, the example and the default do not
    assert not parse_configuration(MINIMAL).listen.rtsp_over_http
    assert parse_configuration(changed(listen={"rtsp_over_http": True})).listen.rtsp_over_http
    assert tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))["listen"]["rtsp_over_http"] is False


def test_every_fault_is_listed_at_once() -> None:
    wrong = changed(convention={"cap": -1}, listen={"http_port": -1}, node={"id": ""}, timings={"resume_s": 0})
    assert len(faults_of(wrong)) == 4


def test_an_avenant_raises_the_cap() -> None:
    # C01
    document = changed(convention={"cap": 20, "avenant": "avenant n° 1"})
    assert parse_configuration(document).convention.record().cap == 20


def test_cameras_and_machines_have_names_of_their_own() -> None:
    machine = {"id": "vms", "agent": "pp-1", "reason": "L251-2-5"}
    document = {**MINIMAL, "machines": [machine, machine]}
    assert "vms appears twice" in faults_of(document)[0]


@pytest.mark.parametrize("name", ["", "Place\r\na=control:x", "x" * 201])
def test_a_camera_is_called_what_people_and_an_sdp_can_read(name: str) -> None:
    camera = {
        "id": "cam-1",
        "name": name,
        "site": "Site",
        "commune": "Versailles",
        "latitude": 48.8,
        "longitude": 2.1,
        "onvif_url": "http://192.0.2.1/onvif/device_service",
        "username": "syn",
        "password_file": "p",
    }
    (told,) = faults_of({**MINIMAL, "cameras": [camera]})
    assert told.startswith("cameras.0.name")


def test_the_example_is_complete_and_names_what_is_missing(tmp_path: Path) -> None:
    copy = tmp_path / "gateway.toml"
    copy.write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        read_configuration(copy)
    files = [fault.split(": ")[0] for fault in refused.value.faults]
    assert files == [
        "cameras.mairie.password_file",
        "tls.certificate",
        "tls.key",
        "tls.client_ca",
        "tls.revoked",
        "mail.primary.password_file",
        "mail.secondary.password_file",
        "mail.smime.certificate",
        "mail.smime.key",
    ]
    example = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    files = ["tls/server.pem", "tls/server.key", "tls/client-ca.pem", "tls/revoked.pem", "secrets/mairie.password"]
    files += ["secrets/smtp.password", "secrets/smtp-secours.password", "tls/mail.pem", "tls/mail.key"]
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    configuration = read_configuration(copy)
    assert configuration.node.data == tmp_path / example["node"]["data"]
    assert configuration.cameras[0].password_file == tmp_path / "secrets/mairie.password"
    assert configuration.mail is not None
    assert configuration.mail.primary is not None
    assert configuration.mail.primary.password_file == tmp_path / "secrets/smtp.password"


def test_the_heads_note_is_not_put_back_with_what_it_is_to_outlive(tmp_path: Path) -> None:
    # T12: wherever a link leads; and a disk that is not there is told of before the start
    file, note = tmp_path / "gateway.toml", '[trace]\nhead_note = "{}"\n'
    start = '[node]\ndata = "data"\n[convention]\nin_force_from = 2025-10-21T00:00:00Z\n'
    start += '[listen]\nhttps_port = "off"\nrtsps_port = "off"\n'
    (tmp_path / "data" / "trace").mkdir(parents=True)
    (tmp_path / "link").symlink_to("data/trace")
    for inside in ("data/trace/head.note", "link/head.note", f"{tmp_path}/data/../data/head.note"):
        file.write_text(start + note.format(inside))
        with pytest.raises(ConfigurationError, match=r"trace\.head_note: it lies in node\.data"):
            read_configuration(file)
    file.write_text(start + note.format("head/head.note"))
    folder = read_configuration(file).folder()
    assert folder.head == tmp_path / "head" / "head.note"
    assert [str(tmp_path / "head") in fault for fault in memory_faults(folder)] == [True]
    folder.head.parent.mkdir()
    assert memory_faults(folder) == []
    file.write_text(start)
    folder = read_configuration(file).folder()
    assert (folder.head, memory_faults(folder)) == (tmp_path / "data" / "trace-head.note", [])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "halfgateway", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=uncounted_environment()
    )


def test_check_and_serve_exit_with_2_and_every_fault(tmp_path: Path) -> None:
    wrong = tmp_path / "gateway.toml"
    wrong.write_text(
        '[node]\ndata = "d"\n[convention]\nin_force_from = 2025-10-21T00:00:00Z\ncap = 11\n[listen]\nx = 1\n'
    )
    checked = run("check", "--config", str(wrong), "--json")
    assert checked.returncode == 2
    faults = json.loads(checked.stdout)["faults"]
    assert len(faults) == 2
    served = run("serve", "--config", str(wrong))
    assert served.returncode == 2
    assert [line.removeprefix("halfgateway: ") for line in served.stderr.splitlines()] == faults


def test_a_command_that_names_no_node_is_wrong_usage(tmp_path: Path) -> None:
    assert run("cut", "--reason", "essai").returncode == 2
    assert run("cut", "--reason", "essai", "--data", str(tmp_path / "nowhere")).returncode == 2
    assert run("trace", "verify", "--config", str(tmp_path / "nowhere.toml")).returncode == 2
