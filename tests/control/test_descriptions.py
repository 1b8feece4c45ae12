"""Descriptions are remembered, and asked for once however many want one (S13)."""

from __future__ import annotations

import asyncio

import pytest

from halfgateway.control.descriptions import Descriptions
from halfgateway.errors import CameraUnreachable
from halfgateway.protocol.sdp import SessionDescription, parse
from halfgateway.relay.source import SourceKey
from tests.control.doors import SDP

KEY, OTHER = SourceKey("cam-1", "main"), SourceKey("cam-1", "sub")


class Camera:
    """A camera that answers when it is told to, and counts who asks."""

    def __init__(self) -> None:
        self.asked: list[SourceKey] = []
        self.answers = asyncio.Event()
        self.failure: CameraUnreachable | None = None

    async def describe(self, key: SourceKey) -> SessionDescription:
        self.asked.append(key)
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return parse(SDP)


@pytest.fixture
def camera() -> Camera:
    return Camera()


async def test_many_who_ask_at_once_cause_one_question(camera: Camera) -> None:
    # S13
    descriptions = Descriptions(camera.describe)
    asking = [asyncio.create_task(descriptions.of(key)) for key in (KEY, KEY, KEY, OTHER)]
    await asyncio.sleep(0)
    asking[0].cancel()
    camera.answers.set()
    first, *others = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert others == [parse(SDP)] * 3
    assert await descriptions.of(KEY) == parse(SDP)
    assert camera.asked == [KEY, OTHER]


async def test_a_failure_is_everybodys_and_is_not_remembered(camera: Camera) -> None:
    # S13
    descriptions, camera.failure = Descriptions(camera.describe), CameraUnreachable()
    camera.answers.set()
    outcomes = await asyncio.gather(descriptions.of(KEY), descriptions.of(KEY), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [CameraUnreachable] * 2
    camera.failure = None
    assert await descriptions.of(KEY) == parse(SDP)
    assert camera.asked == [KEY, KEY]


async def test_a_failure_that_nobody_waits_for_any_more_is_no_fault(camera: Camera) -> None:
    # S13: its requester has hung up meanwhile
    descriptions, camera.failure = Descriptions(camera.describe), CameraUnreachable()
    asking = asyncio.create_task(descriptions.of(KEY))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    camera.answers.set()
    await asyncio.sleep(0)
    camera.failure = None
    assert await descriptions.of(KEY) == parse(SDP)


async def test_what_a_pull_has_learnt_needs_no_question(camera: Camera) -> None:
    # S13
    descriptions = Descriptions(camera.describe)
    descriptions.remember(KEY, parse(SDP))
    assert await descriptions.of(KEY) == parse(SDP)
    assert camera.asked == []


async def test_a_question_answered_meanwhile_does_not_replace_what_is_newer(camera: Camera) -> None:
    descriptions = Descriptions(camera.describe)
    asking = asyncio.create_task(descriptions.of(KEY))
    await asyncio.sleep(0)
    descriptions.remember(KEY, parse(SDP))
    assert await descriptions.of(KEY) == parse(SDP)
    camera.answers.set()
    assert await asking == parse(SDP)


async def test_a_camera_that_is_forgotten_is_asked_again_also_by_who_comes_meanwhile(camera: Camera) -> None:
    # L07: what it said may be of a profile that is shown no more
    descriptions = Descriptions(camera.describe)
    descriptions.remember(OTHER, parse(SDP))
    before = asyncio.create_task(descriptions.of(KEY))
    await asyncio.sleep(0)
    descriptions.forget("cam-1")
    after = [asyncio.create_task(descriptions.of(key)) for key in (KEY, OTHER)]
    await asyncio.sleep(0)
    camera.answers.set()
    await asyncio.gather(before, *after)
    assert camera.asked == [KEY, KEY, OTHER]
    await descriptions.of(KEY)
    assert len(camera.asked) == 3
