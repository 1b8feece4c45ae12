"""An agent's assertion: what counts, and why everything else does not (C08)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.assertion_keys import (
    MAX_KEYS_IN_FORCE,
    NONCE_KEPT_PAST_EXPIRY,
    AssertionKey,
    AssertionKeys,
    UsedAssertions,
    default_kid,
)
from auth.assertions import Assertion, AssertionRules, read_header, read_public_key, verify
from auth.errors import AssertionFault, AssertionRefused, KeyConflictError, UnknownKeyError
from auth.register_rows import read_rights
from halfgateway.database import Database
from tests.asserting import Signer, SigningKey, public_pem
from tests.bad_assertions import BAD_ASSERTIONS
from tests.held_clock import HeldClock

RULES = AssertionRules(issuer="pvpp", audience="dpp-syn-demo")
PP = Signer(ec.generate_private_key(ec.SECP256R1()), RULES.issuer, RULES.audience)


def verified(compact: str, now: datetime | None = None, signer: Signer = PP) -> Assertion:
    unverified = read_header(compact)
    if unverified.kid != signer.kid:
        raise AssertionRefused(AssertionFault.UNKNOWN_KEY)
    return verify(unverified, public_pem(signer.key), RULES, now or datetime.now(UTC))


@pytest.mark.parametrize("key", [PP.key, ed25519.Ed25519PrivateKey.generate()], ids=["ES256", "EdDSA"])
def test_what_an_assertion_says(key: SigningKey) -> None:  # C08
    signer = Signer(key, RULES.issuer, RULES.audience)
    compact = signer.assertion(amr=["sc", "pwd", "mfa"])
    said = verified(compact, signer=signer)
    assert (said.agent, said.service, said.site, said.reference) == ("pp-agent-17", "DOPC", "PP-CITE", "PP-2026-17")
    assert said.methods == ("sc", "pwd", "mfa")
    assert said.purpose.value == "L251-2-5"
    assert said.compact == compact


@pytest.mark.parametrize("case", BAD_ASSERTIONS)
def test_a_bad_assertion_is_refused_with_its_own_reason(case: str) -> None:  # C08
    make, reason = BAD_ASSERTIONS[case]
    with pytest.raises(AssertionRefused) as refused:
        verified(make(PP))
    assert refused.value.fault.value == reason


@pytest.mark.parametrize(
    ("ahead", "fault"),
    [
        (timedelta(0), None),
        (timedelta(seconds=-29), None),
        (timedelta(seconds=-31), AssertionFault.NOT_YET_VALID),
        (timedelta(seconds=59), None),
        (timedelta(seconds=60), AssertionFault.EXPIRED),
    ],
)
def test_the_bounds_of_its_life(ahead: timedelta, fault: AssertionFault | None) -> None:
    at = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)
    compact = PP.assertion(at)
    if fault is None:
        assert verified(compact, at + ahead).issued_at == at
        return
    with pytest.raises(AssertionRefused) as refused:
        verified(compact, at + ahead)
    assert refused.value.fault is fault


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.text(max_size=200), st.from_regex(r"[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}"))
)
def test_any_text_is_refused_by_a_declared_error(text: str) -> None:
    with pytest.raises(AssertionRefused):
        verified(text)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_an_assertion_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    compact = PP.assertion()
    at = data.draw(st.integers(0, len(compact) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_.=").filter(lambda character: character != compact[at]))
    with pytest.raises(AssertionRefused):
        verified(compact[:at] + other + compact[at + 1 :])


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)], ids=["P-384", "RSA"]
)
def test_other_kinds_of_keys_are_not_declared(key: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(ValueError, match="P-256"):
        read_public_key(public_pem(key))


def declared(clock: HeldClock, kid: str = "pp-1", **changes: object) -> AssertionKey:
    now = clock.now()
    key = {
        "kid": kid,
        "public_key_pem": public_pem(PP.key),
        "reference": "PP-2026-1",
        "declared_by": "officer",
        "declared_at": now,
        "valid_from": now,
        "valid_until": now + timedelta(days=30),
    }
    return AssertionKey(**{**key, **changes})  # type: ignore[arg-type]


class Witness:
    """Counts the entries that were made; or cannot."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.entries = 0
        self._failure = failure

    async def __call__(self) -> None:
        if self._failure is not None:
            raise self._failure
        self.entries += 1


@pytest.fixture
async def keys(database: Database, clock: HeldClock) -> AssertionKeys:
    return AssertionKeys(database.sessions, clock)


async def test_several_keys_are_in_force_and_one_is_revoked(
    keys: AssertionKeys, database: Database, clock: HeldClock
) -> None:
    witness = Witness()
    for kid in ("pp-1", "pp-2"):
        await keys.declare(declared(clock, kid), witness)
    await keys.revoke("pp-1", by="officer", reason="perte", traced=witness)
    assert witness.entries == 3
    async with database.sessions() as session:  # S12: by its count of changes, what runs is held against this
        rights = await read_rights(session, clock.now(), frozenset())
    assert (rights.revoked_assertion_keys, rights.revision) == ({"pp-1"}, 1)
    found = await keys.find("pp-1")
    assert found is not None
    with pytest.raises(AssertionRefused, match="key-revoked"):
        found.require_in_force(clock.now())
    with pytest.raises(UnknownKeyError):
        await keys.revoke("pp-1", by="officer", reason="encore", traced=witness)
    with pytest.raises(KeyConflictError):
        await keys.declare(declared(clock, "pp-1"), witness)


async def test_a_key_signs_within_its_term_only(keys: AssertionKeys, clock: HeldClock) -> None:
    await keys.declare(declared(clock, valid_from=clock.now() + timedelta(days=1)), Witness())
    key = await keys.find("pp-1")
    assert key is not None
    for days, fault in ((0, "key-not-in-force"), (1, None), (29, None), (30, "key-not-in-force")):
        at = clock.now() + timedelta(days=days)
        if fault is None:
            key.require_in_force(at)
        else:
            with pytest.raises(AssertionRefused, match=fault):
                key.require_in_force(at)


async def test_a_change_that_cannot_be_traced_is_not_made(keys: AssertionKeys, clock: HeldClock) -> None:  # T01
    with pytest.raises(RuntimeError):
        await keys.declare(declared(clock), Witness(RuntimeError("disk full")))
    assert await keys.list_all() == []


async def test_the_keys_in_force_are_bounded(keys: AssertionKeys, clock: HeldClock) -> None:
    for number in range(MAX_KEYS_IN_FORCE):
        await keys.declare(declared(clock, f"pp-{number}"), Witness())
    with pytest.raises(KeyConflictError):
        await keys.declare(declared(clock, "pp-more"), Witness())
    clock.advance(timedelta(days=31))
    await keys.declare(declared(clock, "pp-more"), Witness())


async def test_of_two_uses_at_once_on_two_nodes_one_wins(database_url: str, clock: HeldClock) -> None:  # C08
    one, other = Database(database_url), Database(database_url)
    await one.migrate()
    assertion = verified(PP.assertion())
    outcomes = await asyncio.gather(
        *(UsedAssertions(node.sessions, clock).use(assertion) for node in (one, other) * 4), return_exceptions=True
    )
    refused = [outcome.fault.value for outcome in outcomes if isinstance(outcome, AssertionRefused)]
    assert outcomes.count(None) == 1, outcomes
    assert refused == ["replayed"] * 7
    await one.close()
    await other.close()


async def test_a_nonce_is_forgotten_once_it_has_expired_everywhere(database: Database, clock: HeldClock) -> None:
    used = UsedAssertions(database.sessions, clock)
    assertion = verified(PP.assertion(clock.now()), clock.now())
    await used.use(assertion)
    clock.advance(assertion.expires_at - clock.now() + NONCE_KEPT_PAST_EXPIRY)
    with pytest.raises(AssertionRefused):
        await used.use(assertion)
    clock.advance(timedelta(seconds=1))
    await used.use(assertion)


def test_a_keys_default_name_can_be_computed_by_openssl(tmp_path: Path) -> None:
    # docs/integration-pp.md: openssl pkey -pubin -outform DER | sha256sum
    assert default_kid(public_pem(PP.key)) == PP.kid
    assert len(PP.kid) == 16
