"""What devices are known to do over ONVIF, replayed from ``tests/corpus``; see ``camera_registry/quirks.py``."""

from __future__ import annotations

import pytest
from registry.replayed_device import replayed

from camera_registry.errors import AuthRejected, Locked, NotSupported

YEAR_S = 365 * 86_400


async def test_a_device_that_knows_only_digest_is_answered_by_it() -> None:  # quirk onvif-digest-only
    async with replayed("onvif-digest-only.soap") as (device, client):
        await client.clock()
        assert (await client.device_information()).model == "V"
        assert device.asked[-1].authorization.startswith("Digest ")
        assert not device.asked[-1].username_token


async def test_a_clock_that_is_not_told_is_read_from_the_answer() -> None:  # quirks onvif-clock, onvif-odd-soap
    async with replayed("onvif-clock-untold.soap") as (_, client):
        reading = await client.clock()
        assert reading.source == "http-date"
        assert reading.offset_s < -20 * YEAR_S


async def test_a_device_is_asked_where_it_was_found() -> None:  # quirk onvif-address-elsewhere
    async with replayed("onvif-address-elsewhere.soap") as (device, client):
        (profile,) = await client.profiles()
        assert profile.token == "0_ProfileToken0 & more"
        assert await client.stream_url(profile) == "rtsp://127.0.0.1:554/cam/realmonitor?channel=1&subtype=0"
        assert device.asked[-1].path == "/onvif/media_service"


async def test_what_a_device_answers_oddly_is_read_as_far_as_it_goes() -> None:  # quirk onvif-odd-soap
    async with replayed("onvif-odd-soap.soap") as (device, client):
        assert await client.profiles() == ()
        with pytest.raises(NotSupported):
            await client.device_information()
        assert device.operations == ["GetServices", "GetCapabilities", "GetProfiles", "GetDeviceInformation"]


async def test_a_password_that_is_refused_is_not_sent_again() -> None:  # quirk lock-out
    async with replayed("onvif-lock-out.soap") as (device, client):
        with pytest.raises(AuthRejected):
            await client.device_information()
        for _ in range(5):
            with pytest.raises(Locked):
                await client.device_information()
        assert device.tries == 1
