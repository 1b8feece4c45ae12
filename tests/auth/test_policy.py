"""Every condition of an access, broken alone and two at a time: the table says which reason is given (C09, L06)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_network
from itertools import combinations
from typing import Any

import pytest

from auth.policy import CONDITIONS, Convention, Decision, DegradedMode, decide, may_know_of, standing
from auth.policy.french import too_old
from auth.principals import Attribution, Principal, Role
from auth.rights import Action, Block, BlockKind, ConventionOnRecord, Designation, Habilitation, Rights
from camera_registry.cameras import Camera
from camera_registry.orders import Order, Perimeter
from camera_registry.paris import PARIS
from halfgateway.control.admission import POLICY_REFUSALS
from tests.auth.policy_page import PAGE, page
from tests.rights import LONG_AGO, SERVICE, SITE, designation, habilitation, order

NOW = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)
AGENT, CAMERA = "pp-7f3a", "cam-1"
DAY = timedelta(days=1)
OPERATOR = Principal(
    account=AGENT,
    role=Role.OPERATOR,
    agent=AGENT,
    service=SERVICE,
    site=SITE,
    attribution=Attribution.AGENT_AUTHENTICATED,
    factors=(),
    scope=None,
)
RECORDED = Camera(id=CAMERA, name="Mairie", site="Hôtel", commune="Versailles", latitude=0, longitude=0, recorded=True)
CONVENTION = Convention("c", LONG_AGO)


@dataclass
class Question:
    """An access that is allowed, until a test breaks something of it."""

    requester: Principal = OPERATOR
    camera: Camera | None = RECORDED
    action: Action = Action.RECORDED
    convention: Convention = CONVENTION
    designated: Designation | None = field(default_factory=lambda: designation(AGENT))
    held: Habilitation | None = field(default_factory=lambda: habilitation(AGENT))
    order: Order | None = field(default_factory=lambda: order([CAMERA]))
    blocks: list[Block] = field(default_factory=list)
    sites: frozenset[str] = frozenset({SITE})
    ended: frozenset[str] = frozenset()
    revoked_keys: frozenset[str] = frozenset()
    fallen: frozenset[str] = frozenset()
    on_record: ConventionOnRecord = field(default_factory=lambda: ConventionOnRecord(accepted=True))
    source: str = "203.0.113.9"
    start: datetime | None = NOW - DAY
    mode: DegradedMode | None = None

    def ask(self, **changes: Any) -> None:
        self.requester = replace(self.requester, **changes)

    def designate(self, **changes: Any) -> None:
        self.designated = replace(self.designated, **changes) if self.designated is not None else None

    def habilitate(self, **changes: Any) -> None:
        self.held = replace(self.held, **changes) if self.held is not None else None

    def reorder(self, **changes: Any) -> None:
        self.order = replace(self.order, **changes) if self.order is not None else None

    def degrade(self, **changes: Any) -> None:
        self.mode = replace(self.mode or DegradedMode("less", "PP-1"), **changes)

    def put_on_record(self, **changes: Any) -> None:
        self.on_record = replace(self.on_record, **changes)

    def block(self, kind: BlockKind, subject: str) -> None:
        self.blocks.append(
            Block(id="b", kind=kind, subject=subject, ground="security", reason="r", set_at=LONG_AGO, set_by="o")
        )

    @property
    def rights(self) -> Rights:
        return Rights(
            designations={AGENT: self.designated} if self.designated is not None else {},
            habilitations=(self.held,) if self.held is not None else (),
            orders=(self.order,) if self.order is not None else (),
            blocks=tuple(self.blocks),
            sites=self.sites,
            ended_accounts=self.ended,
            revoked_assertion_keys=self.revoked_keys,
            fallen_certificates=self.fallen,
            on_record=self.on_record,
        )

    def decided(self, now: datetime = NOW) -> Decision:
        return decide(
            self.requester,
            self.camera,
            self.action,
            now,
            self.convention,
            self.rights,
            source=self.source,
            start=self.start,
            number="r-1",
            mode=self.mode,
        )


def set_to(**values: Any) -> Callable[[Question], None]:
    def change(question: Question) -> None:
        for name, value in values.items():
            setattr(question, name, value)

    return change


def by_itself(question: Question) -> None:
    question.ask(attribution=Attribution.MACHINE_ONLY)


def certificate_fell(question: Question) -> None:
    question.ask(certificate="c0ffee")
    question.fallen = frozenset({"c0ffee"})


def key_revoked(question: Question) -> None:
    question.ask(assertion_key="key-1")
    question.revoked_keys = frozenset({"key-1"})


def not_recorded(question: Question) -> None:
    question.camera = replace(question.camera, recorded=False) if question.camera is not None else None


BROKEN: dict[str, Callable[[Question], None]] = {
    "convention-not-in-force": set_to(convention=Convention("c", LONG_AGO, ended_at=NOW)),
    "not-accepted": lambda question: question.put_on_record(accepted=False),
    "pvpp-order-over": lambda question: question.put_on_record(pvpp_until=NOW),
    "role-does-not-watch": lambda question: question.ask(role=Role.SUPERVISOR),
    "account-ended": set_to(ended=frozenset({AGENT})),
    "certificate-fallen": certificate_fell,
    "assertion-key-revoked": key_revoked,
    "machine-without-agreement": by_itself,
    "agent-not-designated": set_to(designated=None),
    "designation-ended": lambda question: question.designate(ended_at=NOW),
    "agent-blocked": lambda question: question.block(BlockKind.AGENT, AGENT),
    "another-service": lambda question: question.designate(service="PJ"),
    "service-blocked": lambda question: question.block(BlockKind.SERVICE, SERVICE),
    "site-not-declared": set_to(sites=frozenset()),
    "site-blocked": lambda question: question.block(BlockKind.SITE, SITE),
    "not-habilitated": set_to(held=None),
    "action-not-granted": lambda question: question.habilitate(actions=frozenset({Action.EXPORT})),
    "source-not-allowed": lambda question: question.habilitate(sources=(ip_network("198.51.100.0/24"),)),
    "charter-not-acknowledged": lambda question: question.put_on_record(charter=2),
    "unknown-camera": set_to(camera=None),
    "outside-territory": lambda question: question.habilitate(territory=Perimeter(communes=frozenset({"Trappes"}))),
    "camera-blocked": lambda question: question.block(BlockKind.CAMERA, CAMERA),
    "mode-without-camera": lambda question: question.degrade(perimeter=Perimeter(sites=frozenset({"Gare"}))),
    "mode-live-only": lambda question: question.degrade(live_only=True),
    "no-order": set_to(order=None),
    "order-not-in-annex": lambda question: question.put_on_record(orders=frozenset({"78-2025-99"})),
    "recipient-not-authorised": lambda question: question.reorder(recipients=frozenset({"Gendarmerie"})),
    "order-withdrawn": lambda question: question.reorder(withdrawn_at=NOW),
    "order-not-begun": lambda question: question.reorder(signed_on=date(2026, 11, 22)),
    "order-expired": lambda question: question.reorder(last_day=date(2026, 11, 20)),
    "order-suspended": lambda question: question.reorder(suspended_since=NOW - DAY),
    "mode-not-authorised": lambda question: question.reorder(recorded=False),
    "period-to-come": set_to(start=NOW + DAY),
    "outside-retention": set_to(start=NOW - 11 * DAY),
    "no-recording": not_recorded,
}
"""How to break each condition, and no other."""

ORDER = [condition.reason for condition in CONDITIONS]

NOT_TOGETHER = {
    frozenset({"order-not-begun", "order-expired"}),  # an order ends after it begins
    frozenset({"period-to-come", "outside-retention"}),  # a period begins once
    frozenset({"role-does-not-watch", "machine-without-agreement"}),
}
"""Pairs that no case can have both of."""


def test_what_is_not_broken_is_allowed() -> None:
    assert Question().decided().allowed
    live = Question(action=Action.LIVE, start=None)
    assert live.decided().allowed


def test_each_condition_has_a_way_to_break_it() -> None:
    assert list(BROKEN) == ORDER


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.reason)
def test_each_condition_alone_gives_its_reason(condition: Any) -> None:
    # C09 L01 L06 C20: deny by default, each for its own reason
    question = Question()
    BROKEN[condition.reason](question)
    decided = question.decided()
    assert (decided.refusal, decided.reason) == (condition.refusal, condition.reason)
    assert decided.detail
    assert decided.refusal in POLICY_REFUSALS


@pytest.mark.parametrize(
    ("first", "second"), [pair for pair in combinations(ORDER, 2) if frozenset(pair) not in NOT_TOGETHER]
)
def test_of_two_that_fail_the_earlier_is_told(first: str, second: str) -> None:
    # a stranger learns no more than needed
    question = Question()
    BROKEN[first](question)
    BROKEN[second](question)
    assert question.decided().reason == first


def test_a_stranger_learns_of_no_camera_and_no_order() -> None:
    strangers = Question(designated=None, held=None)
    for change in (set_to(camera=None), set_to(order=None), BROKEN["order-suspended"], BROKEN["camera-blocked"]):
        asked = replace(strangers, blocks=[])
        change(asked)
        assert asked.decided().reason == "agent-not-designated"


def test_an_order_is_valid_to_the_end_of_its_last_day_in_paris() -> None:
    # L06: also on the two days on which the clock is changed
    for last_day in (date(2026, 3, 29), date(2026, 10, 25), date(2026, 7, 14), date(2026, 12, 31)):
        question = Question(action=Action.LIVE, start=None, order=order([CAMERA], last_day=last_day))
        midnight = datetime.combine(last_day + DAY, datetime.min.time(), PARIS).astimezone(UTC)
        assert question.decided(midnight - timedelta(microseconds=1)).allowed
        assert question.decided(midnight).reason == "order-expired"


@pytest.mark.parametrize(
    ("now", "oldest"),
    [
        ("2026-11-21T10:15+01:00", "2026-11-11T10:15+01:00"),
        ("2026-10-30T10:15+01:00", "2026-10-20T10:15+02:00"),  # 25 October is between
        ("2026-04-02T10:15+02:00", "2026-03-23T10:15+01:00"),  # 29 March is
    ],
)
def test_ten_days_are_the_same_wall_clock_time_ten_days_before(now: str, oldest: str) -> None:
    # C03
    at, start = datetime.fromisoformat(now), datetime.fromisoformat(oldest)
    assert Question(start=start).decided(at).allowed
    refused = Question(start=start - timedelta(seconds=1)).decided(at)
    assert refused.reason == "outside-retention"
    assert f"{start.astimezone(PARIS):%H h %M}" in refused.detail


def test_an_orders_shorter_retention_shortens_the_window() -> None:
    # C03: min(10 days, the order's maximum)
    question = Question(order=order([CAMERA], retention_min_days=1, retention_max_days=5), start=NOW - 6 * DAY)
    assert question.decided().reason == "outside-retention"
    question.start = NOW - 4 * DAY
    assert question.decided().allowed


def test_one_order_that_allows_suffices_and_else_the_closest_tells_why() -> None:
    # L06
    question = Question(action=Action.LIVE, start=None)
    expired = order([CAMERA], reference="a", last_day=date(2026, 11, 20))
    suspended = order([CAMERA], reference="b", suspended_since=NOW - DAY)
    others = order([CAMERA], reference="c", recipients=frozenset({"Gendarmerie"}))
    for orders, reason in (
        ((expired, suspended), "order-suspended"),
        ((suspended, others), "order-suspended"),
        ((others,), "recipient-not-authorised"),
        ((expired, others, order([CAMERA])), None),
    ):
        rights = replace(question.rights, orders=orders)
        decided = decide(question.requester, question.camera, Action.LIVE, NOW, question.convention, rights)
        assert decided.reason == reason


def test_an_order_may_name_a_site_or_a_commune() -> None:
    # L06
    for perimeter in (Perimeter(sites=frozenset({"Hôtel"})), Perimeter(communes=frozenset({"Versailles"}))):
        assert Question(order=order(perimeter=perimeter)).decided().allowed


def test_an_asserted_agent_watches_as_an_operator_whatever_machine_speaks() -> None:
    # C08
    question = Question()
    question.ask(account="pvpp-vms", role=Role.MACHINE, attribution=Attribution.AGENT_ASSERTED)
    assert question.decided().allowed
    question.ask(attribution=Attribution.MACHINE_ONLY)
    question.convention = replace(question.convention, machine_only_agreement="accord")
    assert question.decided().reason == "not-habilitated"


def test_the_charter_is_read_at_our_own_door_before_a_stream_and_not_during_one() -> None:
    # L25: for an agent whom PP asserts, PP answers
    question = Question()
    BROKEN["charter-not-acknowledged"](question)
    at_our_door = question.requester
    assert "annexe 7" in question.decided().detail
    question.put_on_record(charter_read_by=frozenset({AGENT}))
    assert question.decided().allowed
    question.put_on_record(charter_read_by=frozenset())
    question.ask(account="pvpp-vms", role=Role.MACHINE, attribution=Attribution.AGENT_ASSERTED)
    assert question.decided().allowed
    running = decide(
        at_our_door, RECORDED, Action.LIVE, NOW, CONVENTION, question.rights, source=question.source, running=True
    )
    assert running.allowed


def test_the_convention_ends_when_that_is_on_record_or_after_ten_years() -> None:
    # C18: five years pass in silence; ten do not
    question = Question(order=order([CAMERA], last_day=date(2099, 1, 1)), start=None, action=Action.LIVE)
    question.put_on_record(ended_at=NOW + DAY)
    assert question.decided().allowed
    assert question.decided(NOW + DAY).reason == "convention-not-in-force"
    question.put_on_record(ended_at=None)
    begun = Convention("c", datetime(2025, 10, 21, 9, tzinfo=UTC))
    question.convention = begun
    assert begun.first_term == datetime(2030, 10, 20, 22, tzinfo=UTC)
    assert question.decided(begun.first_term + DAY).allowed
    assert question.decided(begun.last_term - timedelta(microseconds=1)).allowed
    assert question.decided(begun.last_term).reason == "convention-not-in-force"


def test_refusals_say_what_syn_wrote() -> None:
    question = Question()
    BROKEN["order-expired"](question)
    assert question.decided().detail == (
        "Caméra non mise à disposition. L'arrêté préfectoral d'autorisation n° 78-2025-01 du 21 octobre 2025 couvrant "
        "la caméra Mairie a expiré le 20 novembre 2026 ; ses images ne peuvent être transmises (articles L. 252-1 et "
        "L. 252-4 du code de la sécurité intérieure ; article 1 et annexe 8 de la convention). Votre demande est "
        "tenue à la disposition du point de contact de Seine-et-Yvelines Numérique. Demande enregistrée sous le n° r-1."
    )


def test_a_period_of_the_night_in_october_says_which_of_its_two_hours_it_is() -> None:
    summer = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    told = too_old(summer, summer + timedelta(hours=1), "r-1")
    assert "débute le 25 octobre 2026 à 02 h 30 (heure d'été) ;" in told
    assert "à compter du 25 octobre 2026 à 02 h 30 (heure d'hiver)." in told


def test_standing_asks_of_the_person_and_of_no_camera() -> None:
    # C09: whoever comes in, in whatever role
    officer = Question(held=habilitation(AGENT, Role.OFFICER))
    officer.ask(role=Role.OFFICER, attribution=None, site=None)
    assert standing(officer.requester, NOW, officer.convention, officer.rights, source="203.0.113.9").allowed
    for condition in CONDITIONS:
        broken = replace(officer, blocks=[])
        BROKEN[condition.reason](broken)
        broken.requester = replace(broken.requester, role=Role.OFFICER)
        decided = standing(broken.requester, NOW, broken.convention, broken.rights, source="203.0.113.9")
        assert decided.allowed != condition.standing, condition.reason


def test_a_camera_is_listed_to_pp_only_where_an_order_exposes_it() -> None:
    # L06
    usual = Question()
    supervisor = replace(usual.requester, role=Role.SUPERVISOR)
    machine = replace(usual.requester, role=Role.MACHINE, agent=None, site=None, attribution=Attribution.MACHINE_ONLY)
    usual.held = habilitation(AGENT, Role.SUPERVISOR)
    assert usual.camera is not None
    for viewer in (supervisor, machine):
        assert may_know_of(viewer, usual.camera, NOW, usual.convention, usual.rights)
        hidden = replace(usual.rights, orders=())
        assert not may_know_of(viewer, usual.camera, NOW, usual.convention, hidden)
    for role in (Role.OPS, Role.OFFICER, Role.AUDITOR):
        assert may_know_of(replace(supervisor, role=role), usual.camera, NOW, usual.convention, Rights())


def test_the_page_is_that_of_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
