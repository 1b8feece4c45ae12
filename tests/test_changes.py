"""What differs between two configurations is named by its keys, and some keys are read once."""

from __future__ import annotations

from typing import Any

import pytest

from halfgateway.app.changes import changed_keys, refused_keys
from halfgateway.config import Configuration, parse_configuration

CAMERA: dict[str, Any] = {
    "id": "mairie",
    "name": "Mairie",
    "site": "Site",
    "commune": "Versailles",
    "latitude": 48.8,
    "longitude": 2.1,
    "onvif_url": "http://192.0.2.1/onvif/device_service",
    "username": "syn",
    "password_file": "secrets/mairie.password",
}
GATE = {**CAMERA, "id": "porte"}
TLS = {"certificate": "a.pem", "key": "a.key", "client_ca": "ca.pem"}


def configuration(**sections: Any) -> Configuration:
    listen = {"https_port": "off", "rtsps_port": "off", **sections.pop("listen", {})}
    convention = {"in_force_from": "2025-10-21T00:00:00Z", **sections.pop("convention", {})}
    node = {"data": "data", **sections.pop("node", {})}
    return parse_configuration({"node": node, "convention": convention, "listen": listen, **sections})


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({}, {}, ()),
        ({"log_level": "info"}, {"log_level": "debug"}, ("log_level",)),
        ({}, {"timings": {"renew_s": 4, "resume_s": 3}}, ("timings.renew_s", "timings.resume_s")),
        ({"cameras": [CAMERA, GATE]}, {"cameras": [GATE, CAMERA]}, ()),
        ({"cameras": [CAMERA]}, {"cameras": [CAMERA, GATE]}, ("cameras.porte",)),
        ({"cameras": [CAMERA]}, {}, ("cameras.mairie",)),
        (
            {"cameras": [CAMERA]},
            {"cameras": [{**CAMERA, "name": "Place", "masked_profile": "P2"}]},
            ("cameras.mairie.masked_profile", "cameras.mairie.name"),
        ),
        ({"listen": {"udp_ports": [30000, 30009]}}, {"listen": {"udp_ports": [30000, 30019]}}, ("listen.udp_ports",)),
        ({}, {"tls": TLS}, ("tls",)),
        ({"tls": TLS}, {"tls": {**TLS, "key": "b.key"}}, ("tls.key",)),
    ],
)
def test_changes_are_named_by_their_keys(
    before: dict[str, Any], after: dict[str, Any], changed: tuple[str, ...]
) -> None:
    assert changed_keys(configuration(**before), configuration(**after)) == changed


def test_what_is_read_once_is_refused_and_the_rest_is_not() -> None:
    live = ("cameras.node", "convention.cap", "convention.ended_at", "log_level", "machines.vms.agent")
    live += ("timings.renew_s", "tls.certificate", "tls.tickets_need_certificate")
    once = ("convention.id", "database.url", "listen.host", "node.data", "node.id", "state_store.url")
    once += (
        "timings.lease_s",
        "tls",
        "tls.handshake_timeout_s",
        "tls.ocsp_responders",
        "assertions.issuer",
        "trace.head_note",
    )
    assert refused_keys((*live, *once)) == list(once)
