"""What one node asks of another: done, refused as there, or not answered, and never the end of the listening."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from halfgateway.control.errands import Errands
from halfgateway.errors import NotHabilitated, StateStoreUnavailable
from tests.control.valkeys import Nodes


async def echo(about: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if about["wants"] == "refusal":
        raise NotHabilitated("Non.", reason="because")
    return None if about["wants"] == "nothing" else {"got": about["wants"]}


@pytest.fixture
async def asks(nodes: Nodes) -> AsyncIterator[Errands]:
    """Node b, beside a node a that listens."""
    a, b = Errands(nodes.store(), node="a"), Errands(nodes.store(), node="b")
    a.serve("echo", echo)
    b.serve("echo", echo)
    listening = asyncio.create_task(a.follow())
    yield b
    assert not listening.done()
    listening.cancel()
    await asyncio.wait([listening])


async def test_an_errand_is_done_or_refused_as_where_it_is_done(asks: Errands) -> None:
    for node in ("a", "b"):
        assert await asks.ask(node, "echo", {"wants": "é"}) == {"got": "é"}
        assert await asks.ask(node, "echo", {"wants": "nothing"}, limit_s=0.05) is None
        with pytest.raises(NotHabilitated) as refused:
            await asks.ask(node, "echo", {"wants": "refusal"})
        assert (refused.value.detail, refused.value.reason) == ("Non.", "because")


async def test_what_another_version_sends_is_logged_and_the_next_is_done(
    asks: Errands, caplog: pytest.LogCaptureFixture
) -> None:
    store, to_a = asks._store, asks._errands_for("a")
    for unreadable in ("no JSON", "[]", "{}", '{"verb": "dance", "about": {}, "answer_to": "x"}'):
        await store.client.rpush(to_a, unreadable)
    assert await asks.ask("a", "echo", {}, limit_s=0.05) is None
    assert await asks.ask("a", "echo", {"wants": "this"}) == {"got": "this"}
    for told in ("errand.unreadable", "errand.unknown verb=dance", "errand.malformed verb=echo"):
        assert told in caplog.text


async def test_a_refusal_that_is_not_known_here_is_no_grant(asks: Errands) -> None:
    async def refuse(about: Mapping[str, Any]) -> Mapping[str, Any]:
        refusal = NotHabilitated("Non.")
        refusal.code = "of-another-version"  # type: ignore[misc] # as if its class said so
        raise refusal

    other = Errands(asks._store, node="c")
    other.serve("refuse", refuse)
    listening = asyncio.create_task(other.follow())
    with pytest.raises(StateStoreUnavailable, match="Non"):
        await asks.ask("c", "refuse", {})
    listening.cancel()
    await asyncio.wait([listening])
