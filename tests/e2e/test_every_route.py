"""No unaudited path over HTTP: a tour calls every operation on a real node, and names what each leaves (T10).

The tour is written by hand, call by call, with the kinds of entry that it must leave and no other. It is then held
against the operations that the application declares: one that the tour does not call fails the test, and so does a
kind that is declared and never shown, or shown and never declared.
"""

from __future__ import annotations

import base64
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyotp
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.demo_authority import DemoAuthority
from auth.policy import DegradedMode
from auth.throttle import FAILURES_PER_MINUTE_OF_STRANGERS
from auth.trace import Kind
from auth.trace.cosigner import CosigningKey
from auth.trace.reader import TraceReader
from camera_registry.clock import SystemClock
from camera_registry.paris import day_of
from halfgateway.api.paths import API
from halfgateway.cli.office import Office
from halfgateway.config_incidents import RestorationSection
from halfgateway.errors import RecorderUnreachable
from halfgateway.sections import TraceSection
from ops.correspondence.correspondence import CorrespondenceBooks
from ops.correspondence.matters import ContactTest
from ops.incidents.events import CorrespondenceOpened
from tests.asserting import Signer, public_pem
from tests.e2e.conftest import until
from tests.e2e.export_terms import WATCH_AND_EXPORT
from tests.e2e.exporting import Exporting
from tests.e2e.forging import read, revocation_list
from tests.e2e.people import order_of
from tests.e2e.test_asserted import admit
from tests.e2e.touring import BY, DECLARED, Tour, acceptance_run, on_tour, signed_list
from tests.exporting.footages import Reel
from tests.rights import SERVICE

START = "2026-01-01T00:00:00Z"
ACTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("denounced", {}),
    ("denunciation-withdrawn", {}),
    ("formal-notice", {}),
    ("formal-notice-met", {"answers": 3}),
    ("end-recorded", {"ground": "agreement", "effect": "2098-01-10T22:00:00Z"}),
    ("end-withdrawn", {}),
    ("pvpp-order", {"last_day": "2098-01-10"}),
)
"""What the parties do to the convention, one after the other."""


async def test_every_operation_leaves_what_it_declares_or_does_nothing(tmp_path: Path) -> None:
    # T10
    async with on_tour(tmp_path / "demo") as tour:
        await logins(tour)
        await what_is_read(tour)
        await designations(tour)
        await orders(tour)
        await streams(tour)
        await exports(tour, tour.reel)
        await reservations(tour)
        await custody(tour)
        await safekeeping(tour)
        await the_interconnection(tour)
        await incidents(tour)
        await the_conventions_life(tour)
        await the_trace(tour)
        await goodbyes(tour)
    await the_first_officer(tour, tmp_path / "empty")
    assert {route: set(kinds) for route, kinds in DECLARED.items()} == tour.shown


async def logins(tour: Tour) -> None:
    for role in ("operator", "supervisor", "machine", "ops", "officer", "auditor"):
        await tour._forget_the_past()
        await tour.gateway.token(role)
        await tour.told("POST", f"{API}/login", (Kind.AUTH_SUCCEEDED,))
    await tour.call("ops", "GET", "/sessions")
    wrong = {"id": tour.gateway.ready["accounts"]["ops"]["id"], "password": "wrong", "totp": "000000"}
    await tour.call(None, "POST", "/login", wrong, (Kind.AUTH_FAILED,), status=401)


async def what_is_read(tour: Tour) -> None:
    camera = tour.gateway.cameras[0]
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        await tour.call(None, "GET", path)
    for path in ("/cameras", f"/cameras/{camera}", "/interconnection"):
        await tour.call("operator", "GET", path)
    for path in ("/assertion-keys", "/break-glass", "/interventions", "/orders"):
        await tour.call("officer", "GET", path)
    hour = SystemClock().now() - timedelta(hours=2)
    period = f"?start={hour:%Y-%m-%dT%H:%M:%SZ}&end={hour + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    await tour.call("operator", "GET", f"/cameras/{camera}/recordings{period}", None, (Kind.RECORDING_SEARCHED,))


async def designations(tour: Tour) -> None:
    async def officer(method: str, path: str, body: object, *leaves: Kind) -> dict[str, Any]:
        return await tour.call("officer", method, path, body, leaves)

    agent = {"id": "pp-tour", "administration": "PP", "service": "DOPC", "start": START, **BY}
    right = {"agent": "pp-tour", "role": "operator", "start": START, **BY}
    await officer("POST", "/agents", agent, Kind.AGENT_ADDED)
    granted = await officer("POST", "/habilitations", right, Kind.HABILITATION_GRANTED)
    path = f"/habilitations/{granted['id']}"
    await officer("POST", f"{path}/confirm", {"reference": "revue-1"}, Kind.HABILITATION_CONFIRMED)
    await officer("POST", f"{path}/end", {"reason": "fin", "reference": "PP-18"}, Kind.HABILITATION_ENDED)
    await officer("POST", "/habilitations", right, Kind.HABILITATION_GRANTED)
    card = DemoAuthority.open(tour.gateway.data / "ca", SystemClock().now()).client("pp-tour", SystemClock().now())
    factor = {"kind": "card", "role": "operator", "site": "PP-CITE", "certificate": card.certificate_path.read_text()}
    await officer("POST", "/agents/pp-tour/factors", factor, Kind.AGENT_ENROLLED)
    for path in ("/agents", "/agents/pp-tour", "/habilitations?on=2026-11-21", "/blocks"):
        await officer("GET", path, None, Kind.TRACE_READ)
    block = {"kind": "agent", "subject": "pp-tour", "ground": "security", "reason": "doute"}
    blocked = await officer("POST", "/blocks", block, Kind.BLOCK_SET)
    await officer("POST", f"/blocks/{blocked['id']}/lift", {"reason": "levé"}, Kind.BLOCK_LIFTED)
    await officer("POST", "/agents/import", signed_list(), Kind.AGENT_ADDED, Kind.HABILITATION_GRANTED)
    ended = {"reason": "départ", "reference": "PP-19"}
    await officer("POST", "/agents/pp-tour/end", ended, Kind.AGENT_ENDED, Kind.HABILITATION_ENDED)


async def orders(tour: Tour) -> None:
    camera = tour.gateway.cameras[0]
    first, second = order_of("78-tour-1", camera, "DOPC"), order_of("78-tour-2", camera, "DOPC")
    for path, body, kind in (
        ("/orders", first, Kind.ORDER_RECORDED),
        ("/orders/import", {"orders": [second]}, Kind.ORDER_RECORDED),
        ("/orders/78-tour-1/suspend", {"reason": "recours"}, Kind.ORDER_SUSPENDED),
        ("/orders/78-tour-1/resume", {"reason": "rejet"}, Kind.ORDER_RESUMED),
        ("/orders/78-tour-1/withdraw", {"reason": "abrogation"}, Kind.ORDER_WITHDRAWN),
    ):
        await tour.call("officer", "POST", path, body, (kind,))


async def streams(tour: Tour) -> None:
    gateway, granted = tour.gateway, (Kind.STREAM_REQUESTED, Kind.STREAM_GRANTED)
    wish = {"camera": gateway.cameras[0], "mode": "live", "reason": "L251-2-5"}
    ticket = await tour.call("operator", "POST", "/streams", wish, granted)
    await tour.call("officer", "GET", "/streams?unmask=essai", None, (Kind.STREAM_UNMASKED,))
    await tour.call("supervisor", "DELETE", f"/streams/{ticket['id']}", None, (Kind.STREAM_STOPPED,))
    unknown = wish | {"camera": "no-such-camera"}
    await tour.call("operator", "POST", "/streams", unknown, (Kind.STREAM_REFUSED,), status=404)
    account = gateway.ready["accounts"]["machine"]
    tls = ssl.create_default_context(cafile=gateway.ready["ca"])
    tls.load_cert_chain(account["certificate"], account["key"])
    asserted = wish | {"assertion": Signer.of_demo(gateway.ready).assertion()}
    over_tls = {"port": "https", "ssl": tls}
    ticket = await tour.call("machine", "POST", "/streams", asserted, (Kind.ASSERTION_ACCEPTED, *granted), **over_tls)
    await admit(gateway, "pp-relief", SERVICE)
    relief = {"assertion": Signer.of_demo(gateway.ready).assertion(sub="pp-relief", service=SERVICE)}
    taken_over = (Kind.ASSERTION_ACCEPTED, Kind.STREAM_HANDED_OVER)
    await tour.call("machine", "POST", f"/streams/{ticket['id']}/handover", relief, taken_over, **over_tls)
    refused = {"status": 403, **over_tls}
    await tour.call(
        "machine", "POST", f"/streams/{ticket['id']}/handover", relief, (Kind.ASSERTION_REFUSED,), **refused
    )
    nobody = {"assertion": Signer.of_demo(gateway.ready).assertion(sub="pp-nobody", service=SERVICE)}
    not_his = (Kind.ASSERTION_ACCEPTED, Kind.STREAM_REFUSED)
    await tour.call("machine", "POST", f"/streams/{ticket['id']}/handover", nobody, not_his, **refused)
    await tour.call("machine", "POST", "/streams", asserted, (Kind.ASSERTION_REFUSED,), status=403, **over_tls)
    await tour.call("machine", "DELETE", f"/streams/{ticket['id']}", None, (Kind.STREAM_STOPPED,))


async def exports(tour: Tour, reel: Reel) -> None:
    gateway, begun = tour.gateway, (Kind.STREAM_REQUESTED, Kind.EXPORT_REQUESTED)
    made = (*begun, Kind.EXPORT_MADE, Kind.STREAM_STOPPED)
    wish = Exporting(gateway, reel).wish()
    right = WATCH_AND_EXPORT | {"agent": gateway.ready["accounts"]["operator"]["id"]}
    granted = await tour.call("officer", "POST", "/habilitations", right, (Kind.HABILITATION_GRANTED,))
    await admit(gateway, "pp-exports", SERVICE)
    asserted_right = WATCH_AND_EXPORT | {"agent": "pp-exports"}
    await tour.call("officer", "POST", "/habilitations", asserted_right, (Kind.HABILITATION_GRANTED,))
    done = await tour.call("operator", "POST", "/exports", wish, made)
    unknown = wish | {"camera": "no-such-camera"}
    await tour.call("operator", "POST", "/exports", unknown, (Kind.EXPORT_REFUSED,), status=403)
    account = gateway.ready["accounts"]["machine"]
    tls = ssl.create_default_context(cafile=gateway.ready["ca"])
    tls.load_cert_chain(account["certificate"], account["key"])
    assertion = Signer.of_demo(gateway.ready).assertion(sub="pp-exports", service=SERVICE)
    asserted, over_tls = wish | {"assertion": assertion}, {"port": "https", "ssl": tls}
    await tour.call("machine", "POST", "/exports", asserted, (Kind.ASSERTION_ACCEPTED, *made), **over_tls)
    await tour.call("machine", "POST", "/exports", asserted, (Kind.ASSERTION_REFUSED,), status=403, **over_tls)
    reel.fails = RecorderUnreachable("L'enregistreur ne répond plus.")
    failed = (*begun, Kind.STREAM_STOPPED, Kind.EXPORT_FAILED)
    await tour.call("operator", "POST", "/exports", wish, failed)
    reel.fails, reel.hold_at = None, 3
    running = await tour.call("operator", "POST", "/exports", wish, begun)
    await tour.call("operator", "GET", "/exports")
    cancelled = (Kind.STREAM_STOPPED, Kind.EXPORT_CANCELLED)
    await tour.call("operator", "DELETE", f"/exports/{running['id']}", None, cancelled)
    done = await tour.call("operator", "GET", f"/exports/{done['id']}")
    file = f"/exports/{done['id']}/files/{done['files'][-1]['name']}"
    await tour.call("operator", "GET", file, None, (Kind.EXPORT_DOWNLOADED,))
    await gateway.traced(lambda entry: entry.kind is Kind.EXPORT_DOWNLOADED and entry.detail["step"] == "ended")
    ended = {"reason": "fin", "reference": "PP-18"}
    await tour.call("officer", "POST", f"/habilitations/{granted['id']}/end", ended, (Kind.HABILITATION_ENDED,))
    await tour.call("operator", "GET", file, None, (Kind.EXPORT_REFUSED,), status=403)
    await tour.call("operator", "DELETE", f"/exports/{done['id']}", None, (Kind.EXPORT_REMOVED,))


async def reservations(tour: Tour) -> None:
    until = (SystemClock().now() + timedelta(hours=1)).isoformat()
    wish = {"service": "DRPJ", "slots": 2, "until": until}
    made = await tour.call("supervisor", "POST", "/reservations", wish, (Kind.RESERVATION_MADE,))
    await tour.call("supervisor", "GET", "/reservations")
    passed = (Kind.RESERVATION_PASSED,)
    await tour.call("supervisor", "POST", f"/reservations/{made['id']}/pass", {"service": "DOPC", "slots": 1}, passed)
    await tour.call("supervisor", "DELETE", f"/reservations/{made['id']}", None, (Kind.RESERVATION_ENDED,))


async def custody(tour: Tour) -> None:
    key = {"public_key": public_pem(ec.generate_private_key(ec.SECP256R1())), "reference": "PP-2026-2", "kid": "tour"}
    await tour.call("officer", "POST", "/assertion-keys", key, (Kind.ASSERTION_KEY_DECLARED,))
    lost = {"reason": "perte"}
    await tour.call("officer", "POST", "/assertion-keys/tour/revoke", lost, (Kind.ASSERTION_KEY_REVOKED,))
    root = read(tour.gateway.data / "ca" / "ca.pem", tour.gateway.data / "ca" / "ca.key")
    newer = {"pem": revocation_list(root, begins=timedelta(0)).decode()}
    await tour.call("officer", "PUT", "/admin/crl", newer, (Kind.CONFIG_CHANGED,))
    await tour.call("auditor", "POST", "/recovery-codes", None, (Kind.AGENT_ENROLLED,))
    sealed = await tour.call("officer", "POST", "/break-glass", {"role": "ops"}, (Kind.BREAK_GLASS_ISSUED,))
    opening = {"id": sealed["account"], "password": sealed["password"]}
    await tour.call(None, "POST", "/login", opening, (Kind.AUTH_SUCCEEDED, Kind.BREAK_GLASS_USED))
    report = {"text": "Panne de l'annuaire."}
    path = f"/break-glass/{sealed['number']}/report"
    await tour.call("officer", "POST", path, report, (Kind.BREAK_GLASS_REPORTED, Kind.BREAK_GLASS_ENDED))
    disk = {"person": "technicien-4", "reason": "remplacement d'un disque"}
    begun = await tour.call("ops", "POST", "/interventions", disk, (Kind.INTERVENTION_STARTED,))
    await tour.call("ops", "POST", f"/interventions/{begun['number']}/end", None, (Kind.INTERVENTION_ENDED,))


async def safekeeping(tour: Tour) -> None:
    """A hold on footage past the window opens nothing: PP is refused it as before (L26, C03)."""
    camera, now = tour.gateway.cameras[0], SystemClock().now()
    start, end = now - timedelta(days=20), now - timedelta(days=19)
    hold = {"camera": camera, "start": start.isoformat(), "end": end.isoformat(), "reference": "TJ78-2026-1"}
    placed = await tour.call("officer", "POST", "/holds", hold, (Kind.HOLD_PLACED,))
    wish = {"camera": camera, "mode": "recorded", "reason": "L251-2-5", "start": hold["start"], "end": hold["end"]}
    await tour.call("operator", "POST", "/streams", wish, (Kind.STREAM_REFUSED,), status=410)
    period = f"?start={start:%Y-%m-%dT%H:%M:%SZ}&end={end:%Y-%m-%dT%H:%M:%SZ}"
    await tour.call(
        "operator", "GET", f"/cameras/{camera}/recordings{period}", None, (Kind.RECORDING_SEARCHED,), status=410
    )
    await tour.call("officer", "POST", f"/holds/{placed['number']}/extraction", None, (Kind.HOLD_EXTRACTING,))
    sealed = {"medium": "scellé 12", "manifest_sha256": "0" * 64}
    await tour.call("officer", "POST", f"/holds/{placed['number']}/sealed", sealed, (Kind.HOLD_EXTRACTED,))
    lifted = {"reason": "mainlevée"}
    await tour.call("officer", "POST", f"/holds/{placed['number']}/release", lifted, (Kind.HOLD_ENDED,))
    asked = {"sort": "request", "channel": "mail", "service": "DOPC"}
    received = await tour.call("ops", "POST", "/requests", asked, (Kind.REQUEST_RECEIVED,))
    answer = {"outcome": "not-served", "cause": "no-recording", "text": "aucun enregistrement"}
    await tour.call("ops", "POST", f"/requests/{received['number']}/answer", answer, (Kind.REQUEST_ANSWERED,))
    await tour.call("ops", "POST", "/retention/probe", None, (Kind.RETENTION_PROBED,))
    for path in ("/holds", "/requests", "/retention"):
        await tour.call("auditor", "GET", path)


async def the_interconnection(tour: Tour) -> None:
    cut = {"ground": "critical-incident", "reason": "essai"}
    told = await tour.call("ops", "POST", "/interconnection/cut", cut, (Kind.INTERCONNECTION_CUT,))
    restore = {"incident": told["incident"], "reason": "fin de l'essai"}
    await tour.call("ops", "GET", "/interconnection/preflight")
    in_force = tour.gateway.node.in_force
    agreed = in_force.current
    in_force.current = agreed.model_copy(
        update={"contacts": (), "restoration": RestorationSection(four_eyes=True)},
    )
    refused = (Kind.INTERCONNECTION_RESTORATION_REFUSED,)
    await tour.call("ops", "POST", "/interconnection/restore", restore, refused, status=409)
    restore["motive"] = "annexe 2 en cours de signature"
    proposed = (Kind.INTERCONNECTION_RESTORATION_PROPOSED,)
    await tour.call("ops", "POST", "/interconnection/restore", restore, proposed)
    await tour.call("officer", "POST", "/interconnection/restore", restore, (Kind.INTERCONNECTION_RESTORED,))
    in_force.current = agreed
    await tour.call("ops", "POST", "/admin/reload", None, (Kind.CONFIG_CHANGED,))
    tour.gateway.node.control.terms.modes = {"live-only": DegradedMode("live-only", "PP-3", live_only=True)}
    for mode, left in (("live-only", Kind.INTERCONNECTION_DEGRADED), (None, Kind.INTERCONNECTION_RESTORED)):
        body = {"mode": mode, "reason": "essai"}
        await tour.call("ops", "POST", "/interconnection/degrade", body, (left,))


async def incidents(tour: Tour) -> None:
    report = {"reported_by": "salle de commandement", "reason": "plus d'image"}
    told = await tour.call("supervisor", "POST", "/incidents/report", report, (Kind.INCIDENT_OPENED,))
    await tour.call("ops", "POST", "/incidents", {"reason": "essai"}, (Kind.INCIDENT_OPENED,))
    of_it = f"/incidents/{told['id']}"
    tomorrow = (SystemClock().now() + timedelta(days=1)).isoformat()
    for path, body, left in (
        ("revise", {"t0": START, "reason": "journal"}, Kind.INCIDENT_REVISED),
        ("note", {"text": "onduleur"}, Kind.INCIDENT_NOTED),
        ("step", {"text": "en cours", "next_by": tomorrow}, Kind.INCIDENT_STEP_TOLD),
        ("classify", {"critical": True, "reason": "panne générale"}, Kind.INCIDENT_CLASSIFIED),
        ("acknowledge", {"contact": "permanence"}, Kind.INCIDENT_ACKNOWLEDGED),
        ("escalate", {"level": 2, "contact": "astreinte"}, Kind.INCIDENT_ESCALATED),
        ("clock", {"clock": "nis2-24h", "start": START, "hours": 24}, Kind.INCIDENT_CLOCK_STARTED),
        ("clock/stop", {"clock": "nis2-24h", "done": "notifié"}, Kind.INCIDENT_CLOCK_STOPPED),
    ):
        await tour.call("ops", "POST", f"{of_it}/{path}", body, (left,))
    await tour.call("ops", "GET", "/incidents")
    await tour.call("ops", "GET", of_it)
    letters = CorrespondenceBooks(tour.gateway.node.journal.folder.parent / "correspondence", clock=SystemClock())
    letters.update("test-2026-11", "notifier", lambda _: (CorrespondenceOpened(matter=ContactTest(month="2026-11")),))
    await tour.call("ops", "GET", "/correspondence")
    await tour.call("ops", "GET", "/correspondence/test-2026-11")
    over = (Kind.INCIDENT_RECOVERED, Kind.INCIDENT_RESOLVED)
    await tour.call("ops", "POST", f"{of_it}/resolve", {"reason": "fin"}, over)


async def the_conventions_life(tour: Tour) -> None:
    async def ops(method: str, path: str, body: object = None, *leaves: Kind) -> dict[str, Any]:
        return await tour.call("ops", method, path, body, leaves)

    wish = {"party": "SYN", "title": "Pare-feu", "description": "x", "wished_on": "2099-01-10"}
    change = f"/changes/{(await ops('POST', '/changes', wish, Kind.CHANGE_ANNOUNCED))['number']}"
    decided = {"major": False, "project_structure": False, "decided_by": "comité", "reference": "CT-7"}
    agreed = {"party": "PP", "not_before": "2026-01-01", "reference": "PP-3"}
    await ops("POST", f"{change}/classify", decided, Kind.CHANGE_CLASSIFIED)
    await ops("POST", f"{change}/agree", agreed, Kind.CHANGE_AGREED)
    today = day_of(SystemClock().now()).isoformat()
    await ops("POST", f"{change}/schedule", {"day": today}, Kind.CHANGE_SCHEDULED)
    await ops("POST", f"{change}/live", None, Kind.CHANGE_WENT_LIVE)
    other = (await ops("POST", "/changes", wish, Kind.CHANGE_ANNOUNCED))["number"]
    await ops("POST", f"/changes/{other}/withdraw", {"reason": "abandon"}, Kind.CHANGE_WITHDRAWN)
    span = {"start": "2098-01-10T22:00:00Z", "end": "2098-01-10T23:00:00Z", "reason": "essai"}
    window = (await ops("POST", "/windows", span, Kind.CHANGE_ANNOUNCED))["number"]
    await ops("POST", f"/windows/{window}/withdraw", {"reason": "reportée"}, Kind.CHANGE_WITHDRAWN)
    sites = {"party": "PP", "summary": "un site", "sites": [{"id": "PP-CITE", "label": "Cité"}]}
    await ops("POST", "/annexes/6", sites, Kind.ANNEX_INFORMED)
    await ops("POST", "/annexes/6/1/oppose", {"party": "SYN", "reason": "site inconnu"}, Kind.ANNEX_OPPOSED)
    text = {"media_type": "text/plain", "content": base64.b64encode(b"Charte").decode()}
    charter = {"party": "PP", "summary": "version", "reference": "avenant n° 1", "document": text}
    await ops("POST", "/annexes/7", charter, Kind.ANNEX_INFORMED)
    await until(lambda: tour.gateway.node.control.view.life().on_record.charter == 1)
    await tour.call("operator", "POST", "/charter/acknowledge", {"version": 1}, (Kind.ANNEX_ACKNOWLEDGED,))
    for path in ("/changes", "/windows", "/annexes", "/annexes/diagram", "/annexes/6/1/document", "/charter"):
        await ops("GET", path)
    for path in ("/convention", "/acceptance", "/acceptance/plan", "/acceptance/1"):
        await ops("GET", path)
    for kind, about in ACTS:
        act = {"kind": kind, "party": "PP", "reference": "LRAR 1A", "day": "2026-11-20", **about}
        found = await tour.call("officer", "POST", "/convention/acts", act, (Kind(f"convention.{kind}"),))
        assert found["acts"][0]["kind"] == kind
    await tour.call("officer", "POST", "/acceptance", acceptance_run(), (Kind.ACCEPTANCE_RECORDED,))


async def the_trace(tour: Tour) -> None:
    node = tour.gateway.node.journal.node
    for path in ("", "/checkpoints", f"/{node}/1/proof", f"/{node}/consistency?from=1&to=2"):
        await tour.call("auditor", "GET", f"/trace{path}", None, (Kind.TRACE_READ,))
    await tour.call("auditor", "GET", "/trace/statement", None, (Kind.TRACE_READ,))
    await tour.call("auditor", "GET", "/trace/export", None, (Kind.TRACE_EXPORTED,))
    cosigner = CosigningKey("pp.example/half-gateway", Ed25519PrivateKey.generate())
    in_force = tour.gateway.node.in_force
    in_force.current = in_force.current.model_copy(update={"trace": TraceSection(cosigners=(cosigner.vkey,))})
    head = await tour.gateway.node.outside.anchoring.head()
    note = {"note": head.note + str(cosigner.sign(head.checkpoint.text(), 1_790_000_000))}
    await tour.call("machine", "POST", "/trace/cosign", note, (Kind.TRACE_ANCHORED,))
    async with Office(None, tour.gateway.data) as office:
        for path, body, left in (
            ("/trace/disclosures", {"kind": "trace.read", "detail": {}}, Kind.TRACE_READ),
            ("/trace/disclosures", {"kind": "trace.exported", "detail": {}}, Kind.TRACE_EXPORTED),
            ("/trace/keys", {"reason": "terme"}, Kind.TRACE_KEY_ROTATED),
        ):
            await tour._forget_the_past()
            await office.call("POST", path, body)
            await tour.told("POST", API + path, (left,))
    purge = {"class": "technical", "older_than_days": 400, "visa": "AD78-1"}
    await tour.call("officer", "POST", "/trace/purges", purge, (Kind.TRACE_PURGED,))


async def goodbyes(tour: Tour) -> None:
    account = tour.gateway.ready["accounts"]["auditor"]
    drawn = await tour.call("auditor", "POST", "/recovery-codes", None, (Kind.AGENT_ENROLLED,))
    again = {"id": account["id"], "password": account["password"], "totp": drawn["codes"][0]}
    other = await tour.call(None, "POST", "/login", again, (Kind.AUTH_SUCCEEDED,))
    sessions = await tour.call("auditor", "GET", "/sessions")
    (mine,) = [each["id"] for each in sessions["items"] if each["current"]]
    await tour.call(None, "DELETE", f"/sessions/{mine}", None, (Kind.SESSION_CLOSED,), token=other["token"])
    await tour.call(None, "POST", "/logout", None, (Kind.SESSION_CLOSED,), token=other["token"])
    guess = {"id": "nobody", "password": "guess", "totp": pyotp.TOTP(pyotp.random_base32()).now()}
    for _ in range(FAILURES_PER_MINUTE_OF_STRANGERS):
        await tour.call(None, "POST", "/login", guess, (Kind.AUTH_FAILED,), status=401)
    await tour.call(None, "POST", "/login", guess, (Kind.AUTH_LOCKED,), status=429)


async def the_first_officer(tour: Tour, folder: Path) -> None:
    """The one operation that a node in use refuses: through the socket of a folder where there is no officer yet."""
    folder.mkdir()
    async with Office(None, folder) as office:
        await office.call("POST", "/agents/bootstrap", {"id": "syn-first", **BY})
    page = await TraceReader.of(folder / "trace", "demo").entries(limit=50)
    left = [entry.kind for entry in page.items[::-1] if entry.account is not None]
    assert left == [Kind.AGENT_ADDED, Kind.HABILITATION_GRANTED, Kind.AGENT_ENROLLED]
    tour.shown["POST", f"{API}/agents/bootstrap"] = set(left)
