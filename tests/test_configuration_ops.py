"""The configuration of mail and contacts: what is refused, what `check` asks, and no start on an empty annex 2."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from auth.demo_authority import DemoAuthority
from halfgateway.app import running_node
from halfgateway.config import ConfigurationError, parse_configuration
from halfgateway.config_ops import faults_at_start, mail_questions
from ops.incidents.events import MAX_RECIPIENTS
from tests.conftest import uncounted_environment
from tests.contacts import CONTACTS
from tests.e2e.nodes import toml_lines

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PP, SYN = CONTACTS
ROUTE = {"host": "smtp.syn.example"}
MAIL: dict[str, Any] = {"sender": "dpp@syn.example", "domain": "syn.example", "primary": ROUTE}


def document(tmp_path: Path, **sections: Any) -> dict[str, Any]:
    return {
        "node": {"data": str(tmp_path / "data")},
        "convention": {"in_force_from": "2025-10-21T00:00:00Z"},
        "listen": {"http_port": 0, "https_port": "off", "rtsps_port": "off"},
        **sections,
    }


def run(command: str, config: Path) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "halfgateway", command, "--config", str(config), "--json"]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=uncounted_environment())


def test_an_internal_alarm_is_not_addressed_to_pp(tmp_path: Path) -> None:
    # C14, C16
    named = document(tmp_path, contacts=CONTACTS, on_call={"emails": [SYN["email"], PP["email"].upper()]})
    with pytest.raises(ConfigurationError, match=r"on_call\.emails.*pvpp@pp\.example"):
        parse_configuration(named)


@pytest.mark.parametrize(
    ("contacts", "annexes"),
    [
        ([PP, SYN], []),
        ([], ["2", "3"]),
        ([SYN], ["2"]),
        ([{**PP, "valid_to": "2026-11-20"}, SYN], ["2"]),
        ([{**PP, "valid_from": "2026-11-22"}, SYN], ["2"]),
        ([{**PP, "role": "key-custodian"}, SYN], ["2"]),
        ([PP, {**SYN, "phone": None}], ["3"]),
        ([PP, {**SYN, "valid_to": "2026-11-20"}], ["3"]),
    ],
)
def test_nobody_starts_while_pp_could_not_be_told(
    tmp_path: Path, contacts: list[dict[str, Any]], annexes: list[str]
) -> None:
    # N13
    configuration = parse_configuration(document(tmp_path, contacts=contacts))
    faults = faults_at_start(configuration.mail, configuration.contacts, NOW)
    assert [fault.partition("annexe ")[2][0] for fault in faults] == annexes


async def test_no_node_runs_on_an_empty_annex_2(tmp_path: Path) -> None:
    # N13: no way of starting one goes round it
    configuration = parse_configuration(document(tmp_path, contacts=[SYN]))
    with pytest.raises(ConfigurationError, match="annexe 2 est vide"):
        async with running_node(configuration):
            pytest.fail("a node runs that can tell nobody")
    assert not (tmp_path / "data").exists()


def test_check_and_serve_refuse_an_empty_annex_2_and_a_cut_does_not(tmp_path: Path) -> None:
    # N13, C10
    config = tmp_path / "gateway.toml"
    config.write_text("\n".join(toml_lines(document(tmp_path))))
    checked, served = run("check", config), run("serve", config)
    assert (checked.returncode, served.returncode) == (2, 2)
    faults = json.loads(checked.stdout)["faults"]
    assert "annexe 2 est vide" in faults[0]
    assert [line.removeprefix("halfgateway: ") for line in served.stderr.splitlines()] == faults
    (tmp_path / "data").mkdir()
    command = [sys.executable, "-m", "halfgateway", "cut", "--reason", "essai", "--config", str(config), "--json"]
    cut = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (cut.returncode, "incident" in json.loads(cut.stdout)) == (0, True), cut.stderr


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"primary": {"host": "192.0.2.1", "tls": "none-loopback-only"}}, "TLS alone"),
        ({"primary": {"host": "localhost", "tls": "none-loopback-only"}}, "TLS alone"),  # a name may lead anywhere
        ({"primary": {**ROUTE, "tls": "none"}}, "mail.primary.tls"),
        ({"primary": {**ROUTE, "username": "dpp"}}, "go together"),
        ({"primary": {**ROUTE, "password_file": "p"}}, "go together"),
        ({"primary": {**ROUTE, "password": "s3cret"}}, "mail.primary.password"),  # C16: no secret in the file
        ({"primary": None}, "either primary"),
        ({"mailbox": "mail"}, "either primary"),
        ({"primary": None, "mailbox": "mail", "secondary": ROUTE}, "secondary"),
        ({"returns": {}}, "either maildir or imap"),
        ({"returns": {"maildir": "m", "imap": ROUTE}}, "either maildir or imap"),
        ({"returns": {"imap": {"host": "192.0.2.1", "tls": "none-loopback-only"}}}, "TLS alone"),
        ({"sender": "dpp"}, "mail.sender"),
        ({"display": "SYN\r\nBcc: x@y.example"}, "display"),
        ({"domain": "syn.example>"}, "mail.domain"),
        ({"connect_timeout_s": 0}, "connect_timeout_s"),
    ],
)
def test_each_fault_of_mail_is_named(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_configuration(document(tmp_path, mail={**MAIL, **change}))
    (told,) = refused.value.faults
    assert fault in told
    assert "s3cret" not in told


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1"])
def test_mail_goes_in_clear_to_this_machine_alone(tmp_path: Path, host: str) -> None:
    route = {"host": host, "port": 25, "tls": "none-loopback-only"}
    mail = parse_configuration(document(tmp_path, mail={**MAIL, "primary": route})).mail
    assert mail is not None
    assert mail.return_path == "dpp@syn.example"
    assert parse_configuration(document(tmp_path, mail=MAIL)).mail is not None


def test_an_annex_is_no_longer_than_a_notice_has_recipients(tmp_path: Path) -> None:
    many = [{**PP, "email": f"pvpp{n}@pp.example"} for n in range(MAX_RECIPIENTS)]
    assert len(parse_configuration(document(tmp_path, contacts=many)).contacts) == MAX_RECIPIENTS
    with pytest.raises(ConfigurationError, match="contacts"):
        parse_configuration(document(tmp_path, contacts=[*many, SYN]))


def test_a_contact_that_cannot_be_is_a_fault_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_configuration(document(tmp_path, contacts=[PP, {**SYN, "level": 2}]))
    (told,) = refused.value.faults
    assert told.startswith("contacts.1: ")


def test_the_signing_certificate_is_held_to_what_it_has_to_do(tmp_path: Path) -> None:
    # N05
    authority = DemoAuthority.open(tmp_path, NOW)
    good, other = authority.mail("dpp@syn.example", NOW), authority.client("dpp", NOW)

    def faults(certificate: Path, key: Path) -> list[str]:
        smime = {"certificate": str(certificate), "key": str(key)}
        configuration = parse_configuration(document(tmp_path, mail={**MAIL, "smime": smime}, contacts=CONTACTS))
        return faults_at_start(configuration.mail, configuration.contacts, NOW)

    assert faults(good.certificate_path, good.key_path) == []
    assert "is not the key of" in faults(good.certificate_path, other.key_path)[0]
    assert "emailProtection" in faults(other.certificate_path, other.key_path)[0]
    assert "nowhere" in faults(good.certificate_path, tmp_path / "nowhere")[0]
    assert len(faults(good.key_path, good.certificate_path)) == 1


def test_check_asks_what_the_way_out_lacks(tmp_path: Path) -> None:
    authority = DemoAuthority.open(tmp_path, NOW)
    signing = authority.mail("dpp@syn.example", NOW)
    smime = {"certificate": str(signing.certificate_path), "key": str(signing.key_path)}

    def asked(mail: dict[str, Any] | None, now: datetime = NOW) -> list[str]:
        questions = mail_questions(parse_configuration(document(tmp_path, mail=mail)).mail, now)
        return [question.partition("]")[0].lstrip("[") for question in questions]

    whole = {**MAIL, "secondary": ROUTE, "smime": smime}
    assert asked(None) == ["mail"]
    assert asked(MAIL) == ["mail.secondary", "mail.smime"]
    assert asked({**whole, "primary": None, "secondary": None, "mailbox": "m"}) == ["mail"]
    assert asked(whole) == []
    assert asked(whole, datetime(2029, 2, 10, tzinfo=UTC)) == ["mail.smime"]
